import numpy as np
import pytest

from benchmarks.accuracy import config_for
from benchmarks.accuracy_data import GAP_S, open_packed, pack, splits_of
from scene.errors import NotFoundError
from tests.support.shared_data import shared_data
from training.recipes import RECIPES


def test_a_drive_is_split_by_time_with_a_gap():
    times = (np.arange(100) * 1e8).astype(np.int64)
    chosen = dict(splits_of(times, None))
    train = [t for t, split in chosen.items() if split == "train"]
    test = [t for t, split in chosen.items() if split == "test"]
    assert len(train) == 70
    assert min(test) - max(train) > GAP_S * 1e9
    assert len(train) + len(test) == 100 - 5


def test_whole_drives_stay_on_their_side():
    assert {split for _, split in splits_of([3, 1, 2], "test")} == {"test"}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_brought_to_the_same_ground_and_categories(name):
    categories = ("car", "bicycle", "barrier")
    config = config_for(name, categories)
    assert config.categories == categories
    assert (config.x_min_m, config.x_max_m) == (-12.8, 51.2)


@pytest.mark.integration
def test_real_recordings_are_packed_into_a_dataset(tmp_path):
    drive = shared_data("av2_layout/pandaset_002")
    manifest = pack([drive], tmp_path, by_time=True)
    _, again = open_packed(tmp_path)
    assert again.digest == manifest.digest
    splits = manifest.frames["split"].to_pylist()
    assert (splits.count("train"), splits.count("test")) == (15, 4)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(NotFoundError):
        open_packed(tmp_path)
