"""Other people's processes: started, listened to, stopped within a deadline, never left behind.

Standard output and error of a process go into one file that can be shown when something fails, and
line by line to whoever waits for one. It does NOT restart anything.
"""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

# Lines kept in memory per process, for `wait_for`; the file has them all.
MAX_LINES = 100_000
# Everything ever started here, for `kill_all`.
_STARTED = []


# Everything here talks to this machine only, whatever proxy the machine is told to use.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"


class Failure(Exception):
    """Something under test is not as it must be; the text says what."""


def surroundings():
    """This process' environment without what would configure the programs under test behind our back."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("LAGHOUND_", "OTEL_"))}


class Process:
    """One child, with its output."""

    def __init__(self, name, argv, folder, env=None):
        self.name = name
        self.log = Path(folder) / f"{name}.log"
        self._lines = []
        self._grown = threading.Condition()
        self.child = subprocess.Popen(
            [str(a) for a in argv],
            env={**surroundings(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            text=True,
            errors="replace",
        )
        _STARTED.append(self)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with open(self.log, "w", encoding="utf-8") as log:
            for line in self.child.stdout:
                log.write(line)
                log.flush()
                with self._grown:
                    if len(self._lines) < MAX_LINES:
                        self._lines.append(line.rstrip("\n"))
                    self._grown.notify_all()

    def lines(self):
        """All lines so far."""
        with self._grown:
            return list(self._lines)

    def events(self):
        """The lines so far that are JSON objects, decoded."""
        return [event for event in map(decoded, self.lines()) if event is not None]

    def wait_for(self, found, what, seconds):
        """The first true `found(event)` over the JSON lines; a failure if none comes in time."""
        deadline = time.monotonic() + seconds
        seen = 0
        while True:
            with self._grown:
                if len(self._lines) == seen:
                    self._grown.wait(0.2)
                fresh, seen = self._lines[seen:], len(self._lines)
            for event in filter(None, map(decoded, fresh)):
                if answer := found(event):
                    return answer
            if not fresh and self.child.poll() is not None:
                raise Failure(f"{self.name} ended with {self.child.returncode} before {what}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise Failure(f"{self.name}: no {what} within {seconds} s\n{self.tail()}")

    def wait_for_line(self, text, seconds):
        """Until a line that need not be JSON has this text."""
        deadline = time.monotonic() + seconds
        while not any(text in line for line in self.lines()):
            ended = self.child.poll() is not None
            if ended or time.monotonic() > deadline:
                raise Failure(f"{self.name}: no line with {text!r} within {seconds} s\n{self.tail()}")
            time.sleep(0.1)

    def tail(self, count=15):
        """The last lines, for a failure's text."""
        return "\n".join(f"    {self.name}| {line}" for line in self.lines()[-count:])

    def stop(self, seconds):
        """SIGTERM; the exit code and the seconds it took. Killed, and a failure, after `seconds`."""
        begin = time.monotonic()
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            code = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"{self.name} still ran {seconds} s after SIGTERM\n{self.tail()}") from None
        took = time.monotonic() - begin
        self._reader.join(2)
        return code, took

    def kill(self):
        """The end, for clean-up: nothing survives the test."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


def kill_all():
    """On the way out of a test, however it ends."""
    for process in list(_STARTED):
        process.kill()


def decoded(line):
    """The JSON object that a line is, or None."""
    if not line.startswith("{"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None
