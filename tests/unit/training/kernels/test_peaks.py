import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.kernels.peaks import paint_peaks


def by_hand(shape, label, cell, radius):
    heatmap = np.zeros(shape)
    x, y = np.mgrid[: shape[1], : shape[2]]
    for kind, (row, column), reach in zip(label, cell, radius, strict=True):
        sigma = (2 * reach + 1) / 6
        bell = np.exp(-((x - row) ** 2 + (y - column) ** 2) / (2 * sigma**2))
        bell[(np.abs(x - row) > reach) | (np.abs(y - column) > reach)] = 0
        heatmap[kind] = np.maximum(heatmap[kind], bell)
    return heatmap


@settings(max_examples=60, deadline=None)
@given(
    peaks=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 11), st.integers(0, 8), st.integers(0, 5)),
        max_size=8,
    )
)
def test_peaks_are_gaussians_of_their_radius(peaks):
    table = np.array(peaks, dtype=np.int64).reshape(-1, 4)
    heatmap = np.zeros((3, 12, 9), dtype=np.float32)
    paint_peaks(heatmap, table[:, 0], table[:, 1:3], table[:, 3])
    expected = by_hand(heatmap.shape, table[:, 0], table[:, 1:3], table[:, 3])
    np.testing.assert_allclose(heatmap, expected, atol=1e-6)
    assert (heatmap[tuple(table[:, :3].T)] == 1.0).all()
