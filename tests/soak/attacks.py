"""One attack after the other, each beside a canary: what became of it, what memory it took, whom it held up.

    tests/soak/attacks.py target/fast/laghound [--seconds 10] [--memory 512] [--only NAME]

Messages that decode into a thousand times their bytes, one and 64 at once; halves of bodies on all streams of a
connection; header blocks without end, headers that unfold by reference; resets, pings, settings and empty frames
without end; connections that are reset; garbage. The canary, a process of its own, must be
answered every time, and its p99 beside each attack stay within five times of that without, or 10 ms where that is
more (what two processes that share two cores make each other wait; looked at from five seconds on); the law must
hold, resident memory stay below memory_limit, each attack end as the table in this file says. Who is told 503 while
it still sends may see the connection closed instead. Prints a Markdown table; exits with 1 at
whatever is not so. Standard library only.
"""

import argparse
import asyncio
import gzip
import multiprocessing
import random
import re
import socket
import sys
import time
from collections import Counter

sys.dont_write_bytecode = True
import overload  # noqa: E402
from http2 import (  # noqa: E402
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    RESET,
    SETTINGS,
    WINDOW_UPDATE,
    call,
    frame,
)
from overload import abort, field, head, quantile  # noqa: E402


def connect(port):
    stream = socket.create_connection(("127.0.0.1", port), 5)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def until_closed(port, begin, piece, most):
    """Sends `piece(number)` over and over, reading nothing; what happened."""
    stream = connect(port)
    sent = 0
    try:
        stream.sendall(PREFACE + frame(SETTINGS, 0, 0) + begin)
        while sent < most:
            stream.sendall(b"".join(piece(number) for number in range(sent, sent + 100)))
            sent += 100
    except TimeoutError:
        return "not read any more"
    except OSError:
        return "closed"
    finally:
        abort(stream)
    return "taken"


def posted(port, body, extra=b""):
    stream = connect(port)
    stream.settimeout(20)
    try:
        status = overload.ask(stream, head(body, extra) + body)
        return str(status) if status else "closed"
    finally:
        abort(stream)


# Messages of two bytes on the wire, each of which a generated decoder builds something from.
MANY = 2_097_000
AMPLIFIED = {
    "spans": field(1, field(2, b"\x12\0" * MANY)),
    "events": field(1, field(2, field(2, b"\x5a\0" * MANY))),
    "links": field(1, field(2, field(2, b"\x6a\0" * MANY))),
    "attributes": field(1, field(2, field(2, b"\x4a\0" * MANY))),
    "scopes": field(1, b"\x12\0" * MANY),
    "resources": b"\x0a\0" * MANY,
}


def amplified(ports, draw, what):
    return posted(ports["otlp_http"], WIRE[what], b"content-encoding: gzip\r\n")


WIRE = {what: gzip.compress(body, 9) for what, body in AMPLIFIED.items()}
BOMB = gzip.compress(bytes(256 << 20), 9)


class Halves:
    """A hundred calls that begin messages of 4 MiB, of each of which as much is sent as is let in, but not the end."""

    CALLS, PIECE = 100, 8_192

    def __init__(self, stream):
        self.stream, self.rest, self.window = stream, b"", 65_535
        # What each call may still send, and what it has sent.
        self.calls = {number: [65_535, 0] for number in range(1, 2 * self.CALLS, 2)}

    def begin(self):
        out = PREFACE + frame(SETTINGS, 0, 0)
        for number in self.calls:
            out += frame(HEADERS, END_HEADERS, number, call())
        self.stream.sendall(out)

    def read(self):
        """Takes note of the windows, and of the calls that have been answered."""
        self.rest += self.stream.recv(1 << 20) or b""
        while len(self.rest) >= 9 and len(self.rest) >= 9 + (length := int.from_bytes(self.rest[:3], "big")):
            kind, number, content = self.rest[3], int.from_bytes(self.rest[5:9], "big"), self.rest[9 : 9 + length]
            self.rest = self.rest[9 + length :]
            if kind == WINDOW_UPDATE and number == 0:
                self.window += int.from_bytes(content, "big")
            elif kind == WINDOW_UPDATE and number in self.calls:
                self.calls[number][0] += int.from_bytes(content, "big")
            elif kind in (HEADERS, RESET):
                self.calls.pop(number, None)

    def send(self):
        """A piece of each call that may send one."""
        for number, call_of in self.calls.items():
            begin = b"\0" + (4 << 20).to_bytes(4, "big") if call_of[1] == 0 else b""
            piece = begin + bytes(self.PIECE - len(begin))
            if min(self.window, call_of[0]) >= self.PIECE and call_of[1] + self.PIECE < 4 << 20:
                self.stream.sendall(frame(DATA, 0, number, piece))
                self.window -= self.PIECE
                call_of[0] -= self.PIECE
                call_of[1] += self.PIECE


