import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.supervisor.core_waits import CoreWaits

SPIN = "import os; os.sched_setaffinity(0, {%d}); print('on', flush=True)\nwhile True: pass"
PAUSE = "print('on', flush=True); input()"


@pytest.fixture
def start():
    started = []

    def begin(script):
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout.readline() == b"on\n"
        return process.pid

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="a kernel without schedstat")
def test_of_three_that_share_a_core_each_waits_for_it_and_one_that_sleeps_or_is_stopped_does_not(
    start,
):
    core = max(os.sched_getaffinity(0))
    spinning = [start(SPIN % core) for _ in range(3)]
    sleeping, stopped = start(PAUSE), start(SPIN % core)
    os.kill(stopped, signal.SIGSTOP)
    os.waitid(os.P_PID, stopped, os.WSTOPPED)
    waits = CoreWaits()
    everybody = [*spinning, sleeping, stopped]
    begun = time.monotonic()
    assert [waits.since(pid, 7) for pid in everybody] == [0.0] * 5
    while min(waits.since(pid, 7) for pid in spinning) < 0.2:
        assert time.monotonic() - begun < 30
        time.sleep(0.02)
    assert max(waits.since(pid, 7) for pid in spinning) <= time.monotonic() - begun
    assert waits.since(sleeping, 7) < 0.1
    assert waits.since(stopped, 7) == 0.0
    assert waits.since(spinning[0], 8) == 0.0  # a new sign of life


def test_of_a_process_that_is_gone_nothing_is_known():
    assert CoreWaits().since(2**22 + 1, 7) == 0.0
