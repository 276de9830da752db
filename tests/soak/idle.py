"""Ten thousand idle connections: what they take, whom they hold up, and that more are closed at once.

    tests/soak/idle.py target/fast/laghound [--connections 10000] [--seconds 40]

A third of them at each of the three addresses: OTLP over gRPC (HTTP/2) and HTTP, and the admin's. Each sends one
request, reads the answer and says nothing more. They come from as many addresses of the loopback network as it takes
to keep below connections.max_per_peer. How much one of each address takes must not be more than what memory_limit is
divided by. While they are idle: resident memory, CPU time and a canary's latency, beside
those before. Then a hundred more come to OTLP over HTTP, all but two of which must be closed without an answer and
counted; idle ones must still be served; when all have gone, the next must be let in. Prints a Markdown table; exits
with 1 at whatever is not so. Standard library only.
"""

import argparse
import asyncio
import os
import random
import resource
import socket
import sys
import time

sys.dont_write_bytecode = True
import overload  # noqa: E402
from http2 import ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, call, frame  # noqa: E402

PER_PEER = 500
# KiB of a connection in the division of memory_limit: `cost::CONNECTION`.
COST = 32
BEYOND = 100


class Http:
    """OTLP over HTTP/1.1."""

    def __init__(self, stream):
        self.stream = stream

    def serves(self, body):
        return overload.ask(self.stream, overload.head(body) + body) == 200


class Admin(Http):
    """A probe."""

    def serves(self, _):
        return overload.ask(self.stream, b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n") == 200


class Grpc:
    """OTLP over gRPC."""

    def __init__(self, stream):
        self.stream, self.number, self.begun = stream, -1, False

    def read(self, count):
        out = b""
        while len(out) < count:
            part = self.stream.recv(count - len(out))
            if not part:
                raise OSError("closed")
            out += part
        return out

    def serves(self, body):
        """Whether the call ends with trailers that say so."""
        self.number += 2
        out = b"" if self.begun else PREFACE + frame(SETTINGS, 0, 0)
        self.begun = True
        out += frame(HEADERS, END_HEADERS, self.number, call())
        out += frame(DATA, END_STREAM, self.number, b"\0" + len(body).to_bytes(4, "big") + body)
        try:
            self.stream.sendall(out)
            while True:
                head = self.read(9)
                content = self.read(int.from_bytes(head[:3], "big"))
                if head[3] == SETTINGS and not head[4] & ACK:
                    self.stream.sendall(frame(SETTINGS, ACK, 0))
                # A refusal has its trailers in the one header frame, without a message before them.
                if head[3] == DATA and int.from_bytes(head[5:], "big") == self.number:
                    self.answered = len(content) >= 5
                if head[3] == HEADERS and head[4] & END_STREAM:
                    return getattr(self, "answered", False)
        except OSError:
            return False


def connect(port, number):
    stream = socket.socket()
    stream.settimeout(20)
    peer = number // PER_PEER
    stream.bind((f"127.1.{peer // 200}.{1 + peer % 200}", 0))
    stream.connect(("127.0.0.1", port))
    return stream


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def closed_beyond(laghound):
    """Connections refused for being too many so far."""
    return int((await laghound.metrics())("laghound_connections_refused_total"))


async def watch(laghound, seconds):
    """Resident MiB, share of a CPU, and the canary's latencies, over so many seconds."""
    cpu, began = cpu_seconds(laghound.process.pid), time.monotonic()
    tally, latencies = await overload.canary(laghound.ports["otlp_http"], seconds)
    share = (cpu_seconds(laghound.process.pid) - cpu) / (time.monotonic() - began)
    ordered = sorted(latency * 1000 for _, latency in latencies)
    if tally["ok"] != tally["sent"]:
        sys.exit(f"FAILED: of {tally['sent']} canaries {tally['ok']} were answered")
    return laghound.resident() / 1024, share, overload.quantile(ordered, 0.5), overload.quantile(ordered, 0.99)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=40)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.connections + 1000  # of each of the two processes
    third = options.connections // 3
    if most != resource.RLIM_INFINITY and most < wanted:
        sys.exit(f"FAILED: {wanted} open files are needed, {most} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if most != resource.RLIM_INFINITY else 4 * wanted, most))
    # Two more than are idle: for the canary and the scrapes. The memory that so many may take is a part of all.
    room = third + 2
    laghound = overload.Laghound(options.binary, 20 * 1024, f"--connections.max={room}", f"--connections.max_per_peer={min(room, 1000)}")
    port, draw, failures = laghound.ports["otlp_http"], random.Random(1), []
    print("| connections | resident | CPU | canary p50, p99 |\n|---|---|---|---|")
    row = lambda name, seen: print(f"| {name} | {seen[0]:.0f} MiB | {100 * seen[1]:.1f} % | {seen[2]:.1f}, {seen[3]:.1f} ms |", flush=True)
    before = await watch(laghound, options.seconds)
    row("1", before)
    body, began = overload.message(1, draw), time.monotonic()
    kinds = [("otlp_grpc", Grpc), ("otlp_http", Http), ("admin", Admin)]
    idle, answered, costs = [], 0, []
    for what, kind in kinds:
        resident = laghound.resident()
        for number in range(third):
            # Who says nothing for connections.handshake_timeout is closed, so each speaks at once.
            idle.append(kind(connect(laghound.ports[what], number)))
            answered += idle[-1].serves(body)
        costs.append((laghound.resident() - resident) / third)
    opening = time.monotonic() - began
    if answered != len(idle):
        failures.append(f"of {len(idle)} connections {answered} were answered")
    during = await watch(laghound, options.seconds)
    row(f"{len(idle)}, idle", during)

    refused = await closed_beyond(laghound)
    # The canary's connection has gone: two places are free, and then none.
    more = [Http(connect(port, third + number)) for number in range(BEYOND)]
    time.sleep(1)
    let_in = sum(one.serves(body) for one in more)
    refused = await closed_beyond(laghound) - refused
    if (let_in, refused) != (2, BEYOND - 2):
        failures.append(f"of {BEYOND} more {let_in} were let in, {refused} counted as refused")
    served = sum(one.serves(body) for one in random.Random(2).sample(idle, 60))
    if served != 60:
        failures.append(f"of 60 idle connections {served} are still served")
    for one in idle + more:
        one.stream.close()
    time.sleep(2)
    if not Http(connect(port, 0)).serves(body):
        failures.append("nobody is let in when all have gone")
    each = ", ".join(f"{what} {kib:.1f} KiB" for (what, _), kib in zip(kinds, costs))
    print(
        f"\nopened in {opening:.1f} s; each takes: {each}; of {BEYOND} more 2 found the places left and {refused} were closed "
        f"at once; {served} of 60 idle ones served again"
    )
    if max(costs) > COST:
        failures.append(f"a connection takes more than {COST} KiB")
    overload.stop(laghound, failures)
    overload.end(failures)


if __name__ == "__main__":
    asyncio.run(main())