def halves(ports, draw):
    stream = connect(ports["otlp_grpc"])
    calls = Halves(stream)
    until = time.monotonic() + 3
    try:
        calls.begin()
        stream.settimeout(0.05)
        while time.monotonic() < until and calls.calls:
            try:
                calls.read()
            except TimeoutError:
                pass
            calls.send()
        return "all refused" if not calls.calls else "some refused" if len(calls.calls) < calls.CALLS else "all wait"
    except OSError:
        return "closed"
    finally:
        abort(stream)


def unfolded(ports, draw):
    """A header of 4,000 bytes kept in the peer's table, and then named by one byte, ten thousand times a call."""
    name = b"x" * 100
    value = b"y" * 3_800
    length = len(value) - 127
    kept = b"\x40" + bytes([len(name)]) + name + b"\x7f" + bytes([length & 0x7F | 0x80, length >> 7]) + value
    # What was kept last is number 62 of the table.
    bomb = b"\xbe" * 10_000
    stream = connect(ports["otlp_grpc"])
    try:
        out = PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, call(kept))
        stream.sendall(out)
        for number in range(3, 63, 2):
            stream.sendall(frame(HEADERS, END_HEADERS | END_STREAM, number, call(bomb)))
        stream.settimeout(2)
        seen = b""
        while part := stream.recv(65536):
            seen += part
            # Status 431, by its length in full or by Huffman's code.
            if b"431" in seen or b"\x82h\x63" in seen:
                return "431"
        return "closed"
    except TimeoutError:
        return "431" if seen else "waits"
    except OSError:
        return "closed"
    finally:
        abort(stream)


def endless_header(ports, draw):
    begin = frame(HEADERS, 0, 1, call())
    return until_closed(ports["otlp_grpc"], begin, lambda _: frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 100), 100_000)


def empty_continuations(ports, draw):
    begin = frame(HEADERS, 0, 1, call())
    return until_closed(ports["otlp_grpc"], begin, lambda _: frame(CONTINUATION, 0, 1), 1_000_000)


def rapid_reset(ports, draw):
    piece = lambda number: frame(HEADERS, END_HEADERS, 2 * number + 1, call()) + frame(RESET, 0, 2 * number + 1, b"\0\0\0\x08")
    return until_closed(ports["otlp_grpc"], b"", piece, 1_000_000)


def pings(ports, draw):
    return until_closed(ports["otlp_grpc"], b"", lambda _: frame(PING, 0, 0, bytes(8)), 1_000_000)


def settings(ports, draw):
    return until_closed(ports["otlp_grpc"], b"", lambda _: frame(SETTINGS, 0, 0), 1_000_000)


def empty_data(ports, draw):
    begin = frame(HEADERS, END_HEADERS, 1, call())
    return until_closed(ports["otlp_grpc"], begin, lambda _: frame(DATA, 0, 1), 1_000_000)


def resets(ports, draw):
    abort(connect(ports["otlp_grpc"]))
    return "reset"


def garbage(ports, draw):
    return posted(ports["otlp_http"], draw.randbytes(2000))


def bomb(ports, draw):
    return posted(ports["otlp_http"], BOMB, b"content-encoding: gzip\r\n")


def largest(ports, draw):
    """Fifteen megabytes of sound spans, all of them too old: decoded to the last, and none of them kept."""
    return posted(ports["otlp_http"], LARGE)


def old_spans():
    draw = random.Random(1)
    one = overload.span(draw.randbytes(16), draw.randbytes(8), b"", b"x" * 110, 2, 1, 2)
    return field(1, field(2, field(2, one) * 90_000))


LARGE = old_spans()

