"""What Label Studio is told of a clip: the interface with the 3D editor in it, and the task.

Label Studio keeps an iframe in a `Markdown` tag (1.23.2), so the editor of the same origin runs
inside the task. Its result is one JSON text in a hidden `TextArea`, which the editor fills and
Label Studio's own Submit stores with author and lead time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from labeling.annotation import Submission, parse_submission
from labeling.clip_task import ClipTask
from labeling.project import Interface
from labeling.tasks import MODEL_VERSION
from scene.errors import LabelError

CUBOIDS: Final = "cuboids"
_CLIP: Final = "clip"
_PRELABELS: Final = "prelabels-"


def clip_config() -> str:
    """Return the labelling interface (XML): the editor, and the hidden place of its result."""
    return (
        "<View>"
        '<Markdown><![CDATA[\n<iframe src="/editor/?task=$task_id" title="3D editor" '
        'allow="fullscreen; clipboard-read; clipboard-write" '
        'style="width:100%;height:calc(100vh - 140px);min-height:560px;border:0"></iframe>\n'
        "]]></Markdown>"
        '<View style="display:none">'
        f'<Text name="{_CLIP}" value="$title"/>'
        f'<TextArea name="{CUBOIDS}" toName="{_CLIP}" maxSubmissions="1" required="true" '
        'requiredMessage="The 3D editor has not loaded: reload the page before you submit."/>'
        "</View></View>"
    )


INTERFACE: Final = Interface(
    clip_config(),
    "Clips that Starloop chose for labelling, in its 3D editor (press ? there for all keys). "
    "Correct the boxes in every frame, then press Submit.",
    CUBOIDS,
    "TextArea",
    frozenset(),
    "labeling.clip_interface.clip_config()",
)


def make_payload(task: ClipTask, batch: str) -> dict[str, Any]:
    """Return a task for Label Studio's import, with its prelabels as a prediction.

    Args:
        task: the clip.
        batch: kept in the task, so that the tasks of one request can be asked for.
    """
    payload: dict[str, Any] = {
        "data": {
            "task_id": task.task_id,
            "title": task.title,
            "recording": str(task.recording),
            "batch": batch,
        }
    }
    if task.prelabels:
        payload["predictions"] = [make_prediction(task)]
    return payload


def make_prediction(task: ClipTask) -> dict[str, Any]:
    """Return the prelabels of a clip as a prediction: the text that the editor would write."""
    submission = {
        "submission_id": f"{_PRELABELS}{task.version}",
        "version": task.version,
        "annotation": {"format": 1, "boxes": [box.to_json() for box in task.prelabels]},
    }
    scores = [box.score for box in task.prelabels if box.score is not None]
    mean = {"score": sum(scores) / len(scores)} if scores else {}
    text = json.dumps(submission, separators=(",", ":"))
    return {"model_version": MODEL_VERSION, "result": [result_of(text)], **mean}


def result_of(text: str) -> dict[str, Any]:
    """Return the result of the hidden text area."""
    return {
        "id": CUBOIDS,
        "from_name": CUBOIDS,
        "to_name": _CLIP,
        "type": "textarea",
        "value": {"text": [text]},
    }


def read_submission(annotation: Mapping[str, Any], where: str) -> Submission:
    """Return what the editor wrote into an annotation.

    Raises:
        LabelError: if there is nothing, something else, or only the prelabels that Label Studio
            itself copied: then nobody saw them in the editor.
    """
    texts = [
        text
        for result in annotation.get("result", ())
        if result.get("from_name") == CUBOIDS
        for text in _texts(result)
    ]
    if not texts:
        raise LabelError(f"{where}: submitted without the 3D editor; open it and submit again")
    submission = parse_submission(texts[-1], where)
    if submission.submission_id.startswith(_PRELABELS):
        raise LabelError(
            f"{where}: the prelabels were submitted before the 3D editor had loaded; open the "
            "task and submit again"
        )
    return submission


def _texts(result: Mapping[str, Any]) -> list[str]:
    value = (result.get("value") or {}).get("text", ())
    return [value] if isinstance(value, str) else [str(text) for text in value]
