"""What all stories of the end-to-end test have in common: a name, a folder, and facts written down one by one.

A fact that does not hold is written down, and the story goes on as far as it can, so that one run tells all that is
wrong. It does NOT stop what it started: see procs.kill_all.
"""

import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from procs import Failure


@dataclass
class Check:
    """One fact, and whether it held."""

    name: str
    passed: bool
    figure: str


class Story:
    """One story; `tell` is what happens in it."""

    def __init__(self, name, binary, folder):
        self.name = name
        self.binary = binary
        self.folder = Path(folder) / name
        self.folder.mkdir(parents=True)
        self.checks = []
        self.begin = time.monotonic()

    def say(self, text):
        """One line of progress."""
        print(f"[{self.name} {time.monotonic() - self.begin:5.1f}s] {text}", flush=True)

    def check(self, name, passed, figure=""):
        """Writes down one fact; whether it held."""
        self.checks.append(Check(name, bool(passed), str(figure)))
        self.say(f"{'ok  ' if passed else 'FAIL'} {name}: {figure}")
        return bool(passed)

    def tell(self):
        """All stages."""
        raise NotImplementedError

    def run(self):
        """The story as far as it can go; a crash of the test itself is a failed check too."""
        try:
            self.tell()
        except Failure as failure:
            self.check("the story could be told to its end", False, failure)
        except Exception:  # pylint: disable=broad-except
            self.check("the test itself ran", False, traceback.format_exc())

    def wait(self, what, seconds, every=0.5):
        """The first true answer of `what` within so many seconds, and the seconds it took; None without."""
        begin = time.monotonic()
        while True:
            answer = what()
            took = time.monotonic() - begin
            if answer or took > seconds:
                return (answer or None), took
            time.sleep(every)