# What is done, by how many at once, and how each time may end. 503 is what is said where there is no room.
ATTACKS = [
    *((f"{MANY:,} empty {what} in {len(WIRE[what]):,} bytes", amplified, (what,), at_once, {"413", "400", "503"}) for what in AMPLIFIED for at_once in (1, 64)),
    (f"{len(BOMB):,} bytes that inflate to 256 MiB", bomb, (), 4, {"413", "503"}),
    (f"{len(LARGE):,} bytes of spans of 1970", largest, (), 4, {"200", "503", "closed"}),
    ("garbage in good form", garbage, (), 2, {"400"}),
    ("connections that are reset", resets, (), 2, {"reset"}),
    ("half of 4 MiB on each of 100 streams", halves, (), 4, {"closed", "all refused", "some refused"}),
    ("a header block without end", endless_header, (), 2, {"closed", "not read any more"}),
    ("empty CONTINUATION frames without end", empty_continuations, (), 2, {"closed", "not read any more"}),
    ("headers of 38 MB by reference", unfolded, (), 2, {"closed", "431"}),
    ("calls that are reset at once", rapid_reset, (), 2, {"closed", "not read any more"}),
    ("PING without end", pings, (), 2, {"closed", "not read any more", "taken"}),
    ("SETTINGS without end", settings, (), 2, {"closed", "not read any more", "taken"}),
    ("empty DATA without end", empty_data, (), 2, {"closed", "not read any more", "taken"}),
]


def attack(ports, seconds, seed, function, args):
    """How it ended, each time."""
    draw, ended, until = random.Random(seed), Counter(), time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            ended[function(ports, draw, *args)] += 1
        except OSError as error:
            ended[type(error).__name__] += 1
    return ended


def peak_kib(laghound, begin=False):
    """Most that was resident since the last call that said `begin`."""
    if begin:
        with open(f"/proc/{laghound.process.pid}/clear_refs", "w") as file:
            file.write("5")
    with open(f"/proc/{laghound.process.pid}/status") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read())[1])


async def beside(laghound, seconds, at_once, function, args):
    """The canary's tally and sorted ms, what became of the attacks, and KiB resident at most."""
    queue = multiprocessing.Queue()
    peak_kib(laghound, begin=True)
    jobs = [(laghound.ports, seconds, number, function, args) for number in range(at_once)]
    processes = [multiprocessing.Process(target=overload.work, args=(queue, attack, *job)) for job in jobs]
    [process.start() for process in processes]
    tally, latencies = await overload.canary(laghound.ports["otlp_http"], seconds)
    ended = Counter()
    for _ in processes:
        ended.update(await asyncio.to_thread(queue.get))
    [process.join() for process in processes]
    return tally, sorted(latency * 1000 for _, latency in latencies), ended, peak_kib(laghound)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--memory", type=int, default=512)
    parser.add_argument("--only", default="", help="those with this in their name")
    options = parser.parse_args()
    laghound, failures = overload.Laghound(options.binary, options.memory), []
    _, alone, _, calm = await beside(laghound, options.seconds, 0, None, ())
    print("| attack | at once | how each ended | MiB resident at most | canary p50, p99, longest |\n|---|---|---|---|---|")
    row = lambda name, at_once, ended, kib, ms: print(
        f"| {name} | {at_once} | {ended} | {kib / 1024:.0f} | {quantile(ms, 0.5):.1f}, {quantile(ms, 0.99):.1f}, {ms[-1]:.1f} ms |", flush=True
    )
    row("none", "", "", calm, alone)
    for name, function, args, at_once, allowed in ATTACKS:
        if options.only not in name:
            continue
        tally, ms, ended, kib = await beside(laghound, options.seconds, at_once, function, args)
        row(name, at_once, ", ".join(f"{how} {count:,}" for how, count in ended.most_common()), kib, ms)
        await laghound.scrape()  # in which the law holds
        if set(ended) - allowed:
            failures.append(f"{name}: ended by {sorted(set(ended) - allowed)}")
        if tally["ok"] != tally["sent"]:
            failures.append(f"{name}: of {tally['sent']} canaries {tally['ok']} were answered")
        # Of fewer than a hundred spans the slowest is by chance.
        if options.seconds >= 5 and quantile(ms, 0.99) > max(10, 5 * quantile(alone, 0.99)):
            failures.append(f"{name}: the canary's p99 is {quantile(ms, 0.99):.1f} ms, {quantile(alone, 0.99):.1f} ms without")
        if kib > options.memory * 1024:
            failures.append(f"{name}: {kib / 1024:.0f} MiB resident")
    overload.stop(laghound, failures)
    overload.end(failures)


if __name__ == "__main__":
    asyncio.run(main())
