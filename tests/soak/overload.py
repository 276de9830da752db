"""Overload over loopback: 1x, 2x and 10x of what it can take, then 2x with hostile clients beside.

    tests/soak/overload.py target/fast/laghound [--seconds 60] [--memory 256] [--plot overload.svg]

What it can take is measured first, with a few connections that wait for each answer. Then senders offer a multiple
of it on a schedule that does not wait: a request that finds no free connection is not sent and not counted. A
canary in a process of its own sends one span every 50 ms throughout. The sender tallies every reply; at the end
laghound's counters must be the same: accepted spans are those that were answered with 200, to the last one. The
resident memory must stay below memory_limit, and accepted = analyzed + dropped + pending must hold at every scrape.
Prints a Markdown table, in it how fast resident memory grew in the second half of each phase with its 95 %
interval; --plot draws goodput, resident memory and the canary over time. Exits with 1 at whatever is not so.
Standard library only.
"""

import argparse
import asyncio
import gzip
import json
import multiprocessing
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import time

SPANS = 100  # of one request


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(tag, content):
    return varint(tag << 3 | 2) + varint(len(content)) + content


def span(trace, own, parent, name, kind, start, end):
    out = field(1, trace) + field(2, own) + (field(4, parent) if parent else b"")
    out += field(5, name) + varint(6 << 3) + varint(kind)
    return out + varint(7 << 3 | 1) + start.to_bytes(8, "little") + varint(8 << 3 | 1) + end.to_bytes(8, "little")


def message(count, draw):
    """A request of `count` spans: traces of two, of one service."""
    spans, now = b"", time.time_ns()
    for _ in range(count // 2 or 1):
        trace, root, child = draw.randbytes(16), draw.randbytes(8), draw.randbytes(8)
        spans += field(2, span(trace, root, b"", b"GET /%d" % draw.randrange(50), 2, now - 20_000_000, now))
        if count > 1:
            spans += field(2, span(trace, child, root, b"work", 1, now - 15_000_000, now - 5_000_000))
    name = field(1, b"service.name") + field(2, field(1, b"shop"))
    return field(1, field(1, field(1, name)) + field(2, spans))


class Messages:
    """Requests like each other but for their trace ids; made anew every second, so that they stay young."""

    def __init__(self, draw):
        self.draw, self.made = draw, 0

    def next(self):
        if time.monotonic() - self.made > 1:
            self.made, self.body = time.monotonic(), bytearray(message(SPANS, self.draw))
            # The trace id is the first field of a span: 0x0a, 16, id.
            self.places = [match.start(1) for match in re.finditer(rb"\x0a\x10(.{16})\x12\x08", self.body, re.S)]
            if len(self.places) != SPANS:
                return message(SPANS, self.draw)  # an id that looks like the begin of a span
        # Both spans of a trace have one id.
        ids = self.draw.randbytes(8 * SPANS)
        for number, place in enumerate(self.places):
            at = number // 2 * 16
            self.body[place : place + 16] = ids[at : at + 16]
        return bytes(self.body)


def head(body, extra=b""):
    return (
        b"POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-protobuf\r\n"
        + extra
        + b"content-length: %d\r\n\r\n" % len(body)
    )


class Connection:
    """Keep-alive HTTP/1.1, one request at a time."""

    def __init__(self, port, peer="127.0.0.1"):
        self.port, self.peer = port, peer
        self.streams = None

    async def send(self, body):
        """The status; None if there was no whole answer."""
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.peer, 0))
            reader, writer = self.streams
            writer.write(head(body) + body)
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            length = re.search(rb"content-length: *(\d+)", answer, re.I)
            await asyncio.wait_for(reader.readexactly(int(length[1]) if length else 0), 60)
            if re.search(rb"connection: *close", answer, re.I):
                self.close()
            return int(answer[9:12])
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            self.close()
            return None

    def close(self):
        if self.streams:
            self.streams[1].close()
        self.streams = None


