"""OTLP through Kafka: nothing is lost, whoever dies.

    sender --OTLP--> Collector (deploy/collector/kafka.yaml) --by trace id--> Kafka --one group--> two laghounds

Each message is a trace of three spans, so every count can be worked out from Kafka's own offsets. One of the two is killed in the
middle, right after it has committed; later the broker goes and comes again. It does NOT look at verdicts.
"""

import threading
import time

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

import exposition
from kafka.broker import Broker
from parts import Backend, Collector
from peers import GRACE_SECONDS, Laghound
from spans import batch, trace
from story import Story

TOPIC, GROUP, PARTITIONS = "otlp_spans", "laghound", 6
SPANS_PER_TRACE, TRACES_PER_REQUEST, REQUEST_EVERY_S = 3, 20, 0.05
# The least that Kafka allows: how long the killed one's partitions wait.
SESSION_S = 6
JOIN_LIMIT_S = 45
COMMIT_LIMIT_S = 60
ARRIVE_LIMIT_S = 90
# Long enough for the other to get the killed one's partitions while spans still come.
AFTER_KILL_S = 15
# While the broker is away; what a loop without pauses would take is a core.
AWAY_S, AWAY_CPU_SHARE = 5, 0.5
PEER_STOP_S = 45


class Sender:
    """One request after the other until it is stopped; counts traces that the Collector took."""

    def __init__(self, address):
        self.stub = trace_service_pb2_grpc.TraceServiceStub(grpc.insecure_channel(address))
        self.traces = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        """From now on."""
        self._thread.start()

    def _run(self):
        while not self._over.wait(REQUEST_EVERY_S):
            self.send()

    def send(self):
        """One request."""
        self.stub.Export(batch(trace(children=SPANS_PER_TRACE - 1) for _ in range(TRACES_PER_REQUEST)), timeout=PEER_STOP_S)
        self.traces += TRACES_PER_REQUEST

    def stop(self):
        """No more."""
        self._over.set()
        self._thread.join()


class Consumer:
    """A laghound that reads from Kafka."""

    def __init__(self, binary, folder, name, broker):
        env = {
            "LAGHOUND_RECEIVER_KAFKA_BROKERS": broker.address,
            "LAGHOUND_RECEIVER_KAFKA_INITIAL_OFFSET": "earliest",
            "LAGHOUND_RECEIVER_KAFKA_SESSION_TIMEOUT": f"{SESSION_S}s",
        }
        self.laghound = Laghound(binary, folder, name, env)

    def look(self):
        """Its numbers at one moment."""
        return Numbers(exposition.read(self.laghound.metrics()))


class Numbers:
    """What one scrape said."""

    def __init__(self, page):
        self.page = page
        rows = page.series("laghound_kafka_committed_offset")
        self.committed = {int(row["partition"]): int(value) for row, value in rows}
        rows = page.series("laghound_kafka_uncommitted_messages")
        self.uncommitted = {int(row["partition"]): int(value) for row, value in rows}
        rows = page.series("laghound_kafka_lag_messages")
        self.lag = {int(row["partition"]): int(value) for row, value in rows}
        self.accepted = int(page.sum("laghound_receiver_accepted_spans_total"))
        self.analyzed = int(page.sum("laghound_spans_analyzed_total"))
        self.dropped = int(page.sum("laghound_spans_dropped_total"))

    def is_done(self):
        """Everything there was to read is read, analyzed and committed."""
        has_all = len(self.lag) == PARTITIONS
        return has_all and not any(self.lag.values()) and not any(self.uncommitted.values())


