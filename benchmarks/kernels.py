"""The detector's loops on a processor against the usual ways: pillars, point network, IoU, NMS.

Every pair computes the same thing from the same arrays, and is compared before it is timed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import shapely
import torch

from benchmarks.clouds import DENSE, drive, points_of
from benchmarks.harness import BenchRow, interleave, show
from scene.suppression import iou_matrix, suppress
from training.kernels.pillars import PillarGrid, describe_points, largest_answers

GRID = PillarGrid(-51.2, -51.2, -3.0, 5.0, 0.2, 512, 512)
CHANNELS, BOXES, IOU = 64, 500, 0.2


def rows() -> list[BenchRow]:
    """Measure all kernels on one thread.

    Raises:
        RuntimeError: if a pair does not agree.
    """
    torch.set_num_threads(1)
    points = points_of(drive(1, 30, DENSE)[0][-1])
    return [*_pillar_rows(points), *_box_rows()]


def _pillar_rows(points: np.ndarray) -> list[BenchRow]:
    found = describe_points(points, GRID)
    size = f"{len(points):,} points, {len(found.pillar):,} in {len(found.cells):,} pillars"
    features, cell = numpy_pillars(points)
    _agree("pillars", np.array_equal(np.sort(found.cells), np.unique(cell)))
    _agree("pillar features", np.abs(found.features - features).max() < 1e-3)
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.3, (9, CHANNELS)).astype(np.float32)
    bias = rng.normal(0, 0.3, CHANNELS).astype(np.float32)
    peer = TorchPointNet(found.features, found.pillar, len(found.cells), weight, bias)
    ours = largest_answers(points, GRID, weight, bias)
    _agree("point network", np.abs(ours.picture - peer().numpy()).max() < 1e-3)
    network = f"9 to {CHANNELS} channels, ReLU, maximum by pillar; {size}"
    return [
        _row(
            "pillars", "numba", "numpy unique + bincount", lambda: describe_points(points, GRID),
            lambda: numpy_pillars(points), f"9 features a point; {size}",
        ),
        _row(
            "pillars", "numba", "torch unique + index_add", lambda: describe_points(points, GRID),
            lambda: torch_pillars(points), f"9 features a point; {size}",
        ),
        _row(
            "point network", "numba, pillars included", "torch linear + scatter_reduce",
            lambda: largest_answers(points, GRID, weight, bias), peer,
            f"{network}; ours begins with raw points, torch with ready features and pillars",
        ),
    ]  # fmt: skip


def _box_rows() -> list[BenchRow]:
    rng = np.random.default_rng(3)
    first, second = random_boxes(rng, BOXES), random_boxes(rng, BOXES)
    polygons = [shapely.polygons(corners(boxes)) for boxes in (first, second)]
    ours = iou_matrix(first, second)
    worst = float(np.abs(ours - tree_iou(*polygons)).max())
    _agree("IoU with shapely", worst < 1e-6)
    _agree("IoU with torch", np.abs(ours - torch_iou(first, second)).max() < 1e-6)
    scores = rng.random(BOXES)
    kept = suppress(first, scores, None, IOU)
    reference = greedy(tree_iou(polygons[0], polygons[0]), scores, IOU)
    _agree("suppression", kept.tolist() == reference)
    data = f"{BOXES} x {BOXES} boxes on 80 x 80 m, {(ours > 0).sum():,} pairs overlap"
    return [
        _row("rotated IoU", "numba, culled", "torch, culled", lambda: iou_matrix(first, second),
             lambda: torch_iou(first, second), f"{data}; float64"),
        _row("rotated IoU", "numba, culled", "shapely STRtree",
             lambda: iou_matrix(first, second), lambda: tree_iou(*polygons),
             f"{data}; error {worst:.0e}; shapely's polygons are made beforehand"),
        _row("rotated NMS", "numba", "torch IoU, culled, + greedy",
             lambda: suppress(first, scores, None, IOU),
             lambda: greedy(torch_iou(first, first), scores, IOU),
             f"{BOXES} boxes, {len(kept)} stay: exactly those of the greedy float64 reference"),
    ]  # fmt: skip


def numpy_pillars(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of `describe_points` and the cell of each point inside."""
    side = np.float32(GRID.pillar_m)
    cell = (points[:, :2] - np.float32([GRID.x_min_m, GRID.y_min_m])) / side
    inside = (cell >= 0).all(1) & (cell < [GRID.rows, GRID.columns]).all(1)
    inside &= (points[:, 2] >= GRID.z_min_m) & (points[:, 2] < GRID.z_max_m)
    points, cell = points[inside], cell[inside]
    whole = np.floor(cell)
    flat = whole[:, 0].astype(np.int64) * GRID.columns + whole[:, 1].astype(np.int64)
    _, pillar, count = np.unique(flat, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(pillar, points[:, k]) / count for k in range(3)], axis=1)
    offset = points[:, :3] - mean[pillar].astype(np.float32)
    parts = [points[:, :2] / 50, points[:, 2:], offset[:, :2] / side, offset[:, 2:]]
    return np.concatenate([*parts, cell - whole - np.float32(0.5)], axis=1), flat


