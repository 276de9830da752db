"""The end-to-end test: real OpenTelemetry senders, a real Prometheus, one service slowed by hand.

    env $(./peers.sh) run.py path/to/laghound [--lane NAME]... [--keep FOLDER]

Needs the environment that peers.sh makes and prints. The lanes run side by side, each on free ports of
127.0.0.1; the closing line is `N passed, N failed`, the exit code 0 only if nothing failed.
"""

import argparse
import functools
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from alarm import Alarm
from copies import Copies
from lane import Lane, Plan
from outage import Outage
from procs import kill_all
from stream import Kafka

PLANS = [
    Plan("grpc", "grpc", "pricing", "work", 150, ("pricing", "service")),
    Plan("http", "http/protobuf", "cart", "work", 150, ("cart", "service")),
    Plan("database", "http/protobuf", "cart", "sql", 150, ("sqlite", "dependency")),
]

STORIES = [Alarm, Copies, Kafka, Outage]
LOUD = (Copies, Kafka, Outage)


def report(lanes):
    """The table, the logs of lanes that failed, and the closing line; the number of failures."""
    checks = [(lane, check) for lane in lanes for check in lane.checks]
    width = max(len(check.name) for _, check in checks)
    print()
    for lane, check in checks:
        mark = "ok  " if check.passed else "FAIL"
        print(f"{mark} {lane.name:<8} {check.name:<{width}}  {check.figure}")
    failed = sum(not check.passed for _, check in checks)
    print(f"\n{len(checks) - failed} passed, {failed} failed")
    return failed


def in_turn(lanes):
    """Runs all side by side, but for those that only count and make load: they begin when the shops are done."""
    loud = [lane for lane in lanes if isinstance(lane, LOUD)]
    threads = {lane: threading.Thread(target=lane.run, daemon=True) for lane in lanes}
    for lane, thread in threads.items():
        if lane not in loud:
            thread.start()
    for lane, thread in threads.items():
        if isinstance(lane, Lane):
            thread.join()
    for lane in loud:
        threads[lane].start()
    for thread in threads.values():
        thread.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("laghound", type=Path, help="the binary")
    makers = {plan.name: functools.partial(Lane, plan) for plan in PLANS}
    makers |= {story.__name__.lower(): functools.partial(story, story.__name__.lower()) for story in STORIES}
    parser.add_argument("--lane", action="append", choices=makers, help="only this one; may be repeated")
    parser.add_argument("--keep", type=Path, help="folder for logs and data; a temporary one if absent")
    args = parser.parse_args()
    # As an exception, so that a test that is stopped stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="laghound-e2e-") as temporary:
        folder = (args.keep or Path(temporary)).resolve()
        binary = args.laghound.resolve(strict=True)
        lanes = [make(binary, folder) for name, make in makers.items() if not args.lane or name in args.lane]
        try:
            in_turn(lanes)
        finally:
            kill_all()
        failed = report(lanes)
    print(f"{time.monotonic() - begin:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