async def send(port, peer, seconds, connections, rate, seed):
    """Sends on so many connections; `rate` requests a second, or as many as are answered if it is 0."""
    draw, tally = random.Random(seed), {"sent": 0, "ok": 0, "refused": 0, "unanswered": 0, "other": 0}
    free, until = [Connection(port, peer) for _ in range(connections)], time.monotonic() + seconds
    tasks, messages = set(), Messages(draw)

    async def one(connection):
        body = messages.next()
        tally["sent"] += SPANS
        status = await connection.send(body)
        result = {200: "ok", 503: "refused", None: "unanswered"}.get(status, "other")
        tally[result] += SPANS
        free.append(connection)

    due = time.monotonic()
    while (now := time.monotonic()) < until:
        while free and (not rate or due <= now):
            task = asyncio.create_task(one(free.pop()))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due += 1 / rate if rate else 0
        if rate and due < now:
            due = now  # no connection was free: what was not sent is not sent later
        await asyncio.sleep(0.001)
    await asyncio.gather(*tasks)
    return tally


def ask(stream, request):
    """The status of one request; None if the connection was closed instead."""
    try:
        stream.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = stream.recv(4096)
            if not part:
                return None
            answer += part
        begin, _, rest = answer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", begin, re.I)
        missing = (int(length[1]) if length else 0) - len(rest)
        while missing > 0:
            missing -= len(stream.recv(missing)) or missing
        return int(begin[9:12])
    except OSError:
        return None


def sing(port, seconds):
    """One span every 50 ms: how many were answered, and when and how long each took."""
    stream, latencies, tally, draw = None, [], {"sent": 0, "ok": 0}, random.Random()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        body = message(1, draw)
        began = time.monotonic()
        try:
            stream = stream or socket.create_connection(("127.0.0.1", port), 60)
            status = ask(stream, head(body) + body)
        except OSError:
            status = None
        tally["sent"] += 1
        tally["ok"] += status == 200
        if status is None:
            stream = stream and stream.close()
        latencies.append((began, time.monotonic() - began))
        time.sleep(max(0, 0.05 - latencies[-1][1]))
    return tally, latencies


async def canary(port, seconds):
    """Sings in a process of its own, so that it waits for laghound and for nothing that goes on here."""
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=work, args=(queue, sing, port, seconds))
    process.start()
    seen = await asyncio.to_thread(queue.get)
    process.join()
    return seen


def abort(stream):
    """Ends it by a reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


def hostile(port, peer, seconds, seed):
    """Everything at once that a stranger may do, none of which may be accepted."""
    draw, until, held = random.Random(seed), time.monotonic() + seconds, []
    bomb = gzip.compress(bytes(64 << 20), 9)
    while time.monotonic() < until:
        try:
            stream = socket.create_connection(("127.0.0.1", port), 5, (peer, 0))
            what = draw.randrange(6)
            if what == 0:  # says nothing
                held.append(stream)
            elif what == 1:  # half a body
                stream.sendall(head(bytes(1 << 20)) + bytes(1000))
                held.append(stream)
            elif what == 2:  # garbage
                stream.sendall(draw.randbytes(2000))
            elif what == 3:  # garbage in good form
                body = draw.randbytes(2000)
                stream.sendall(head(body) + body)
                stream.recv(1000)
            elif what == 4:  # 64 MiB in 64 KiB
                stream.sendall(head(bomb, b"content-encoding: gzip\r\n") + bomb)
                stream.recv(1000)
            else:  # two million empty spans
                body = field(1, field(2, field(2, b"") * 2_000_000))
                stream.sendall(head(body) + body)
                stream.recv(1000)
            if stream not in held:
                abort(stream)
        except OSError:
            pass
        if len(held) > 200:
            held.pop(0).close()
        time.sleep(0.005)


class Laghound:
    def __init__(self, binary, memory, *more):
        flags = [f"--{key}=127.0.0.1:0" for key in ("receiver.grpc.endpoint", "receiver.http.endpoint", "admin.endpoint")]
        command = [binary, "serve", *flags, "--log.format=json", f"--memory_limit={memory}MiB", *more]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.ports, self.peak = {}, 0
        while "admin" not in self.ports:
            event = json.loads(self.process.stderr.readline())
            if event.get("message") == "listening":
                self.ports[event["what"]] = int(event["addr"].rsplit(":", 1)[1])
        # Read on, so that it never waits for us.
        subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            kib = int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])
        self.peak = max(self.peak, kib)
        return kib

    async def metrics(self):
        """What gives the sum of the series of a name, by one scrape, in which the law holds."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["admin"])
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()

        def total(name):
            return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))

        rest = total("laghound_spans_analyzed_total") + total("laghound_spans_dropped_total")
        if total("laghound_receiver_accepted_spans_total") != rest + total("laghound_pending_spans"):
            sys.exit(f"FAILED: the law does not hold:\n{text}")
        return total

    async def scrape(self):
        """Spans accepted so far."""
        return int((await self.metrics())("laghound_receiver_accepted_spans_total"))


