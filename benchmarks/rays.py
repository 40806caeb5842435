"""Simulated lidar rays: our column caster against Open3D's RaycastingScene (Embree)."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import BenchRow, interleave
from simulation.primitives import PrimitiveList, Primitives
from simulation.raycast import cast

COLUMNS, BEAMS = 1875, 64
HEIGHT_M, REACH_M = 1.84, 80.0


def street(count: int, seed: int = 0) -> Primitives:
    """Return `count` boxes of the sizes of road users around the sensor."""
    rng = np.random.default_rng(seed)
    parts = PrimitiveList()
    for _ in range(count):
        angle, far = float(rng.uniform(-np.pi, np.pi)), float(rng.uniform(6.0, 70.0))
        size = (float(rng.uniform(0.5, 8.0)), float(rng.uniform(0.5, 2.5)))
        place = (far * np.cos(angle), far * np.sin(angle))
        top = float(rng.uniform(1.0, 4.0))
        parts.box(place, size, (0.0, top), 0.5, yaw_rad=float(rng.uniform(-3.0, 3.0)))
    return parts.build()


def rows() -> list[BenchRow]:
    """Measure one revolution with 20, 100 and 400 boxes that move between revolutions.

    Both sides get the boxes anew each time: Open3D has to build its scene, we have nothing to
    build. Both answer the range of every ray; the answers must agree.
    """
    return [_row(count) for count in (20, 100, 400)]


def _row(count: int) -> BenchRow:
    import open3d as o3d  # type: ignore[import-not-found]

    solids = street(count)
    elevation = np.deg2rad(np.linspace(-24.9, 2.0, BEAMS))
    azimuth = -np.pi + 2 * np.pi / COLUMNS * np.arange(COLUMNS)
    origin = np.array([0.0, 0.0, HEIGHT_M])
    still = np.zeros((count, 2))
    vertices, triangles = _mesh(solids)
    rays = _rays(azimuth, elevation)

    def ours() -> np.ndarray:
        distance, _, _ = cast(
            solids, still, origin, np.zeros(2), -np.pi, 2 * np.pi / COLUMNS, 0.0, COLUMNS,
            np.tan(elevation), REACH_M,
        )  # fmt: skip
        return distance / np.cos(elevation)

    def peer() -> np.ndarray:
        scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        scene.add_triangles(o3d.core.Tensor(vertices), o3d.core.Tensor(triangles))
        return scene.cast_rays(o3d.core.Tensor(rays), nthreads=1)["t_hit"].numpy()

    agreement = _agreement(ours(), peer().reshape(COLUMNS, BEAMS), elevation)
    ours_s, peer_s, ratio = interleave(ours, peer)
    note = f"{COLUMNS * BEAMS:,} rays, ground + {count} boxes, {agreement:.2%} of rays within 1 cm"
    return BenchRow(
        f"lidar revolution, {count} boxes", "starloop column caster", "Open3D RaycastingScene",
        ours_s * 1e3, peer_s * 1e3, "ms CPU", ratio, note,
    )  # fmt: skip


def _rays(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """Return (C * B, 6) float32 origins and directions."""
    flat = np.cos(elevation)
    x, y = np.outer(np.cos(azimuth), flat), np.outer(np.sin(azimuth), flat)
    z = np.broadcast_to(np.sin(elevation), x.shape)
    start = np.broadcast_to([0.0, 0.0, HEIGHT_M], (*x.shape, 3))
    return np.concatenate([start, np.stack([x, y, z], -1)], -1).reshape(-1, 6).astype(np.float32)


def _mesh(solids: Primitives) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 vertices and uint32 triangles of the boxes and a large ground plate."""
    corner = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)]) * 2.0 - 1.0
    cos, sin = np.cos(solids.yaw_rad)[:, None], np.sin(solids.yaw_rad)[:, None]
    along, across = (corner[None, :, k] * solids.half_xy_m[:, k, None] for k in (0, 1))
    x = solids.center_xy_m[:, :1] + along * cos - across * sin
    y = solids.center_xy_m[:, 1:] + along * sin + across * cos
    z = np.where(corner[None, :, 2] > 0, solids.z_max_m[:, None], solids.z_min_m[:, None])
    boxes = np.stack([x, y, z], -1).reshape(-1, 3)
    quads = np.array(
        [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    )
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    all_faces = (faces[None] + 8 * np.arange(len(solids))[:, None, None]).reshape(-1, 3)
    plate = np.array([[-200, -200, 0], [200, -200, 0], [200, 200, 0], [-200, 200, 0]], float)
    base = len(boxes)
    ground = np.array([[0, 1, 2], [0, 2, 3]]) + base
    return (
        np.concatenate([boxes, plate]).astype(np.float32),
        np.concatenate([all_faces, ground]).astype(np.uint32),
    )


def _agreement(ours: np.ndarray, peer: np.ndarray, elevation: np.ndarray) -> float:
    """Return the share of rays on which both agree; hits beyond our reach count as none."""
    peer = np.where(peer * np.cos(elevation) <= REACH_M, peer, np.inf)
    both = np.isinf(ours) & np.isinf(peer)
    with np.errstate(invalid="ignore"):
        return float((both | (np.abs(ours - peer) < 0.01)).mean())
