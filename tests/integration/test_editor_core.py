"""The editor's TypeScript core on files of the Python code: large sweeps, people's boxes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recordings.open import open_recording
from scene.sweep import Sweep
from storage import codec
from tests.support.editor_golden import EDITOR, decoded, spinning, write_clip
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.integration


def run_vitest(folder: Path, *arguments: str) -> None:
    """Run the tests that read files of a folder."""
    if not (EDITOR / "node_modules").is_dir():
        pytest.skip("the editor's packages are not installed: make editor")
    command = [sys.executable, str(EDITOR / "npm.py"), "exec", "--", "vitest", "run", *arguments]
    finished = subprocess.run(
        [*command, "test/recorded.test.ts"],
        env={**os.environ, "EDITOR_GOLDEN": str(folder), "CI": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-2000:]


def test_large_sweeps_are_read_bit_by_bit(tmp_path: Path) -> None:
    columns = spinning(2400, 64)
    assert len(columns) > 130_000
    random = np.random.default_rng(0)
    jumps = Sweep(
        0,
        random.normal(0, 40, (150_000, 3)).astype(np.float32),
        random.random(150_000).astype(np.float32),
        np.sort(random.integers(0, 100_000_000, 150_000)).astype(np.int32),
        random.integers(0, 128, 150_000).astype(np.uint16),
    )
    sweeps = {
        "columns": codec.encode(columns),
        "single_shots": codec.encode(spinning(2400, 64, shared_times=False)),
        "jumps": codec.encode(jumps),
        "lossless": codec.encode(columns, lossless=True),
    }
    (tmp_path / "sweeps").mkdir()
    for name, data in sweeps.items():
        (tmp_path / "sweeps" / f"{name}.json").write_text(json.dumps(decoded(data)))
    run_vitest(tmp_path, "-t", "large sweeps")


def test_fits_and_propagation_are_near_what_people_drew(tmp_path: Path) -> None:
    """PandaSet 002: one click on a car, and a person's box taken to the next frame."""
    recording = open_recording(shared_data("av2_layout/pandaset_002"))
    (tmp_path / "clip").mkdir()
    assert write_clip(recording, tmp_path / "clip") >= 20
    run_vitest(tmp_path, "-t", "boxes of people")
    fit = json.loads((tmp_path / "fit.json").read_text())
    assert fit["tried"] > 50
    print("click to fit:", fit)
    print("propagate:", json.loads((tmp_path / "propagate.json").read_text()))