def work(queue, function, *args):
    queue.put(asyncio.run(function(*args)) if asyncio.iscoroutinefunction(function) else function(*args))


async def phase(laghound, seconds, connections, rate, strangers, senders=2):
    """What came of it: the senders' tally, the canary's, what was accepted a second, the highest resident memory."""
    queue, port, seed = multiprocessing.Queue(), laghound.ports["otlp_http"], time.time_ns()
    laghound.peak, before = 0, await laghound.scrape()
    # Each at an address of its own, so that nobody takes another's share of the connections but the hostile theirs.
    own = lambda n: f"127.0.0.{10 + n}"
    jobs = [(send, port, own(n), seconds, connections // senders, rate / senders, seed + n) for n in range(senders)] if connections else []
    jobs += [(hostile, port, own(100), seconds, seed + n) for n in range(strangers)]
    processes = [multiprocessing.Process(target=work, args=(queue, *job)) for job in jobs]
    [process.start() for process in processes]
    watching = asyncio.create_task(canary(port, seconds))
    scrapes, points = [], []
    while not watching.done():
        began = time.monotonic()
        taken = await laghound.scrape()
        scrapes.append(time.monotonic() - began)
        points.append((began, laghound.resident(), taken))
        await asyncio.sleep(0.5)
    own, latencies = await watching
    tallies = []
    for _ in jobs:
        tallies.append(await asyncio.to_thread(queue.get))
    [process.join() for process in processes]
    tally = {key: sum(t[key] for t in tallies if t) for key in ("sent", "ok", "refused", "unanswered", "other")}
    accepted = await laghound.scrape() - before
    residue = accepted - tally["ok"] - own["ok"]
    course = Course(points, latencies)
    return tally, own, sorted(latency for _, latency in latencies), accepted / seconds, residue, max(scrapes), course


class Course:
    """How a phase went: at each scrape the resident KiB and the spans accepted so far, and the canary's latencies."""

    def __init__(self, points, latencies):
        self.points, self.latencies = points, latencies

    def slope(self):
        """MiB a minute that resident memory grew by in the second half, and half of the 95 % interval's width."""
        points = self.points[len(self.points) // 2 :]
        xs, ys = [at / 60 for at, _, _ in points], [kib / 1024 for _, kib, _ in points]
        if len(xs) < 4:
            return 0.0, float("inf")
        mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
        spread = sum((x - mean_x) ** 2 for x in xs)
        slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / spread
        rests = [y - mean_y - slope * (x - mean_x) for x, y in zip(xs, ys)]
        # What is resident now is much what it was half a second ago: as many points count as are independent.
        variance = sum(rest * rest for rest in rests) or 1e-9
        alike = min(0.99, max(0.0, sum(a * b for a, b in zip(rests, rests[1:])) / variance))
        wider = (1 + alike) / (1 - alike)
        return slope, 1.96 * (variance / (len(xs) - 2) / spread * wider) ** 0.5

    def goodput(self):
        """Spans a second between scrapes."""
        steps = zip(self.points, self.points[1:])
        return [(to[0], (to[2] - since[2]) / (to[0] - since[0])) for since, to in steps]


def plot(path, courses):
    """Three panels over time, a band for each phase."""
    width, height, left, top = 960, 150, 70, 30
    begins = courses[0][1].points[0][0]
    ends = courses[-1][1].points[-1][0]
    panels = [
        ("accepted, spans/s", "#1b6ca8", lambda course: course.goodput()),
        ("resident memory, MiB", "#b5451b", lambda course: [(at, kib / 1024) for at, kib, _ in course.points]),
        ("canary, ms (the slowest of each second)", "#5b7f2b", slowest_by_second),
    ]
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top + 3 * (height + 30) + 10}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    x = lambda at: left + (at - begins) / (ends - begins) * (width - left - 20)
    for number, (name, course) in enumerate(courses):
        since, until = x(course.points[0][0]), x(course.points[-1][0])
        shade = ("#f4f4f4", "#ffffff")[number % 2]
        out.append(f'<rect x="{since:.1f}" y="{top}" width="{until - since:.1f}" height="{3 * (height + 30)}" fill="{shade}"/>')
        out.append(f'<text x="{since + 3:.1f}" y="{top - 8}">{name}</text>')
    for number, (name, colour, values) in enumerate(panels):
        base = top + number * (height + 30) + height + 18
        lines = [values(course) for _, course in courses]
        most = max(value for line in lines for _, value in line) or 1
        for share in (0, 0.5, 1):
            y = base - share * height
            out.append(f'<line x1="{left}" x2="{width - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
            out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{share * most:.0f}</text>')
        out.append(f'<text x="{left + 4}" y="{base - height + 12}" fill="{colour}">{name}</text>')
        for line in lines:
            points = " ".join(f"{x(at):.1f},{base - value / most * height:.1f}" for at, value in line)
            out.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
    with open(path, "w") as file:
        file.write("\n".join(out + ["</svg>", ""]))


def slowest_by_second(course):
    slowest = {}
    for at, latency in course.latencies:
        slowest[int(at)] = max(slowest.get(int(at), 0), latency * 1000)
    return sorted(slowest.items())


def stop(laghound, failures):
    laghound.process.send_signal(signal.SIGTERM)
    if laghound.process.wait(timeout=30) != 0:
        failures.append(f"exit code {laghound.process.returncode}")


def end(failures):
    """Says what was not as it should be, and exits with 1 if anything was."""
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    sys.exit(bool(failures))


def quantile(ordered, part):
    return ordered[int(part * (len(ordered) - 1))]


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--memory", type=int, default=512)
    parser.add_argument("--plot", help="file for an SVG of how it went")
    options = parser.parse_args()
    failures, share = [], lambda latencies, part: quantile(latencies, part) * 1000
    laghound = Laghound(options.binary, options.memory)
    _, _, idle, _, _, _, course = await phase(laghound, max(10, options.seconds // 4), 0, 0, 0)
    courses = [("idle", course)]
    *_, capacity, _, _, _ = await phase(laghound, max(10, options.seconds // 4), 8, 0, 0)
    print(f"capacity with these senders: {capacity:.0f} spans/s; memory_limit {options.memory} MiB; {options.seconds} s each\n")
    print("| load | sent | accepted | refused | unanswered | residue | accepted/s | peak RSS | RSS grew, MiB/min | canary p50, p99 | slowest scrape |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    print(f"| none | | | | | | | | | {share(idle, 0.5):.1f}, {share(idle, 0.99):.1f} ms | |")
    phases = [("1x", 1, 64, 0), ("2x", 2, 128, 0), ("10x", 10, 240, 0), ("2x, hostile", 2, 128, 2), ("10x, 256 KiB in flight", 10, 240, 0)]
    for name, factor, connections, strangers in phases:
        if "in flight" in name:
            stop(laghound, failures)
            tight = ["--receiver.max_in_flight=256KiB", "--receiver.max_request_size=64KiB"]
            laghound = Laghound(options.binary, options.memory, *tight)
        rate = factor * capacity / SPANS
        tally, own, latencies, accepted, residue, scrape, course = await phase(laghound, options.seconds, connections, rate, strangers)
        courses.append((name, course))
        slope, either_way = course.slope()
        print(
            f"| {name} | {tally['sent']} | {tally['ok']} | {tally['refused']} | {tally['unanswered']} | {residue} | {accepted:.0f} "
            f"| {laghound.peak / 1024:.0f} MiB | {slope:+.1f} ± {either_way:.1f} | {share(latencies, 0.5):.1f}, {share(latencies, 0.99):.1f} ms | {scrape:.2f} s |",
            flush=True,
        )
        # What was not answered may have been accepted, or not.
        if not 0 <= residue <= tally["unanswered"] + own["sent"] - own["ok"]:
            failures.append(f"{name}: {residue} spans accepted that nobody sent, or the other way round")
        if tally["other"]:
            failures.append(f"{name}: {tally['other']} spans answered neither with 200 nor with 503")
        if laghound.peak > options.memory * 1024:
            failures.append(f"{name}: {laghound.peak / 1024:.0f} MiB resident")
    stop(laghound, failures)
    if options.plot:
        plot(options.plot, courses)
    end(failures)


if __name__ == "__main__":
    asyncio.run(main())
