"""From a fault and what went before to what is done about it. Pure: no clock, no process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from training.process import (
    EXIT_CONFIG,
    EXIT_CORRUPTION,
    EXIT_FAILED,
    EXIT_HANG,
    EXIT_NON_FINITE,
    EXIT_PREEMPTED,
)


class Kind(StrEnum):
    """What went wrong."""

    EXCEPTION = "exception"
    KILLED = "killed"
    HANG = "hang"
    STUCK = "stuck collective"
    STRAGGLER = "straggler"
    BAD_BATCH = "bad batch"
    CORRUPTION = "silent corruption"
    STORAGE = "storage"
    DEVICE = "device"
    PREEMPTION = "preemption"
    CONFIG = "configuration"


class Act(StrEnum):
    """What is done."""

    NOTE = "report"
    RESTART = "restart in place"
    SKIP = "roll back and leave the batch out"
    REPLACE = "exclude the place and restart"
    DRAIN = "snapshot, persist, exit"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as it was perceived.

    Attributes:
        kind: what went wrong.
        rank: the worker, -1 for none in particular.
        place: the device or seat of the worker, -1 for none.
        step: steps done when it happened; for a bad batch, its step.
        where: type and code line of an exception; two equal ones have one cause.
        detail: for people: message, signal, stack.
        seconds: how long it had lasted when it was perceived.
    """

    kind: Kind
    rank: int = -1
    place: int = -1
    step: int = 0
    where: str = ""
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When patience ends.

    Attributes:
        no_progress: faults at one step after which the place is excluded.
        give_up: faults at one step after which the training stops.
        straggles: reports of a slow place after which it is excluded if there is a spare.
        bad_window: two bad batches within so many steps stop the training.
        storage_patience_s: time without a persisted checkpoint after which it stops, all safe.
    """

    no_progress: int = 3
    give_up: int = 6
    straggles: int = 3
    bad_window: int = 10
    storage_patience_s: float = 1800.0


@dataclass(frozen=True, slots=True)
class Action:
    """The answer to a fault.

    Attributes:
        act: what is done.
        tier: 0 note, 1 restart in place, 2 roll back, 3 replace, 4 fail fast, 5 drain.
        reason: why, for people.
        code: exit code where the training ends.
    """

    act: Act
    tier: int
    reason: str
    code: int = 0


def decide(
    fault: Fault, earlier: Sequence[Fault], *, spares: int, limits: Limits | None = None
) -> Action:
    """Return what to do about a fault.

    Args:
        fault: what happened.
        earlier: all faults before it, oldest first.
        spares: places that can be given up: spare ones, or by going on with fewer workers.
        limits: when patience ends.
    """
    limits = limits or Limits()
    if fault.kind in _RESTARTED:
        return _broken(fault, earlier, spares, limits)
    match fault.kind:
        case Kind.BAD_BATCH:
            return _bad_batch(fault, earlier, limits)
        case Kind.CORRUPTION:
            if any(e.kind == Kind.CORRUPTION for e in earlier):
                return Action(Act.STOP, 4, "silent corruption a second time", EXIT_CORRUPTION)
            return Action(Act.RESTART, 2, "back to the snapshot, and the step again")
        case Kind.DEVICE | Kind.STRAGGLER:
            return _poor_place(fault, earlier, spares, limits)
        case Kind.STORAGE if fault.seconds < limits.storage_patience_s:
            return Action(Act.NOTE, 0, "training goes on, the persist is tried again")
        case Kind.STORAGE:
            return Action(Act.DRAIN, 5, "storage is away for too long", EXIT_PREEMPTED)
        case Kind.PREEMPTION:
            return Action(Act.DRAIN, 5, "asked to stop", EXIT_PREEMPTED)
        case _:
            return Action(Act.STOP, 4, "trying again cannot help", EXIT_CONFIG)


def _poor_place(fault: Fault, earlier: Sequence[Fault], spares: int, limits: Limits) -> Action:
    """A device reports errors, or a worker is slower than the others."""
    if fault.kind == Kind.DEVICE:
        if spares > 0:
            return Action(Act.REPLACE, 3, "the device reports errors")
        return Action(Act.DRAIN, 3, "no device is left here; go on elsewhere", EXIT_PREEMPTED)
    reports = 1 + sum(e.kind == fault.kind and e.place == fault.place for e in earlier)
    if reports >= limits.straggles and spares > 0:
        return Action(Act.REPLACE, 3, f"slow in {reports} reports")
    return Action(Act.NOTE, 0, "slower than the others")


def _bad_batch(fault: Fault, earlier: Sequence[Fault], limits: Limits) -> Action:
    """Leave a bad batch out; stop if that did not help."""
    near = [
        e.step
        for e in earlier
        if e.kind == Kind.BAD_BATCH and abs(e.step - fault.step) <= limits.bad_window
    ]
    if near:
        reason = f"bad batches at steps {near[-1]} and {fault.step}: more than one odd batch"
        return Action(Act.STOP, 4, reason, EXIT_NON_FINITE)
    return Action(Act.SKIP, 2, "the first bad batch here")


def _broken(fault: Fault, earlier: Sequence[Fault], spares: int, limits: Limits) -> Action:
    """A worker ended or stands still: restart, unless that was tried in vain."""
    same = [
        e for e in earlier if (e.kind, e.where, e.step) == (fault.kind, fault.where, fault.step)
    ]
    if fault.kind == Kind.EXCEPTION and same:
        return Action(
            Act.STOP, 4, f"the same error twice after step {fault.step}: {fault.where}", EXIT_FAILED
        )
    stalled = 1
    for e in reversed(earlier):
        if e.kind in _RESTARTED:
            if e.step < fault.step:
                break
            stalled += 1
    if stalled >= limits.give_up or (stalled >= limits.no_progress and spares <= 0):
        code = EXIT_HANG if fault.kind in (Kind.HANG, Kind.STUCK) else EXIT_FAILED
        return Action(Act.STOP, 4, f"{stalled} faults after step {fault.step}, no progress", code)
    if stalled >= limits.no_progress:
        return Action(Act.REPLACE, 3, f"{stalled} faults without progress")
    return Action(Act.RESTART, 1, "the first answer to a lost worker")


_RESTARTED = (Kind.EXCEPTION, Kind.KILLED, Kind.HANG, Kind.STUCK)
