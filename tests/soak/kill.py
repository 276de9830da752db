"""SIGKILL at random, again and again: the snapshot is the old one or the new one, and the next process has it.

    tests/soak/kill.py target/fast/laghound [--kills 1000] [--seed 1]

The first life learns for half a minute and ends in order, so that there is something to lose. Each of the others
is a real process with real files: it is sent spans over OTLP/HTTP, saves ten times a second, and is killed: every
other one after a time drawn at random, the others as soon as a draft of the next snapshot is seen, or up to 2 ms
later, so that they hit the saving itself. Then the file is read with nothing of laghound's: magic, lengths, both
checksums. It must be sound, no older than the one before, and hold what was learned; the next life must say that it
restored it. Prints one line of figures; exits with 1 at the first thing that is not so. Standard library only.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib

SNAPSHOT = "laghound.snapshot"
HEADER = struct.Struct("<8sIQQQI")


def fail(what):
    print(f"FAILED: {what}", file=sys.stderr)
    sys.exit(1)


def read_snapshot(directory):
    """When the snapshot was taken and the bytes of its content, or None if there is none; fails if it is not sound."""
    try:
        with open(os.path.join(directory, SNAPSHOT), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    if len(data) < HEADER.size + 4:
        fail(f"a snapshot of {len(data)} bytes")
    magic, version, body, content, saved_at, check = HEADER.unpack_from(data)
    if magic != b"laghound" or version != 1:
        fail(f"a snapshot that begins with {data[:12]!r}")
    if check != zlib.crc32(data[:36]):
        fail("the header's checksum does not match")
    if len(data) != HEADER.size + body + 4:
        fail(f"a snapshot of {len(data)} bytes, of which {body} should be content")
    if struct.unpack_from("<I", data, len(data) - 4)[0] != zlib.crc32(data[HEADER.size : -4]):
        fail("the content's checksum does not match")
    return saved_at, content


def spans(count, seed):
    """An OTLP/JSON request of some traces of two spans."""
    draw = random.Random(seed)
    now = time.time_ns()
    found = []
    for _ in range(count):
        trace = f"{draw.getrandbits(128) | 1:032x}"
        root, child = (f"{draw.getrandbits(64) | 1:016x}" for _ in range(2))
        end = now - draw.randrange(1_000_000_000)
        times = {"startTimeUnixNano": str(end - 50_000_000), "endTimeUnixNano": str(end)}
        inner = {"startTimeUnixNano": str(end - 40_000_000), "endTimeUnixNano": str(end - 10_000_000)}
        name = f"GET /{draw.randrange(40)}"
        found.append({"traceId": trace, "spanId": root, "name": name, "kind": 2, **times})
        found.append({"traceId": trace, "spanId": child, "parentSpanId": root, "name": "work", "kind": 1, **inner})
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": found}]}]}).encode()


class Life:
    """One process, from its start until it is ready."""

    def __init__(self, binary, directory):
        flags = ["--receiver.grpc.endpoint", "127.0.0.1:0", "--receiver.http.endpoint", "127.0.0.1:0"]
        flags += ["--admin.endpoint", "127.0.0.1:0", "--log.format", "json", "--engine.threads", "1"]
        flags += ["--state.directory", directory, "--state.interval", "100ms"]
        # Short waits, so that a life of a second learns something.
        flags += ["--assembly.grace", "50ms"]
        command = [binary, "serve", *flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.addresses = {}
        self.log = []
        while "admin" not in self.addresses:
            line = self.process.stderr.readline()
            if not line:
                fail("it ended before it listened:\n" + "".join(self.log))
            self.log.append(line)
            event = json.loads(line)
            if event.get("message") == "listening":
                self.addresses[event["what"]] = event["addr"]

    def send(self, body):
        url = f"http://{self.addresses['otlp_http']}/v1/traces"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def metrics(self):
        with urllib.request.urlopen(f"http://{self.addresses['admin']}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stderr.close()


def wait_for_draft(directory):
    draft, until = os.path.join(directory, SNAPSHOT + ".draft"), time.monotonic() + 3
    # One left behind by the last life is removed when the next save begins.
    while os.path.exists(draft) and time.monotonic() < until:
        pass
    while not os.path.exists(draft) and time.monotonic() < until:
        pass


def restored(metrics):
    """The result label of the one restore there was."""
    found = re.findall(r'^laghound_snapshot_restores_total\{result="(\w+)"\} 1$', metrics, re.M)
    return found[0] if len(found) == 1 else f"{found}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--learn", type=int, default=30, help="seconds of traffic before the first kill")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    directory = tempfile.mkdtemp(prefix="laghound-kill-")
    began, newer, drafts, before = time.monotonic(), 0, 0, None
    life, until = Life(options.binary, directory), time.monotonic() + options.learn
    while time.monotonic() < until:
        life.send(spans(100, draw.random()))
        time.sleep(0.2)
    life.process.send_signal(signal.SIGTERM)
    if life.process.wait(timeout=30) != 0:
        fail("it does not end in order")
    life.process.stderr.close()
    before = read_snapshot(directory)
    learned = before[1]
    for number in range(options.kills):
        life = Life(options.binary, directory)
        result = restored(life.metrics())
        if result != "restored":
            fail(f"life {number} says {result}:\n" + "".join(life.log))
        if number == 0:
            second = subprocess.run(
                [options.binary, "serve", "--state.directory", directory, "--receiver.grpc.endpoint", "127.0.0.1:0"]
                + ["--receiver.http.endpoint", "127.0.0.1:0", "--admin.endpoint", "127.0.0.1:0"],
                capture_output=True, text=True, timeout=20,
            )
            if second.returncode != 1 or "another process" not in second.stderr:
                fail(f"a second process on the directory: exit {second.returncode}, {second.stderr}")
        life.send(spans(20, draw.random()))
        if number % 2 == 0:
            time.sleep(draw.uniform(0, 1.5))
        else:
            wait_for_draft(directory)
            time.sleep(draw.choice([0, draw.uniform(0, 0.002)]))
        life.kill()
        drafts += os.path.exists(os.path.join(directory, SNAPSHOT + ".draft"))
        found = read_snapshot(directory)
        if found is None or found[0] < before[0]:
            fail(f"the snapshot went from {before} to {found}")
        # What was recent is not after a restart: slices become eras, and take a half or a third.
        if found[1] < learned / 4:
            fail(f"of {learned} bytes learned {found[1]} are left")
        newer += found != before
        before = found
        strange = [name for name in os.listdir(directory) if name.startswith(SNAPSHOT + ".") and not name.endswith(".draft")]
        if strange:
            fail(f"set aside: {strange}")
    seconds = time.monotonic() - began
    print(
        f"{options.kills} kills in {seconds:.0f} s, {learned} bytes learned: the snapshot was sound after each, a new one after {newer}, "
        f"the old one after {options.kills - newer}; {drafts} kills left a draft behind; restored by every next life"
    )
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
