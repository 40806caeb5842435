import json

import pytest

from benchmarks.accelerator import main
from training.device import choose_device

pytestmark = pytest.mark.slow


def test_the_accelerator_benchmark_runs_whole_at_a_tiny_size(tmp_path, capsys):
    out = tmp_path / "figures.json"
    figures = main(["--size", "tiny", "--threads", "2", "--out", str(out)])
    assert json.loads(out.read_text()) == figures
    for name in ("peak_tflops", "gflop_per_sample", "step_ms", "loaded_samples_per_s",
                 "times_faster_than_padded", "times_faster_than_padded_tf32"):  # fmt: skip
        assert figures[name] > 0, name
    assert 0 < figures["mfu"] < 1
    assert 0 <= figures["data_wait_share"] < 1
    assert ("peak_memory_gib" in figures) == (choose_device().type != "cpu")
    assert "wait for data" in capsys.readouterr().out
