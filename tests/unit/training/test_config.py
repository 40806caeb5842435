from dataclasses import replace

import pytest

from scene.errors import ConfigError
from training import config as recipes
from training.config import TrainConfig
from training.dataset import DataOptions
from training.identity import model_id_of


@pytest.mark.parametrize("recipe", [recipes.demo, recipes.small])
def test_round_trip_keeps_the_digest(recipe):
    config = replace(recipe(), paste=(("pedestrian", 2),))
    again = TrainConfig.from_dict(config.to_dict())
    assert again == config
    assert again.digest == config.digest
    assert TrainConfig.from_dict({}) == TrainConfig()


def test_digest_changes_with_what_decides_the_model_only():
    config = recipes.small()
    for change in ({"seed": 1}, {"iterations": 61}, {"categories": ("car",)}, {"pillar_m": 0.2}):
        assert replace(config, **change).digest != config.digest, change
    for change in ({"num_threads": 7}, {"checkpoint_every": 3}, {"precision": "bfloat16"}):
        assert replace(config, **change).digest == config.digest, change


def test_model_id_is_a_content_address():
    config = recipes.small()
    name = model_id_of("d1", config, None)
    assert name == model_id_of("d1", replace(config, num_threads=5), None)
    others = {
        model_id_of("d2", config, None),
        model_id_of("d1", replace(config, seed=9), None),
        model_id_of("d1", config, "m-0123456789ab"),
    }
    assert len(others | {name}) == 4
    assert len(name) == 14
    assert name.startswith("m-")
    assert int(name[2:], 16) >= 0


def test_model_id_of_a_frozen_example():
    # A change here renames every model: change training.identity.RECIPE on purpose, not this.
    config = TrainConfig.from_dict({"categories": ["car"], "iterations": 10})
    assert config.digest == TrainConfig(categories=("car",), iterations=10).digest
    assert model_id_of("dataset", config, "m-000000000000") == model_id_of(
        "dataset", TrainConfig(categories=("car",), iterations=10), "m-000000000000"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"categories": ["unicorn"]}, "categories"),
        ({"categories": []}, "categories"),
        ({"categories": ["car", "car"]}, "distinct"),
        ({"iterations": 0}, "iterations"),
        ({"pillar_m": 0.3}, "multiple of 8"),
        ({"x_min_m": 60.0}, "multiple of 8"),
        ({"precision": "int4"}, "precision"),
        ({"channels": [32, 32]}, "channels"),
        ({"paste": {"unicorn": 1}}, "paste"),
        ({"learning_rte": 1.0}, "learning_rte"),
        ({"max_boxes": 100_000}, "max_boxes"),
        ({"pillar_m": 0}, "pillar_m"),
        ({"pillar_m": -0.4}, "pillar_m"),
        ({"x_max_m": float("nan")}, "x_max_m"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"iterations": "many"}, "iterations"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"z_min_m": 3.8}, "z_max_m"),  # it would see no point at all
        ({"max_points": 0}, "max_points"),
        ({"z_bins": 0}, "z_bins"),
        ({"seed": -1}, "seed"),
        ({"learning_rate": -1e-3}, "learning_rate"),
        ({"channels": 32}, "wrong type"),
        ({"channels": ["a", "b", "c"]}, "wrong type"),
        ({"categories": 4}, "wrong type"),
        ({"paste": {"car": "two"}}, "wrong type"),
    ],
)
def test_settings_that_cannot_work_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict(values)


@pytest.mark.parametrize("values", [{"threads": -1}, {"depth": "3"}, {"cache_bytes": 1.5}])
def test_data_options_that_cannot_work_are_refused(values):
    with pytest.raises(ConfigError, match="data options"):
        DataOptions.from_dict(values)


def test_finetuning_is_gentler_than_training():
    config = recipes.demo()
    tuned = recipes.finetune(config)
    assert tuned.learning_rate < config.learning_rate
    assert (
        replace(tuned, iterations=config.iterations, learning_rate=config.learning_rate).categories
        == config.categories
    )


def test_grid_and_heat_map_sizes():
    config = TrainConfig()
    assert config.grid_shape == (160, 128)
    assert config.output_shape == (80, 64)
    assert config.cell_m == pytest.approx(0.8)
