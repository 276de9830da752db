"""Customers of the shop: a paced, bounded stream of requests to the storefront, not traced.

Open loop: requests leave when the plan says, whether or not earlier ones are answered, as real
customers do; a closed loop would slow down with the shop and hide what it does to people.
Bounded in rate, time, count and in how many are under way at once; what does not fit is counted.
Prints one JSON line at the end. The plan is drawn from a seed; it does NOT judge answers.
"""

import argparse
import json
import random
import signal
import threading
import time
import urllib.error
import urllib.request

# What people do: method, path, and out of how many requests it is one (shares add up to 1).
PLAN = [("GET", "/product/p{n}", 0.5), ("GET", "/cart/u{n}", 0.35), ("POST", "/checkout/u{n}", 0.15)]
# Customers under way at once. At 10 a second this is reached when requests take 6 s.
MAX_UNDER_WAY = 64
REQUEST_TIMEOUT_S = 30


class Load:
    """The stream, and what became of it."""

    def __init__(self, base, seed):
        self.base = base
        self.random = random.Random(seed)
        self.counts = {"sent": 0, "ok": 0, "failed": 0, "skipped": 0}
        self.lock = threading.Lock()
        self.slots = threading.BoundedSemaphore(MAX_UNDER_WAY)
        self.stop = threading.Event()

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def send(self, method, path):
        try:
            request = urllib.request.Request(self.base + path, method=method)
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:
                answer.read()
            self.count("ok")
        except (OSError, urllib.error.URLError):
            self.count("failed")
        finally:
            self.slots.release()

    def launch(self):
        """One request on a thread of its own, if there is a slot."""
        method, path, _ = self.random.choices(PLAN, [share for *_, share in PLAN])[0]
        path = path.format(n=self.random.randrange(50))
        if not self.slots.acquire(blocking=False):
            self.count("skipped")
            return
        self.count("sent")
        threading.Thread(target=self.send, args=(method, path), daemon=True).start()

    def run(self, rate, seconds, count):
        """Exponential gaps with the mean of `rate`, till the time, the count, or SIGTERM."""
        due = time.monotonic()
        end = due + seconds
        for _ in range(count):
            due += self.random.expovariate(rate)
            if due > end or self.stop.wait(max(0.0, due - time.monotonic())):
                return
            self.launch()

    def drain(self):
        """Waits for those under way: all slots free means nobody is."""
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        for _ in range(MAX_UNDER_WAY):
            self.slots.acquire(timeout=max(0.0, deadline - time.monotonic()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", required=True, help="the storefront's URL")
    parser.add_argument("--rate", type=float, default=8, help="requests a second")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--count", type=int, default=10_000, help="at most this many requests")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    load = Load(args.target, args.seed)
    signal.signal(signal.SIGTERM, lambda *_: load.stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load.run(args.rate, args.seconds, args.count)
    load.drain()
    print(json.dumps({"event": "done", **load.counts}), flush=True)


if __name__ == "__main__":
    main()
