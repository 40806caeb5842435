"""A long drive through the whole of `starloop ingest`: memory, both cores, a kill in the middle.

    python -m benchmarks.big [--gb 4] [--folder F]

Makes the MCAP, ingests it in a child process and prints its peak memory and times; then ingests it
again, kills that at half the time and prints what the next one still had to do.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.drive import write_drive
from scene.recording import RecordingId

_MB_A_SWEEP = 2.88  # of messages
_CHILD = "from benchmarks.big import child; child()"


def child() -> None:
    """Ingest `landing` into `store` of the folder in argv; print what happened as JSON."""
    folder, cores, part_points = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:cores]))
    from loop import sweep_pass
    from loop.ingest import ingest_recording
    from loop.landing import register, scan
    from loop.workspace import Workspace
    from storage.open import StoreConfig

    sweep_pass.PART_POINTS = part_points or sweep_pass.PART_POINTS
    decoded = _count_decoded()
    workspace = Workspace.open(
        StoreConfig(url=str(folder / "store")), StoreConfig(url=str(folder / "landing"))
    )
    (source,) = scan(workspace)
    register(workspace, source)
    print("begin", flush=True)
    start, cpu = time.perf_counter(), time.process_time()
    result = ingest_recording(workspace, RecordingId(source.name))
    facts = {
        "wall_s": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "rss_mb": _peak_rss_mb(),
        "sweeps": result.num_sweeps,
        "decoded": len(decoded),
        "digest": result.digest,
        "status": f"{result.status} {result.message}",
    }
    print(json.dumps(facts), flush=True)


def _peak_rss_mb() -> float:
    """Return the most memory this process has had; `ru_maxrss` would count its parent's as well."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise RuntimeError("no VmHWM in /proc/self/status")
    return int(found[1]) / 1024


def _count_decoded() -> list[int]:
    """Return a list that grows with every cloud that is made a sweep."""
    from recordings.geometry.sweep_builder import SweepBuilder

    decoded: list[int] = []
    build = SweepBuilder.build

    def counted(self: SweepBuilder, timestamp_ns: int, *rest: Any) -> Any:
        decoded.append(timestamp_ns)
        return build(self, timestamp_ns, *rest)

    SweepBuilder.build = counted  # type: ignore[method-assign]
    return decoded


def run(
    folder: Path, cores: int, kill_when: Callable[[], bool] | None = None, part_points: int = 0
) -> dict[str, Any]:
    """Ingest in a child on so many cores; kill it once `kill_when()` is true.

    Args:
        folder: holds `landing`, and gets `store`.
        cores: how many the child may use.
        kill_when: when to kill it; None: never.
        part_points: see `loop.sweep_pass`; 0 for the usual number.

    Returns:
        What the child printed; nothing of a killed one.
    """
    command = [sys.executable, "-c", _CHILD, str(folder), str(cores), str(part_points)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if process.stdout is None:
        raise RuntimeError("no output of the child")
    if kill_when is not None:
        while process.poll() is None and not kill_when():
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return {}
    output, _ = process.communicate()
    return json.loads(output.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=4.0, help="size of the MCAP")
    parser.add_argument("--folder", type=Path, help="where to work; room for twice the size")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        landing = Path(name) / "landing"
        landing.mkdir()
        path = landing / "long.mcap"
        sweeps = int(options.gb * 1e3 / (_MB_A_SWEEP * 0.555))
        write_drive(path, sweeps, scans=24)
        print(f"{path.stat().st_size / 1e9:.2f} GB, {sweeps} sweeps")
        report(Path(name))


def report(folder: Path) -> None:
    """Ingest on one core, on two, and with a kill in between; print each."""
    digests = set()
    for label, cores in (("one core", 1), ("two cores", 2)):
        facts = run(folder, cores)
        digests.add(facts["digest"])
        print(label, {k: round(v, 1) if isinstance(v, float) else v for k, v in facts.items()})
        _forget(folder)
    parts = folder / "store" / "parts"
    run(folder, 2, lambda: len(list(parts.rglob("*.arrow"))) >= 2)
    print(f"killed after {len(list(parts.rglob('*.arrow')))} parts")
    facts = run(folder, 2)
    digests.add(facts["digest"])
    print("went on", {k: round(v, 1) if isinstance(v, float) else v for k, v in facts.items()})
    print("the same bytes each time" if len(digests) == 1 else f"DIFFERENT: {digests}")
    print(f"left over: {len(list(parts.rglob('*.arrow')))} parts")


def _forget(folder: Path) -> None:
    shutil.rmtree(folder / "store")


if __name__ == "__main__":
    main()
