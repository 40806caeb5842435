"""The official Argoverse 2 detection metrics as an oracle, loaded without their map and drawing.

Version 0.2.1 is the last whose metrics are Python; it lies in a folder of its own, because tests of
recordings use a newer one. Its modules import much that the metrics never touch.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from scene.box import Boxes

FOLDER = Path(__file__).resolve().parents[2] / ".venv" / "oracles"
INSTALL = "make oracle"
_UNUSED = ("matplotlib", "pyproj", "joblib", "cv2", "av2.map.map_api", "av2.rendering")


class _Anything(types.ModuleType):
    """A module in which every name is a class, whatever is asked for."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class Devkit(NamedTuple):
    """The two modules of the devkit that compute metrics."""

    utils: Any
    evaluation: Any


def load_devkit() -> Devkit | None:
    """Return the devkit, or None where it is not installed."""
    if not (FOLDER / "av2").is_dir():
        return None
    before = {name: sys.modules[name] for name in _names()}
    stubs = {name: _Anything(name) for name in _UNUSED}
    for name in ("pyplot", "colors", "patches", "animation"):
        stubs[f"matplotlib.{name}"] = _Anything(f"matplotlib.{name}")
    for name in ("color", "vector", "video", "map"):
        stubs[f"av2.rendering.{name}"] = _Anything(f"av2.rendering.{name}")
    try:
        for name in before:
            del sys.modules[name]
        sys.modules.update(stubs)
        sys.path.insert(0, str(FOLDER))
        utils = importlib.import_module("av2.evaluation.detection.utils")
        return Devkit(utils, importlib.import_module("av2.evaluation.detection.eval"))
    except ImportError:
        return None
    finally:
        sys.path.remove(str(FOLDER))
        for name in _names():
            del sys.modules[name]
        sys.modules.update(before)


def _names() -> list[str]:
    """Return the loaded modules that must not be mixed up with the devkit's."""
    return [n for n in sys.modules if n.split(".")[0] in {"av2", "matplotlib"} or n in _UNUSED]


def evaluate_with_devkit(
    devkit: Devkit,
    truth: Mapping[str, Boxes],
    predictions: Mapping[str, Boxes],
    categories: Sequence[str],
) -> Any:
    """Return the devkit's table of AP, ATE, ASE, AOE and CDS by category, not rounded."""
    import pandas as pd

    config = devkit.utils.DetectionCfg(categories=tuple(categories), eval_only_roi_instances=False)
    tables = {"dts": _table(predictions, "score"), "gts": _table(truth, "num_interior_pts")}
    names = [*devkit.evaluation.ORDERED_CUBOID_COL_NAMES]
    columns = (*config.affinity_thresholds_m, *devkit.evaluation.TP_ERROR_COLUMNS, "is_evaluated")
    added = {
        kind: np.zeros((len(table), len(columns)), dtype=object) for kind, table in tables.items()
    }
    uuids = {
        (u, c) for t in tables.values() for u, c in zip(t["log_id"], t["category"], strict=True)
    }
    for uuid, category in sorted(uuids):
        mask = {
            kind: ((t["log_id"] == uuid) & (t["category"] == category)).to_numpy()
            for kind, t in tables.items()
        }
        dts = tables["dts"].loc[mask["dts"], [*names, "score"]].to_numpy(dtype=float)
        gts = tables["gts"].loc[mask["gts"], [*names, "num_interior_pts"]].to_numpy(dtype=float)
        added["dts"][mask["dts"]], added["gts"][mask["gts"]] = devkit.utils.accumulate(
            dts, gts, config
        )
    for kind, values in added.items():
        frame = pd.DataFrame(values.astype(float), columns=list(columns))
        frame["is_evaluated"] = frame["is_evaluated"].astype(bool)
        tables[kind] = pd.concat([tables[kind].reset_index(drop=True), frame], axis=1)
    return devkit.evaluation.summarize_metrics(tables["dts"], tables["gts"], config)


def _table(frames: Mapping[str, Boxes], last: str) -> Any:
    import pandas as pd

    rows = []
    for name, boxes in frames.items():
        final = boxes.score if last == "score" else np.maximum(boxes.num_points, 0)
        for i in range(len(boxes)):
            half = boxes.yaw_rad[i] / 2
            rows.append(
                (
                    name, boxes.category[i], *boxes.center_xyz_m[i], *boxes.size_lwh_m[i],
                    np.cos(half), 0.0, 0.0, np.sin(half), final[i],
                )
            )  # fmt: skip
    columns = [
        "log_id", "category", "tx_m", "ty_m", "tz_m", "length_m", "width_m", "height_m",
        "qw", "qx", "qy", "qz", last,
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
