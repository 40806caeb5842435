"""Clusters against people's boxes on real points (PandaSet 002, Pandar64 in San Francisco)."""

from __future__ import annotations

import numpy as np
import pyarrow.feather as feather

from curation.candidates import fits_category
from curation.clusters import find_clusters
from scene.taxonomy import to_category
from tests.support.shared_data import shared_data


def test_annotated_people_and_cars_are_clusters():
    folder = shared_data("av2_layout/pandaset_002")
    table = feather.read_table(folder / "annotations.feather")
    column = {n: table.column(n).to_numpy(zero_copy_only=False) for n in table.column_names}
    category = np.array([to_category(name) or "" for name in column["category"]])
    xy = np.stack([column["tx_m"], column["ty_m"]], 1)
    clear = (column["num_interior_pts"] > 10) & (np.hypot(*xy.T) < 30)
    found = {"pedestrian": [], "car": []}
    for path in sorted((folder / "sensors" / "lidar").glob("*.feather"))[::2]:
        sweep = feather.read_table(path)
        points = np.stack([sweep.column(axis).to_numpy() for axis in "xyz"], 1)
        clusters = find_clusters(points, int(path.stem), np.zeros((0, 2)))
        here = clear & (column["timestamp_ns"] == int(path.stem))
        people = clusters.take(fits_category(clusters, "pedestrian"))
        for name, candidates, bound_m in (("pedestrian", people, 0.6), ("car", clusters, 1.5)):
            boxes = xy[here & (category == name)]
            gap = np.hypot(*(boxes[:, None] - candidates.center_xyz_m[None, :, :2]).T)
            found[name] += (gap < bound_m).any(axis=0).tolist()
    assert len(found["pedestrian"]) >= 6
    assert np.mean(found["pedestrian"]) >= 0.85
    assert np.mean(found["car"]) >= 0.95
