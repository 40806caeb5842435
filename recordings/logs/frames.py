"""The tree of coordinate frames of a robot: static and moving transforms, asked for at any time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import Final, NamedTuple

import numpy as np

from recordings.recording import empty_trajectory
from scene.errors import FrameError
from scene.pose import SE3, Trajectory, matrix_to_quat, quat_to_matrix
from scene.types import Float64, Int64, Mask

EGO_NAMES: Final = (
    "base_link", "ego", "ego_vehicle", "base_footprint", "vehicle", "rear_axle", "body",
)  # fmt: skip
MAP_NAMES: Final = ("map", "odom", "world", "earth")
# How long before its first and after its last sample a moving edge is still asked for, held as it
# was there: two of its usual steps, within these bounds. A map-to-odom correction is published
# slowly and stays valid until the next one; wheel odometry is wrong after a tenth of a second.
MIN_HOLD_NS: Final = 100_000_000
MAX_HOLD_NS: Final = 2_000_000_000


class _Step(NamedTuple):
    """One edge of a path: the edge's key and whether it is walked from child to parent."""

    key: tuple[str, str]
    upwards: bool


@dataclass
class FrameTree:
    """Transforms `parent_SE3_child` by (parent, child).

    Attributes:
        static: edges that never move.
        moving: edges with their samples (time, quaternion wxyz, translation).
    """

    static: dict[tuple[str, str], SE3] = field(default_factory=dict)
    moving: dict[tuple[str, str], list[tuple[int, tuple[float, ...]]]] = field(default_factory=dict)
    _tracks: dict[tuple[str, str], Trajectory] = field(default_factory=dict)

    def add_static(self, parent: str, child: str, pose: tuple[float, ...]) -> None:
        """Add an edge from (qw, qx, qy, qz, x, y, z)."""
        values = np.array(pose)
        self.static[parent, child] = SE3.from_quaternion(values[:4], values[4:])

    def add_moving(self, parent: str, child: str, time_ns: int, pose: tuple[float, ...]) -> None:
        """Add one sample (qw, qx, qy, qz, x, y, z) of an edge."""
        self.moving.setdefault((parent, child), []).append((time_ns, pose))
        self._tracks.pop((parent, child), None)

    def frames(self) -> set[str]:
        """Return the names of all frames."""
        return {name for edge in (*self.static, *self.moving) for name in edge}

    def track(self, key: tuple[str, str]) -> Trajectory:
        """Return the samples of a moving edge in time order, the first of equal times."""
        if key not in self._tracks:
            self._tracks[key] = _trajectory(self.moving[key])
        return self._tracks[key]

    def hold_ns(self, key: tuple[str, str]) -> int:
        """Return how far outside its samples a moving edge is known; see `MIN_HOLD_NS`."""
        times = self.track(key).timestamps_ns
        if len(times) < 2:
            return MAX_HOLD_NS
        step_ns = int(np.median(np.diff(times)))
        return min(max(2 * step_ns, MIN_HOLD_NS), MAX_HOLD_NS)

    def problems(self) -> list[str]:
        """Return what keeps the frames from being a tree, one line each.

        Asked for a transform, the way with the fewest edges is taken.
        """
        parents: dict[str, set[str]] = {}
        for parent, child in (*self.static, *self.moving):
            parents.setdefault(child, set()).add(parent)
        found = [
            f"frame {child!r} has {len(above)} parents: {', '.join(sorted(above))}"
            for child, above in sorted(parents.items())
            if len(above) > 1
        ]
        graph = TopologicalSorter(parents)
        try:
            graph.prepare()
        except CycleError as error:
            found.append(f"frames are their own ancestors: {' -> '.join(error.args[1])}")
        return found

    def static_between(self, dst: str, src: str) -> SE3 | None:
        """Return `dst_SE3_src` over static edges only, None if they do not connect the two."""
        steps = self._path(dst, src, moving=False)
        if steps is None:
            return None
        pose = SE3.identity()
        for step in steps:
            edge = self.static[step.key]
            pose = (edge if step.upwards else edge.inverse()) @ pose
        return pose

    def connected(self, dst: str, src: str) -> bool:
        """Return whether any transforms lead from one frame to the other."""
        return self._path(dst, src, moving=True) is not None

    def between(self, dst: str, src: str, times_ns: Int64) -> Trajectory:
        """Return `dst_SE3_src` at the given times.

        Raises:
            FrameError: if nothing connects the frames, or a moving transform is asked for further
                outside its samples than it is held.
        """
        steps = self._path(dst, src, moving=True)
        if steps is None:
            raise FrameError(self._no_way(dst, src))
        count = len(times_ns)
        rotation, translation = np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3))
        for step in steps:
            edge_rotation, edge_translation = self._edge(step, times_ns)
            translation = np.einsum("nij,nj->ni", edge_rotation, translation) + edge_translation
            rotation = edge_rotation @ rotation
        return Trajectory(times_ns, matrix_to_quat(rotation), translation)

    def trajectory(self, dst: str, src: str) -> Trajectory:
        """Return `dst_SE3_src` at the times of the path's most frequent moving edge.

        Times at which another moving edge of the path is unknown are left out.
        """
        steps = self._path(dst, src, moving=True) or []
        keys = [step.key for step in steps if step.key in self.moving]
        if not all(len(self.track(key)) for key in keys) or not keys:
            return empty_trajectory()
        times = max((self.track(key) for key in keys), key=len).timestamps_ns
        known: Mask = np.ones(len(times), dtype=bool)
        for key in keys:
            samples, hold_ns = self.track(key).timestamps_ns, self.hold_ns(key)
            known &= (times >= samples[0] - hold_ns) & (times <= samples[-1] + hold_ns)
        return self.between(dst, src, times[known])

    def root_of(self, frame: str, wanted: Iterable[str] = MAP_NAMES) -> str | None:
        """Return the frame in which `frame` moves: one of the wanted names, else the topmost."""
        for name in wanted:
            if name != frame and self._moves(name, frame):
                return name
        parents = {child: parent for parent, child in (*self.static, *self.moving)}
        top, seen = frame, {frame}
        while top in parents and parents[top] not in seen:
            top = parents[top]
            seen.add(top)
        return top if top != frame and self._moves(top, frame) else None

    def _moves(self, dst: str, src: str) -> bool:
        steps = self._path(dst, src, moving=True)
        return steps is not None and any(step.key in self.moving for step in steps)

    def _edge(self, step: _Step, times_ns: Int64) -> tuple[Float64, Float64]:
        """Return (T, 3, 3) rotations and (T, 3) translations of one step."""
        if step.key in self.static:
            edge = self.static[step.key]
            edge = edge if step.upwards else edge.inverse()
            count = len(times_ns)
            return np.tile(edge.rotation, (count, 1, 1)), np.tile(edge.translation_m, (count, 1))
        parent, child = step.key
        try:
            track = self.track(step.key).interpolate(times_ns, self.hold_ns(step.key))
        except FrameError as error:
            raise FrameError(f"transform from {child!r} to {parent!r}: {error}") from error
        rotation = quat_to_matrix(track.quat_wxyz)
        if step.upwards:
            return rotation, track.translation_m
        inverse = np.transpose(rotation, (0, 2, 1))
        return inverse, -np.einsum("nij,nj->ni", inverse, track.translation_m)

    def _no_way(self, dst: str, src: str) -> str:
        """Return why there is no way between two frames, with the nearest names."""
        known = sorted(self.frames())
        for name in (src, dst):
            if name not in known:
                close = get_close_matches(name, known, n=5, cutoff=0.4) or known[:20]
                return (
                    f"there is no frame {name!r}, so no transform from {src!r} to {dst!r}; "
                    f"nearest known: {', '.join(close) or 'none'}"
                )
        sides = (
            f"with {name!r} go {', '.join(sorted(self._around(name))[:10]) or 'no others'}"
            for name in (src, dst)
        )
        return f"no transforms lead from {src!r} to {dst!r}; {'; '.join(sides)}"

    def _around(self, frame: str) -> set[str]:
        """Return all frames that a way leads to, without the frame itself."""
        return {name for name in self.frames() if name != frame and self.connected(name, frame)}

    def _path(self, dst: str, src: str, *, moving: bool) -> list[_Step] | None:
        """Return the steps from `src` to `dst`, fewest first; None if there is no way."""
        edges = (*self.static, *(self.moving if moving else ()))
        neighbours: dict[str, list[tuple[str, _Step]]] = {}
        for key in edges:
            parent, child = key
            neighbours.setdefault(child, []).append((parent, _Step(key, upwards=True)))
            neighbours.setdefault(parent, []).append((child, _Step(key, upwards=False)))
        queue, steps = deque([src]), {src: list[_Step]()}
        while queue:
            here = queue.popleft()
            if here == dst:
                return steps[here]
            for there, step in neighbours.get(here, ()):
                if there not in steps:
                    steps[there] = [*steps[here], step]
                    queue.append(there)
        return None


def _trajectory(samples: list[tuple[int, tuple[float, ...]]]) -> Trajectory:
    times = np.array([time for time, _ in samples], dtype=np.int64)
    poses = np.array([pose for _, pose in samples], dtype=np.float64)
    times, first = np.unique(times, return_index=True)
    quat = poses[first, :4]
    norm = np.linalg.norm(quat, axis=1)
    usable = np.isfinite(poses[first]).all(axis=1) & (norm > 0.5)
    quat = quat[usable] / norm[usable, None]
    return Trajectory(times[usable], quat, poses[first][usable, 4:])
