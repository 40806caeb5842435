"""A fork server for fault tests: imports once, then runs a supervised training a line.

Reads JSON lines {"job": path, "options": {...}, "log": path} and answers each with a line
{"code": exit code}. Without it every row of the fault table would pay the imports again.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import traceback
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from training.job import Job
from training.process import StopRequest, die_with_parent
from training.recipes import recipe
from training.report import LogReporter
from training.supervisor.hangs import Patience
from training.supervisor.options import Options
from training.supervisor.policy import Limits
from training.supervisor.prepare import preload
from training.supervisor.supervise import supervise


def main() -> None:
    """Answer lines until there are no more."""
    preload(recipe("small"))
    for line in sys.stdin:
        order = json.loads(line)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                die_with_parent(parent)
                code = run(order)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


def run(order: dict) -> int:
    """Run one training; its log goes to a file."""
    out = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, force=True)
    logging.getLogger("training").setLevel(logging.INFO)
    tempfile.tempdir = order["left"]
    Path(order["left"]).mkdir(exist_ok=True)
    values = dict(order["options"])
    values["limits"] = Limits(**values.pop("limits", {}))
    values["patience"] = Patience(**values.pop("patience", {}))
    values["trace"] = Path(values["trace"])
    stop = StopRequest()
    stop.listen()
    return supervise(Job.read(Path(order["job"])), Options(**values), LogReporter(), stop)


if __name__ == "__main__":
    die_with_parent()
    main()
