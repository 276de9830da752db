"""What becomes of the way to your trace backend when laghound is in trouble: nothing.

    sender --OTLP--> Collector (deploy/collector/sidecar.yaml) --backend--> a backend that counts
                                                               \\--copy--> laghound: well, hanging, dead, refusing, well again

In each state the sender sends more than the copy's queue holds, one request after the other, and every span must reach the
backend exactly once while that state lasts. It does NOT look at verdicts.
"""

import os
import signal
import time

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

import exposition
from parts import Backend, Collector
from peers import GRACE_SECONDS, Laghound
from spans import batch, trace
from story import Story

# Twice the spans that the queue towards laghound holds (`queue_size`).
REQUESTS, SPANS_PER_REQUEST = 400, 100
# `timeout` of the exporter to laghound: a call of the sender that waited for laghound would take at least this long.
EXPORTER_TIMEOUT_S = 5
ARRIVE_LIMIT_S = 60
# The Collector tries a dead peer again at growing intervals.
BACK_LIMIT_S = 120
PEER_STOP_S = 45


class Outage(Story):
    """The story, state by state."""

    def tell(self):
        self.backend = Backend()
        self.laghound = Laghound(self.binary, self.folder)
        self.address = self.laghound.addresses["grpc"]
        env = {"BACKEND_ENDPOINT": self.backend.address, "TRACE_COPY_ENDPOINT": self.address}
        self.collector = Collector("collector", "sidecar.yaml", self.folder, env)
        self.sender = trace_service_pb2_grpc.TraceServiceStub(grpc.insecure_channel(self.collector.grpc))
        self.sent = 0
        self.well()
        self.hanging()
        self.dead()
        self.refusing()
        self.well_again()
        code, _ = self.collector.process.stop(PEER_STOP_S)
        self.check("the Collector ends in order", code == 0, f"exit {code}")
        self.laghound.process.stop(GRACE_SECONDS)
        self.backend.stop()

    def send(self, state, requests=REQUESTS):
        """So many requests, one after the other; all of it must get through, as if laghound were not there."""
        slowest = 0.0
        for _ in range(requests):
            request = batch(trace() for _ in range(SPANS_PER_REQUEST))
            begin = time.monotonic()
            # An error is an exception, and ends the story. Nothing is sent a second time.
            answer = self.sender.Export(request, timeout=ARRIVE_LIMIT_S)
            slowest = max(slowest, time.monotonic() - begin)
            self.sent += SPANS_PER_REQUEST
            if answer.partial_success.rejected_spans:
                self.check(f"{state}: nothing is rejected", False, answer)
        self.wait(lambda: self.backend.count()[0] >= self.sent, ARRIVE_LIMIT_S, 0.1)
        count = self.backend.count()
        self.check(f"{state}: every span reaches the backend, once", count == (self.sent, 0), f"{count} of {self.sent}")
        figure = f"{requests} requests, the slowest took {slowest * 1000:.0f} ms"
        self.check(f"{state}: no sender waits for laghound", slowest < EXPORTER_TIMEOUT_S, figure)

    def overflows(self):
        """Spans that the Collector could not even queue, by its own count: of the copy, and of those for the backend."""
        name = "otelcol_exporter_enqueue_failed_spans"
        return self.collector.metric(name, "otlp_grpc/laghound"), self.collector.metric(name, "otlp_grpc/backend")

    def metric(self, name):
        """A sum over one of laghound's metrics."""
        return exposition.read(self.laghound.metrics()).sum(name)

    def start_again(self, name, **env):
        """Another laghound at the same address."""
        env["LAGHOUND_RECEIVER_GRPC_ENDPOINT"] = self.address
        self.laghound = Laghound(self.binary, self.folder, name, env)

    def well(self):
        """As it should be."""
        self.send("well")
        accepted = lambda: self.metric("laghound_receiver_accepted_spans_total") == self.sent
        arrived, took = self.wait(accepted, ARRIVE_LIMIT_S)
        self.check("well: laghound gets a copy of every span", arrived, f"{took:.1f} s")

    def hanging(self):
        """It takes connections and never answers."""
        os.kill(self.laghound.process.child.pid, signal.SIGSTOP)
        self.send("hanging")
        self.runs_over("hanging", 0)
        os.kill(self.laghound.process.child.pid, signal.SIGCONT)

    def dead(self):
        """Nobody is there."""
        self.laghound.process.kill()
        before, _ = self.overflows()
        self.send("dead")
        self.runs_over("dead", before)

    def runs_over(self, state, before):
        """What cannot be delivered to laghound is given up, else this proves nothing; what is the backend's never."""
        over = lambda: self.overflows()[0] > before
        self.wait(over, ARRIVE_LIMIT_S)
        copies, others = self.overflows()
        figure = f"{copies - before:.0f} copies, {others:.0f} others given up"
        self.check(f"{state}: only the copy's queue ran over", copies > before and others == 0, figure)

    def refusing(self):
        """It is there and refuses: what it may have under way is less than what the Collector sends at once."""
        little = {"LAGHOUND_RECEIVER_MAX_IN_FLIGHT": "256KiB", "LAGHOUND_RECEIVER_MAX_REQUEST_SIZE": "256KiB"}
        self.start_again("laghound-refusing", **little)
        self.send("refusing")
        refused = lambda: self.metric("laghound_receiver_failed_requests_total")
        arrived, took = self.wait(refused, BACK_LIMIT_S)
        self.check("refusing: laghound refused", arrived, f"{arrived} requests, {took:.1f} s")

    def well_again(self):
        """The copy comes again by itself."""
        self.laghound.process.stop(GRACE_SECONDS)
        self.start_again("laghound-again")
        self.send("well again", requests=REQUESTS // 10)

        def comes():
            """What is new gets a copy."""
            if self.metric("laghound_receiver_accepted_spans_total") > 0:
                return True
            self.sender.Export(batch([trace()]), timeout=ARRIVE_LIMIT_S)
            return False

        arrived, took = self.wait(comes, BACK_LIMIT_S, 1)
        self.check("well again: laghound gets copies again", arrived, f"{took:.1f} s")
