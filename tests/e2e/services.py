"""What the shop and the market have in common: processes that say when they are ready, customers, a knob, and an end in order.

It does NOT know which services there are, or who calls whom.
"""

import sys
import urllib.request
from pathlib import Path

from procs import Process

HERE = Path(__file__).resolve().parent
START_SECONDS = 60
# The SDKs' own limit for their last flush is 30 s.
STOP_SECONDS = 40


class Services:
    """Running services, each started before those that call it; `open_doors` brings customers to `address`."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.services = {}
        self.address = None
        self.load = None

    def run(self, name, argv, env):
        """A service; the event with which it says that it is ready."""
        self.services[name] = Process(name, argv, self.folder, {**env, "PYTHONUNBUFFERED": "1"})
        return self.services[name].wait_for(lambda e: e.get("port") and e, "port", START_SECONDS)

    def open_doors(self, rate, seconds, seed=1, *more):
        """Customers come from now on."""
        argv = [sys.executable, HERE / "shop" / "load.py", "--target", self.address]
        argv += ["--rate", rate, "--seconds", seconds, "--seed", seed, *more]
        self.load = Process("load", argv, self.folder)

    def turn(self, url, kind, milliseconds):
        """Makes a service's `work` or `sql` slower by so much; 0 takes it back."""
        request = urllib.request.Request(f"{url}/_slow?{kind}_ms={milliseconds}", method="PUT")
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def close_doors(self):
        """No more customers; what became of those that came, once all are answered."""
        self.load.stop(STOP_SECONDS)
        return next(e for e in reversed(self.load.events()) if e.get("event") == "done")

    def stop(self):
        """Stops the services, callers first; how many spans ended in each."""
        spans = {}
        for name, process in reversed(self.services.items()):
            process.stop(STOP_SECONDS)
            done = process.wait_for(lambda e: e.get("event") == "done" and e, "span count", 5)
            spans[name] = done["spans"]
        return spans