class Kafka(Story):
    """The story, death by death."""

    def tell(self):
        self.broker, self.backend = Broker(self.folder), Backend()
        self.one = Consumer(self.binary, self.folder, "one", self.broker)
        # It was there before the topic.
        self.broker.create(TOPIC, PARTITIONS)
        self.two = Consumer(self.binary, self.folder, "two", self.broker)
        env = {"BACKEND_ENDPOINT": self.backend.address, "KAFKA_BROKER": self.broker.address}
        self.collector = Collector("collector", "kafka.yaml", self.folder, env)
        shares = lambda: [len(one.look().uncommitted) for one in (self.one, self.two)]
        half = lambda: shares() == [PARTITIONS // 2] * 2
        joined, took = self.wait(half, JOIN_LIMIT_S)
        self.check("two of a group share the partitions", joined, f"{shares()} after {took:.1f} s")
        self.sender = Sender(self.collector.grpc)
        self.sender.start()
        self.kill_one()
        self.other_goes_on()
        self.nonsense()
        self.broker_comes_again()
        self.ends()

    def kill_one(self):
        """Right after a commit, so that what it did not commit is as little as it can be."""
        commits = lambda: sum(self.one.look().committed.values())
        first, _ = self.wait(commits, COMMIT_LIMIT_S, 0.1)
        self.wait(lambda: commits() > (first or 0), COMMIT_LIMIT_S, 0.02)
        self.last = self.one.look()
        self.one.laghound.process.kill()
        committed = {n: of for n, (of, _) in self.broker.offsets(GROUP).items()}
        self.left = sum(committed[number] for number in self.last.uncommitted)
        self.theirs = len(self.last.uncommitted)
        settled = self.last.analyzed + self.last.dropped
        figure = f"{self.left} messages committed, {settled} spans analyzed or dropped, {self.last.accepted} read"
        done = 0 < self.left * SPANS_PER_TRACE <= settled
        self.check("what the killed one had committed was analyzed", done and self.theirs, figure)
        waiting = sum(self.last.uncommitted.values())
        self.check("it died in the middle: it had read more than it had committed", waiting, f"{waiting} messages")

    def other_goes_on(self):
        """It reads again what the killed one had not committed, and everything that came since."""
        time.sleep(AFTER_KILL_S)
        self.sender.stop()
        done, took = self.wait(lambda: self.two.look().is_done(), ARRIVE_LIMIT_S)
        self.check("the other gets all partitions and commits everything", done, f"{took:.1f} s after the last span")
        offsets = self.broker.offsets(GROUP)
        messages = sum(end for _, end in offsets.values())
        figure = f"{messages} messages of {self.sender.traces} traces"
        self.check("each message is a trace", messages == self.sender.traces, figure)
        behind = sum(end - of for of, end in offsets.values())
        self.check("Kafka's own tool says the same: nothing is left", behind == 0, f"{behind} of {messages} left")
        numbers = self.two.look()
        wanted = SPANS_PER_TRACE * (messages - self.left)
        figure = f"{numbers.accepted} of {wanted} spans; {SPANS_PER_TRACE * self.left} were the killed one's"
        self.check("no span is lost: the other has read all that was not committed, once", numbers.accepted == wanted, figure)
        twice = self.last.accepted + numbers.accepted - SPANS_PER_TRACE * messages
        self.check("spans read by both are those that were not committed", twice > 0, f"{twice} at the killed one's last scrape")
        figure = f"{numbers.analyzed} analyzed, {numbers.dropped} dropped"
        self.check("and has analyzed all of it", numbers.analyzed == wanted and not numbers.dropped, figure)

    def goes_on(self, what):
        """Another request gets through."""
        before = self.two.look().accepted
        self.sender.send()
        wanted = before + SPANS_PER_TRACE * TRACES_PER_REQUEST
        arrived, took = self.wait(lambda: self.two.look().accepted == wanted, ARRIVE_LIMIT_S)
        self.check(f"{what}: it reads on", arrived, f"{took:.1f} s")

    def nonsense(self):
        """A message that holds no request is counted, and is in nobody's way."""
        self.broker.write(TOPIC, "good morning")
        labels = {"transport": "kafka", "reason": "bad_data"}
        rows = lambda: self.two.look().page.series("laghound_receiver_failed_requests_total")
        failed = lambda: sum(value for row, value in rows() if labels.items() <= row.items())
        counted, took = self.wait(lambda: failed() == 1, ARRIVE_LIMIT_S)
        self.check("a message that is no request is counted", counted, f"{took:.1f} s")
        self.goes_on("after such a message")

    def broker_comes_again(self):
        """While it is away it is tried again, with pauses; then all is well."""
        self.broker.process.stop(PEER_STOP_S)
        cpu = lambda: self.two.look().page.sum("process_cpu_seconds_total")
        connected = lambda: self.two.look().page.sum("laghound_kafka_connected")
        gone, took = self.wait(lambda: not connected(), ARRIVE_LIMIT_S)
        self.check("a broker that is gone is noticed", gone, f"{took:.1f} s")
        before = cpu()
        time.sleep(AWAY_S)
        spent = cpu() - before
        self.check("nobody spins meanwhile", spent < AWAY_CPU_SHARE * AWAY_S, f"{spent:.2f} s of CPU in {AWAY_S} s")
        self.broker.start()
        back, took = self.wait(connected, ARRIVE_LIMIT_S)
        self.check("it is found again", back, f"{took:.1f} s")
        self.goes_on("after the broker came again")

    def ends(self):
        """In order: what was read is analyzed, committed, and the group is left."""
        code, took = self.two.laghound.process.stop(GRACE_SECONDS)
        behind = sum(end - of for of, end in self.broker.offsets(GROUP).values())
        figure = f"exit {code} after {took:.1f} s, {behind} messages not committed"
        self.check("it ends in order, with everything committed", code == 0 and behind == 0, figure)
        count, duplicates = self.backend.count()
        wanted = SPANS_PER_TRACE * self.sender.traces
        self.check("the backend got every span, once", (count, duplicates) == (wanted, 0), f"{count} of {wanted}")
        code, _ = self.collector.process.stop(PEER_STOP_S)
        self.check("the Collector ends in order", code == 0, f"exit {code}")
        self.broker.process.stop(PEER_STOP_S)
        self.backend.stop()
