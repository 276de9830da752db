"""Where things are, and how the tools that read `deploy/` are run.

Every check hands a file to the program it is meant for and looks at what that program says. Nothing
here knows what any file should contain.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent.parent
DEPLOY = ROOT / "deploy"
SECONDS = 300


def tool(name):
    """The path of a tool: laghound as run.sh was told, all others first in PATH."""
    if name == "laghound":
        return str(Path(os.environ["LAGHOUND_BINARY"]).resolve(strict=True))
    found = shutil.which(str(name))
    if not found:
        raise AssertionError(f"{name} is not installed: start through tests/deploy/run.sh")
    return found


def run(*argv, stdin=None, env=None, cwd=None, code=0):
    """Standard output of a tool that must end with `code`; all it said if it does not."""
    argv = [tool(argv[0]), *map(str, argv[1:])]
    done = subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )
    if done.returncode != code:
        said = f"{done.stdout}{done.stderr}".strip()
        raise AssertionError(f"{' '.join(argv)}: exit {done.returncode} instead of {code}\n{said}")
    return done.stdout


def refusal(*argv, stdin=None):
    """What a tool says of something that it must refuse."""
    argv = [tool(argv[0]), *map(str, argv[1:])]
    done = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode == 0:
        raise AssertionError(f"{' '.join(argv)} took what it must refuse")
    return done.stdout + done.stderr


def load(path):
    """A JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
