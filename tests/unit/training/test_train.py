from __future__ import annotations

import json

import pytest

from scene.errors import ConfigError
from storage.open import StoreConfig
from training import config as recipes
from training import train
from training.identity import model_id_of
from training.job import Job
from training.process import StopRequest
from training.report import SilentReporter


@pytest.fixture
def job_file(tmp_path):
    config, store = recipes.small(), StoreConfig(str(tmp_path / "bucket"))
    job = Job(store, "d-1", config, None, model_id_of("d-1", config, None))
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job.to_dict()))
    return path


@pytest.mark.parametrize(
    ("words", "rank"),
    [
        (["--chaos", "nan:1"], None),
        (["--spares", "1"], None),
        (["--replay-every", "2"], None),
        (["--chaos", "nan:1", "--workers", "2"], "0"),  # as torchrun starts it
    ],
)
def test_what_only_the_supervisor_does_is_refused_without_it(job_file, monkeypatch, words, rank):
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    options = train._parser().parse_args(["--job", str(job_file), *words])
    with pytest.raises(ConfigError, match="need --workers"):
        train._run(options, SilentReporter(), StopRequest())
