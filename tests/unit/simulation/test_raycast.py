import numpy as np
import pytest

from simulation.primitives import PrimitiveList, Primitives
from simulation.raycast import GROUND, NOTHING, cast

ELEVATION = np.deg2rad(np.linspace(-30.67, 10.67, 32))
ORIGIN = np.array([0.3, -0.2, 1.84])


def shoot(solids: Primitives, columns: int = 360, velocity=None, sensor_velocity=(0.0, 0.0),
          yaw_rate: float = 0.0, period_s: float = 0.0):  # fmt: skip
    velocity = np.zeros((len(solids), 2)) if velocity is None else velocity
    step = 2 * np.pi / columns + yaw_rate * period_s / columns
    result = cast(
        solids, velocity, ORIGIN, np.array(sensor_velocity, float), -np.pi + 0.01, step,
        period_s / columns, columns, np.tan(ELEVATION), 80.0,
    )  # fmt: skip
    return result, -np.pi + 0.01 + step * np.arange(columns)


def random_solids(count: int, seed: int) -> Primitives:
    rng = np.random.default_rng(seed)
    parts = PrimitiveList()
    for _ in range(count):
        angle, far = rng.uniform(-np.pi, np.pi), rng.uniform(4.5, 60.0)
        place = (float(far * np.cos(angle)), float(far * np.sin(angle)))
        z = (float(rng.uniform(0.0, 2.5)), float(rng.uniform(2.6, 6.0)))
        if rng.random() < 0.5:
            size = (float(rng.uniform(0.1, 5.0)), float(rng.uniform(0.1, 3.0)))
            parts.box(place, size, z, 0.5, yaw_rad=float(rng.uniform(-3, 3)))
        else:
            parts.cylinder(place, float(rng.uniform(0.05, 2.0)), z, 0.5)
    return parts.build()


def brute_force(solids: Primitives, azimuth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Range of every ray by three-dimensional slabs and quadratics, one solid at a time."""
    direction = np.stack(
        [
            np.cos(azimuth)[:, None] * np.cos(ELEVATION),
            np.sin(azimuth)[:, None] * np.cos(ELEVATION),
            np.broadcast_to(np.sin(ELEVATION), (len(azimuth), len(ELEVATION))),
        ],
        axis=-1,
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = np.where(direction[..., 2] < 0, -ORIGIN[2] / direction[..., 2], np.inf)
        best = np.where(ground * np.cos(ELEVATION) <= 80.0, ground, np.inf)
        who = np.where(np.isfinite(best), GROUND, NOTHING)
        for i in range(len(solids)):
            offset = np.append(solids.center_xy_m[i], 0.0)
            z = (np.array([solids.z_min_m[i], solids.z_max_m[i]]) - ORIGIN[2])[:, None, None]
            tz = np.sort(z / direction[..., 2], axis=0)
            if solids.kind[i] == 0:
                c, s = np.cos(solids.yaw_rad[i]), np.sin(solids.yaw_rad[i])
                turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
                o, d = turn @ (ORIGIN - offset), direction @ turn.T
                half = solids.half_xy_m[i]
                tx = np.sort(
                    ((np.array([-1, 1])[:, None, None] * half[0]) - o[0]) / d[..., 0], axis=0
                )
                ty = np.sort(
                    ((np.array([-1, 1])[:, None, None] * half[1]) - o[1]) / d[..., 1], axis=0
                )
            else:
                o, d = ORIGIN - offset, direction
                a = d[..., 0] ** 2 + d[..., 1] ** 2
                b = o[0] * d[..., 0] + o[1] * d[..., 1]
                root = np.sqrt(b * b - a * (o[0] ** 2 + o[1] ** 2 - solids.half_xy_m[i, 0] ** 2))
                tx = ty = np.stack([(-b - root) / a, (-b + root) / a])
            near = np.maximum(np.maximum(tx[0], ty[0]), tz[0])
            far = np.minimum(np.minimum(tx[1], ty[1]), tz[1])
            hit = (near <= far) & (near > 0) & (near < best)
            best, who = np.where(hit, near, best), np.where(hit, i, who)
    return best, who


@pytest.mark.parametrize("seed", range(4))
def test_every_ray_agrees_with_brute_force(seed: int) -> None:
    solids = random_solids(60, seed)
    (distance, hit, _), azimuth = shoot(solids)
    expected, who = brute_force(solids, azimuth)
    reached = distance / np.cos(ELEVATION)
    expected = np.where(expected * np.cos(ELEVATION) <= 80.0, expected, np.inf)
    assert np.array_equal(np.isfinite(reached), np.isfinite(expected))
    both = np.isfinite(expected)
    assert np.abs(reached[both] - expected[both]).max() <= 1e-4
    assert (hit == who).mean() > 0.9999
    assert (hit >= 0).sum() > 500


def test_ground_is_met_at_height_over_tangent() -> None:
    (distance, hit, cosine), _ = shoot(PrimitiveList().build())
    down = np.tan(ELEVATION) < -ORIGIN[2] / 80.0
    assert np.allclose(distance[:, down], ORIGIN[2] / -np.tan(ELEVATION[down]))
    assert (hit[:, down] == GROUND).all()
    assert (hit[:, ~down] == NOTHING).all()
    assert np.allclose(cosine[:, down], np.sin(-ELEVATION[down]))


def test_top_and_underside_are_seen() -> None:
    parts = PrimitiveList()
    parts.box((6.0, -0.2), (4.0, 4.0), (0.0, 1.0), 0.5)
    parts.box((20.0, -0.2), (8.0, 4.0), (3.0, 3.5), 0.5)
    (distance, hit, _), azimuth = shoot(parts.build(), 3600)
    column = int(np.abs(azimuth).argmin())
    height = ORIGIN[2] + distance[column] * np.tan(ELEVATION)
    on_top = (hit[column] == 0) & (distance[column] > 3.71)
    below = (hit[column] == 1) & (distance[column] > 15.71)
    assert on_top.any()
    assert np.allclose(height[on_top], 1.0)
    assert below.any()
    assert np.allclose(height[below], 3.0)


def test_moving_plate_is_met_where_it_is_when_the_beam_fires() -> None:
    parts = PrimitiveList()
    parts.box((20.0, 0.0), (0.2, 6.0), (0.0, 8.0), 0.5)
    period = 0.05
    (distance, hit, _), azimuth = shoot(
        parts.build(), 720, np.array([[12.0, 0.0]]), (9.0, 0.0), 0.2, period
    )
    column, beam = np.nonzero(hit == 0)
    time = column * period / 720
    plate_x = 19.9 + 12.0 * time
    sensor_x = ORIGIN[0] + 9.0 * time
    met = sensor_x + distance[column, beam] * np.cos(azimuth[column])
    assert len(met) > 100
    assert np.abs(met - plate_x).max() <= 1e-6


def test_solids_at_the_seam_behind_are_not_cut() -> None:
    parts = PrimitiveList()
    parts.cylinder((-10.0, -0.2), 1.0, (0.0, 4.0), 0.5)
    (_, hit, _), azimuth = shoot(parts.build(), 720, yaw_rate=0.5, period_s=0.05)
    seen = azimuth[(hit == 0).any(axis=1)]
    half = np.arcsin(1.0 / 10.3)
    assert len(seen) == pytest.approx(2 * half / (2 * np.pi / 720), abs=3)
    assert (seen > 0).any()
    assert (seen < 0).any()