def torch_pillars(array: np.ndarray) -> torch.Tensor:
    """Return the same by torch operations."""
    points = torch.from_numpy(array)
    cell = (points[:, :2] - torch.tensor([GRID.x_min_m, GRID.y_min_m])) / GRID.pillar_m
    inside = (cell >= 0).all(1) & (cell < torch.tensor([GRID.rows, GRID.columns])).all(1)
    inside &= (points[:, 2] >= GRID.z_min_m) & (points[:, 2] < GRID.z_max_m)
    points, cell = points[inside], cell[inside]
    whole = torch.floor(cell)
    flat = whole[:, 0].long() * GRID.columns + whole[:, 1].long()
    _, pillar, count = torch.unique(flat, return_inverse=True, return_counts=True)
    mean = torch.zeros(len(count), 3).index_add_(0, pillar, points[:, :3]) / count[:, None]
    offset = points[:, :3] - mean[pillar]
    parts = [points[:, :2] / 50, points[:, 2:], offset[:, :2] / GRID.pillar_m, offset[:, 2:]]
    return torch.cat([*parts, cell - whole - 0.5], dim=1)


class TorchPointNet:
    """Linear layer, ReLU and maximum by pillar, from ready features."""

    def __init__(
        self,
        features: np.ndarray,
        pillar: np.ndarray,
        count: int,
        weight: np.ndarray,
        bias: np.ndarray,
    ) -> None:
        self._features, self._weight = torch.from_numpy(features), torch.from_numpy(weight)
        self._bias, self._count = torch.from_numpy(bias), count
        self._index = torch.from_numpy(pillar).long()[:, None].expand(-1, len(bias))

    def __call__(self) -> torch.Tensor:
        """Return (P, C) largest answers."""
        answer = torch.relu(torch.addmm(self._bias, self._features, self._weight))
        picture = torch.zeros(self._count, len(self._bias))
        return picture.scatter_reduce_(0, self._index, answer, "amax")


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return (N, 5) rectangles of the sizes of road users."""
    return np.stack(
        [
            rng.uniform(-40, 40, count), rng.uniform(-40, 40, count), rng.uniform(0.5, 8, count),
            rng.uniform(0.5, 3, count), rng.uniform(-np.pi, np.pi, count),
        ],
        axis=1,
    )  # fmt: skip


def corners(boxes: np.ndarray) -> np.ndarray:
    """Return (N, 4, 2) corners of (N, 5) rectangles, counter-clockwise."""
    local = np.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]) * boxes[:, None, 2:4]
    cos, sin = np.cos(boxes[:, 4, None]), np.sin(boxes[:, 4, None])
    x = local[..., 0] * cos - local[..., 1] * sin + boxes[:, None, 0]
    return np.stack([x, local[..., 0] * sin + local[..., 1] * cos + boxes[:, None, 1]], axis=2)


def tree_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the overlaps of shapely polygons; a tree finds the pairs that may overlap."""
    i, j = shapely.STRtree(second).query(first)
    shared = shapely.area(shapely.intersection(first[i], second[j]))
    iou = np.zeros((len(first), len(second)))
    iou[i, j] = shared / (shapely.area(first)[i] + shapely.area(second)[j] - shared)
    return iou


def torch_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the overlaps by vectorised torch operations, of pairs whose circles meet."""
    from training.iou import iou_bev

    one, two = (_cuboids(torch.from_numpy(boxes)) for boxes in (first, second))
    reach = [torch.hypot(boxes[:, 3], boxes[:, 4]) / 2 for boxes in (one, two)]
    apart = torch.cdist(one[:, :2], two[:, :2], compute_mode="donot_use_mm_for_euclid_dist")
    i, j = torch.nonzero(apart < reach[0][:, None] + reach[1][None], as_tuple=True)
    iou = one.new_zeros(len(one), len(two))
    iou[i, j] = iou_bev(one[i], two[j])
    return iou.numpy()


def _cuboids(boxes: torch.Tensor) -> torch.Tensor:
    """Return (N, 7) x, y, z, l, w, h, yaw of (N, 5) rectangles."""
    zero, one = torch.zeros_like(boxes[:, :1]), torch.ones_like(boxes[:, :1])
    return torch.cat([boxes[:, :2], zero, boxes[:, 2:4], one, boxes[:, 4:]], dim=1)


def greedy(iou: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """Return the boxes that stay, from all overlaps."""
    alive, kept = np.ones(len(iou), dtype=bool), []
    for i in np.argsort(-scores, kind="stable"):
        if alive[i]:
            kept.append(int(i))
            alive &= iou[i] <= threshold
    return kept


def _agree(what: str, equal: bool | np.bool_) -> None:
    if not equal:
        raise RuntimeError(f"{what}: ours and the peer's results differ")


def _row(
    name: str,
    ours: str,
    peer: str,
    run_ours: Callable[[], object],
    run_peer: Callable[[], object],
    note: str,
) -> BenchRow:
    mine, theirs, ratio = interleave(run_ours, run_peer, rounds=9)
    return BenchRow(name, ours, peer, mine * 1e3, theirs * 1e3, "ms CPU", ratio, note)


if __name__ == "__main__":
    show(rows())
