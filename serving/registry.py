"""Which model is the champion. Obeys the gate: nothing else can be promoted.

One small object, `releases/champion.json`, holds the champion and everything that was champion
before it. It is only ever replaced whole and conditionally, so of racing promotions one wins and
the others learn of it, and no crash can leave half a promotion.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import pyarrow as pa

from scene.errors import ConflictError, FormatError, GateError, NotFoundError
from serving.gate import Decision
from storage import layout
from storage.schemas import AUDIT
from storage.store import ObjectStore
from storage.tables import Tables

CHAMPION: Final = "champion"


@dataclass(frozen=True, slots=True)
class Release:
    """One move of the alias `champion`.

    Attributes:
        sequence: 1 for the first release, counting up.
        action: "promote" or "rollback".
        model_id: the champion from then on.
        onnx_digest: sha256 (hex) of its `model.onnx`.
        decision_digest: sha256 (hex) of the gate's decision that allows it.
        previous: champion before; empty for the first.
    """

    sequence: int
    action: str
    model_id: str
    onnx_digest: str
    decision_digest: str
    previous: str


class _Alias(NamedTuple):
    history: tuple[Release, ...]
    etag: str | None

    @property
    def champion(self) -> Release | None:
        return self.history[-1] if self.history else None


class Registry:
    """Releases in an object store.

    Args:
        store: where models and releases are.
        tables: where moves are written to `audit`; None writes none.
    """

    def __init__(self, store: ObjectStore, tables: Tables | None = None) -> None:
        self._store = store
        self._tables = tables

    def record(self, decision: Decision) -> None:
        """Write the gate's decision about a model, once; recording the same again is fine.

        Raises:
            GateError: if another decision about the model stands.
        """
        key = layout.release(decision.model_id)
        body = json.dumps(decision.to_dict(), indent=1, sort_keys=True).encode()
        try:
            self._store.put(key, body, if_absent=True)
        except ConflictError:
            standing = self.decision(decision.model_id)
            if standing is None or standing.digest != decision.digest:
                raise GateError(
                    f"{key}: another decision about {decision.model_id} stands and is never "
                    "replaced; train a new model to have it judged anew"
                ) from None

    def decision(self, model_id: str) -> Decision | None:
        """Return the gate's decision about a model, None if it was never judged.

        Raises:
            FormatError: if the stored decision is damaged.
        """
        content = self._read_json(layout.release(model_id))
        return None if content is None else Decision.from_dict(content)

    def champion(self) -> Release | None:
        """Return the current champion, None before the first release."""
        return self._alias().champion

    def history(self) -> list[Release]:
        """Return every move of the alias, oldest first."""
        return list(self._alias().history)

    def promote(self, model_id: str, *, actor: str = "gate") -> Release:
        """Make a model the champion; nothing happens if it is already.

        Raises:
            GateError: if the gate did not approve exactly this file, or approved it against
                another champion than the current one, or the model was champion before (so that
                re-running a release does not undo a rollback).
            ConflictError: if another promotion came first.
        """
        decision = self._approval(model_id)
        alias = self._alias()
        current = alias.champion
        if current is not None and current.model_id == model_id:
            return current
        if model_id in {release.model_id for release in alias.history}:
            raise GateError(
                f"model {model_id} was champion before and was replaced; to return to it, roll back"
            )
        if (current.model_id if current else None) != decision.champion_id:
            raise GateError(
                f"model {model_id} was approved against {decision.champion_id or 'no champion'}, "
                f"but the champion is {current.model_id if current else 'none'}: it must be "
                "compared with that one"
            )
        return self._move(alias, "promote", decision, actor)

    def rollback(self, model_id: str, *, actor: str = "operator") -> Release:
        """Make a model the champion again that the gate approved and that was champion before.

        Raises:
            GateError: if it was never approved or never champion, or its file changed.
            ConflictError: if another move came first.
        """
        decision = self._approval(model_id)
        alias = self._alias()
        if model_id not in {release.model_id for release in alias.history}:
            raise GateError(f"model {model_id} was never champion: promote it instead")
        if alias.history[-1].model_id == model_id:
            return alias.history[-1]
        return self._move(alias, "rollback", decision, actor)

    def _approval(self, model_id: str) -> Decision:
        """Return the approving decision, checked against the file that is really there."""
        decision = self.decision(model_id)
        if decision is None:
            raise GateError(f"model {model_id} was never put before the gate")
        if not decision.approved:
            refused = "; ".join(f"{r.name}: {r.text}" for r in decision.reasons if not r.passed)
            raise GateError(f"the gate refused model {model_id}: {refused}")
        try:
            onnx = self._store.get(layout.model(model_id, "model.onnx"))
        except NotFoundError as error:
            raise GateError(f"model {model_id} was approved, but its file is gone") from error
        digest = hashlib.sha256(onnx).hexdigest()
        if digest != decision.onnx_digest:
            raise GateError(
                f"model {model_id}: the gate approved a file with digest "
                f"{decision.onnx_digest[:12]}, the one stored has {digest[:12]}"
            )
        return decision

    def _alias(self) -> _Alias:
        """Return alias and etag. The etag is read first: a change in between fails the write."""
        key = layout.release_alias(CHAMPION)
        try:
            etag = self._store.stat(key).etag
        except NotFoundError:
            return _Alias((), None)
        content = self._read_json(key) or {}
        try:
            return _Alias(tuple(Release(**entry) for entry in content["history"]), etag)
        except (KeyError, TypeError) as error:
            raise FormatError(f"{key} is damaged: {error!r}") from error

    def _move(self, alias: _Alias, action: str, decision: Decision, actor: str) -> Release:
        release = Release(
            len(alias.history) + 1,
            action,
            decision.model_id,
            decision.onnx_digest,
            decision.digest,
            alias.champion.model_id if alias.champion else "",
        )
        entries = [asdict(entry) for entry in (*alias.history, release)]
        body = json.dumps({"champion": release.model_id, "history": entries}, indent=1).encode()
        key = layout.release_alias(CHAMPION)
        try:
            self._store.put(key, body, if_absent=alias.etag is None, if_match=alias.etag)
        except ConflictError as error:
            raise ConflictError(
                f"{action} of {decision.model_id}: the champion changed meanwhile; look at the new "
                "champion and decide again"
            ) from error
        self._audit(actor, release)
        return release

    def _audit(self, actor: str, release: Release) -> None:
        if self._tables is None:
            return
        row = {
            "at_ns": time.time_ns(),
            "actor": actor,
            "action": release.action,
            "subject": release.model_id,
            "detail": json.dumps(asdict(release), sort_keys=True),
        }
        self._tables.append("audit", pa.Table.from_pylist([row], schema=AUDIT))

    def _read_json(self, key: str) -> Mapping[str, Any] | None:
        try:
            return json.loads(self._store.get(key))
        except NotFoundError:
            return None
        except ValueError as error:
            raise FormatError(f"{key}: not JSON ({error})") from error
