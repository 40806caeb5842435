import pytest

from scene.errors import ConfigError
from training import config as settings
from training.config import TrainConfig
from training.recipes import RECIPES, recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_a_job_file(name):
    config = recipe(name)
    again = TrainConfig.from_dict(config.to_dict())
    assert again == config
    assert again.digest == config.digest
    assert {category for category, _ in config.paste} <= set(config.categories)


def test_recipes_are_different_models_and_the_names_are_known():
    assert list(RECIPES) == ["small", "fleet", "kitti", "nuscenes", "argoverse2", "pandaset"]
    assert len({recipe(name).digest for name in RECIPES}) == len(RECIPES)


def test_the_small_recipe_is_that_of_the_demo_and_keeps_its_name():
    assert recipe("small") == settings.demo() == TrainConfig()
    # The name of every model that was ever made with it hangs on this.
    assert recipe("small").digest.startswith("f3b185fa02657b9d")


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="no recipe is called 'waymo'; there are small, fleet"):
        recipe("waymo")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network": "voxelnext"}, "network"),
        ({"channels": [8, 8, 8, 8]}, "three numbers"),
        ({"output_stride": 4}, "output_stride"),
        ({"output_stride": 3, "network": "centerpoint"}, "output_stride"),
        ({"groups": [["car"]]}, "exactly once"),
        ({"groups": [["car", "truck", "pedestrian", "bicycle"], []]}, "exactly once"),
        ({"ema": 1.0}, "ema"),
        ({"num_sweeps": 0}, "num_sweeps"),
    ],
)
def test_settings_of_the_network_that_cannot_work_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict(values)
