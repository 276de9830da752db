"""Saving what was learned of 50,000 operations does not hold up who sends meanwhile.

    tests/soak/saves.py target/fast/laghound [--operations 50000] [--seconds 60]

An engine is taught so many operations; one sender goes on with all of them, round and round, and a canary sends a
span every 50 ms. First without a state directory, then with one and a snapshot every two seconds: canary, goodput,
how long encoding and writing took, and how often. Every span that was answered with 200 must be analyzed in the end
(accepted = analyzed + dropped + pending at every scrape, nothing dropped as late). Prints a Markdown table; exits with 1 at
whatever is not so. Standard library only.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import overload  # noqa: E402

SERVICES = 50
BATCH = 500
PAUSE = 0.05


def message(first, operations, draw):
    """Traces of one span, one of each operation from `first` on, all of one service."""
    spans, now = b"", time.time_ns()
    per_service = operations // SERVICES
    service = first // per_service
    for number in range(first, min(first + BATCH, (service + 1) * per_service)):
        trace, own = draw.randbytes(16), draw.randbytes(8)
        length = 5_000_000 + draw.randrange(1_000_000)
        spans += overload.field(2, overload.span(trace, own, b"", b"GET /%d" % number, 2, now - length, now))
    name = overload.field(1, b"service.name") + overload.field(2, overload.field(1, b"service-%d" % service))
    resource = overload.field(1, overload.field(1, name))
    return overload.field(1, resource + overload.field(2, spans)), number + 1 - first


async def send(port, operations, until):
    """Spans sent and accepted."""
    draw, connection, first, tally = random.Random(1), overload.Connection(port), 0, [0, 0]
    while time.monotonic() < until:
        body, count = message(first, operations, draw)
        tally[0] += count
        tally[1] += count if await connection.send(body) == 200 else 0
        first = (first + count) % operations
        await asyncio.sleep(PAUSE)
    return tally


async def scrape(laghound):
    sums = await laghound.metrics()
    return {
        "taken at": sums("laghound_snapshot_last_success_timestamp_seconds"),
        "bytes": sums("laghound_snapshot_size_bytes"),
        "encode": sums('laghound_snapshot_duration_seconds{phase="encode"}'),
        "write": sums('laghound_snapshot_duration_seconds{phase="write"}'),
        "dropped": sums("laghound_spans_dropped_total"),
        "failures": sums("laghound_snapshot_failures_total"),
    }


async def run(binary, options, *more):
    limits = [
        f"--names.max_operations={2 * options.operations}",
        f"--names.max_operations_per_service={2 * options.operations}",
        f"--engine.max_nodes={4 * options.operations}",
        f"--engine.max_paths={4 * options.operations}",
    ]
    laghound, failures = overload.Laghound(binary, options.memory, *limits, *more), []
    port, began = laghound.ports["otlp_http"], time.monotonic()
    sending = asyncio.create_task(send(port, options.operations, began + options.learn + options.seconds))
    await asyncio.sleep(options.learn)
    watched = asyncio.create_task(overload.canary(port, options.seconds))
    saves, encodes, writes, size = set(), [], [], 0
    while not watched.done():
        seen = await scrape(laghound)
        if seen["taken at"] and seen["taken at"] not in saves:
            saves.add(seen["taken at"])
            encodes.append(seen["encode"])
            writes.append(seen["write"])
            size = seen["bytes"]
        await asyncio.sleep(0.5)
    tally, latencies = await watched
    ordered = sorted(latency * 1000 for _, latency in latencies)
    sent, accepted = await sending
    seen = await scrape(laghound)
    if tally["ok"] != tally["sent"] or sent != accepted:
        failures.append(f"{sent - accepted} of {sent} spans and {tally['sent'] - tally['ok']} canaries were not accepted")
    if seen["dropped"] or seen["failures"]:
        failures.append(f"{seen['dropped']:.0f} spans dropped, {seen['failures']:.0f} snapshots not saved")
    quantile = lambda part: overload.quantile(ordered, part)
    print(
        f"| {len(saves)} | {size / 2**20:.1f} MiB | {1000 * max(encodes, default=0):.0f} ms | {1000 * max(writes, default=0):.0f} ms "
        f"| {quantile(0.5):.1f}, {quantile(0.99):.1f}, {ordered[-1]:.1f} ms | {sent / (options.learn + options.seconds):.0f} | {sent - accepted} |",
        flush=True,
    )
    overload.stop(laghound, failures)
    return failures, len(saves)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--operations", type=int, default=50_000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--learn", type=int, default=30, help="seconds of traffic before")
    parser.add_argument("--memory", type=int, default=4096)
    options = parser.parse_args()
    print("| snapshots seen | bytes | longest encoding | longest writing | canary p50, p99, longest | spans/s | refused |")
    print("|---|---|---|---|---|---|---|")
    failures, _ = await run(options.binary, options)
    with tempfile.TemporaryDirectory(prefix="laghound-saves-") as directory:
        flags = [f"--state.directory={directory}", "--state.interval=2s"]
        more, saves = await run(options.binary, options, *flags)
    failures += more
    if saves < options.seconds / 10:
        failures.append(f"only {saves} snapshots in {options.seconds} s")
    overload.end(failures)


if __name__ == "__main__":
    asyncio.run(main())
