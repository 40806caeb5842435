"""Which turn of the loop it is, and which model is the champion."""

from __future__ import annotations

import json
from typing import Any

from loop.workspace import Workspace
from scene.errors import NotFoundError
from serving.registry import Registry
from storage import layout


def current_turn(workspace: Workspace) -> int:
    """Return the number of the turn that is under way: 0 is the bootstrap."""
    number = 0
    while workspace.store.exists(layout.turn(number)):
        number += 1
    return number


def finish_turn(workspace: Workspace, number: int, record: dict[str, Any]) -> None:
    """Write the record of a turn; from now on the next turn is under way."""
    workspace.store.put(layout.turn(number), json.dumps(record, indent=1).encode())


def turn_record(workspace: Workspace, number: int) -> dict[str, Any] | None:
    """Return the record of a finished turn, or None."""
    try:
        return json.loads(workspace.store.get(layout.turn(number)))
    except NotFoundError:
        return None


def champion_id(workspace: Workspace) -> str | None:
    """Return the model that the alias `champion` points to, or None before the first release."""
    champion = Registry(workspace.store, workspace.tables).champion()
    return None if champion is None else champion.model_id


def model_of_turn(workspace: Workspace, turn: int) -> dict[str, Any] | None:
    """Return the row of table `models` that a turn trained, or None if it has not trained yet.

    From then on the turn's selection and dataset stand: a turn that was interrupted later goes on
    with them, whatever it has released or learned meanwhile.
    """
    rows = workspace.tables.read("models", {"turn": turn}).to_pylist()
    return rows[0] if rows else None


def latest_dataset(workspace: Workspace) -> str:
    """Return the digest of the newest dataset.

    Raises:
        NotFoundError: if there is none yet.
    """
    rows = workspace.tables.read("datasets").to_pylist()
    if not rows:
        raise NotFoundError("no dataset yet: select and label frames first, see `starloop status`")
    return max(rows, key=lambda row: row["turn"])["digest"]


def latest_model(workspace: Workspace) -> str:
    """Return the id of the newest trained model, the candidate for release.

    Raises:
        NotFoundError: if there is none yet.
    """
    rows = workspace.tables.read("models").to_pylist()
    if not rows:
        raise NotFoundError("no model yet: run `starloop train`")
    return max(rows, key=lambda row: row["turn"])["model_id"]
