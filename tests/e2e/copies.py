"""What the other Collector configurations of `deploy/collector/` do with a copy for laghound.

    tail-sampling.yaml: the backend gets what is slow or failed and a little of the rest, laghound gets all, at once
    older-names.yaml:   as sidecar.yaml, for Collectors of before 0.144
    agent.yaml:         two Collectors, three laghounds: a trace is whole in one of them, whichever way its spans came

The configurations are as they are but for addresses. sidecar.yaml and gateway.yaml have stories of their own. It does NOT look
at verdicts.
"""

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

import exposition
from parts import Backend, Collector
from peers import GRACE_SECONDS, Laghound
from replicas import Replicas
from spans import batch, trace
from story import Story

ARRIVE_LIMIT_S = 60
PEER_STOP_S = 45
TRACES = 1000
# Of these, so many each are slow and failed: tail-sampling.yaml keeps requests of a second and more, and those that failed.
KEPT_EACH, SLOW_MS = 50, 1500
# `sampling_percentage` is 5: 45 of 900, with a standard deviation of 6.5; these are four of it below, and seven above.
RANDOM_LEAST, RANDOM_MOST = 19, 90
# `decision_wait`, and as much again for a machine that is busy.
DECISION_LIMIT_S = 60
NODES = 2


class Copies(Story):
    """One configuration after the other; the tail sampler's decisions are waited for at the end."""

    def tell(self):
        tail = self.tail_sampling_begins()
        self.older_names()
        self.agents()
        self.tail_sampling_ends(*tail)

    def sidecar(self, config):
        """A laghound, a backend, a Collector with this configuration, and a way to send to it."""
        folder = self.folder / config
        folder.mkdir()
        laghound, backend = Laghound(self.binary, folder), Backend()
        env = {"BACKEND_ENDPOINT": backend.address, "TRACE_COPY_ENDPOINT": laghound.addresses["grpc"]}
        collector = Collector("collector", config, folder, env)
        return laghound, backend, collector, export(collector)

    def tail_sampling_begins(self):
        """A thousand requests; laghound has them all before the sampler has made up its mind."""
        laghound, backend, collector, send = self.sidecar("tail-sampling.yaml")
        slow = [trace(SLOW_MS) for _ in range(KEPT_EACH)]
        failed = [trace(failed=True) for _ in range(KEPT_EACH)]
        others = [trace() for _ in range(TRACES - 2 * KEPT_EACH)]
        send(batch(others + slow + failed))
        got_all = lambda: accepted(laghound) == TRACES
        self.wait(got_all, ARRIVE_LIMIT_S)
        early, _ = backend.count()
        figure = f"{accepted(laghound):.0f} of {TRACES} with laghound, {early} with the backend"
        self.check("tail-sampling.yaml: laghound gets all, and does not wait for decisions", got_all() and early == 0, figure)
        return laghound, backend, collector, slow + failed

    def tail_sampling_ends(self, laghound, backend, collector, kept):
        """The backend has what is slow or failed, and a little of the rest."""
        wanted = {spans[0].trace_id + spans[0].span_id for spans in kept}
        self.wait(lambda: wanted <= set(backend.spans), DECISION_LIMIT_S)
        missing = len(wanted - set(backend.spans))
        self.check("tail-sampling.yaml: the backend gets all that is slow or failed", not missing, f"{missing} missing")
        # The Collector decides on what it still has when it ends.
        self.stop(laghound, backend, collector)
        others = len(set(backend.spans) - wanted)
        figure = f"{others} of {TRACES - len(wanted)}"
        self.check("tail-sampling.yaml: and a little of the rest", RANDOM_LEAST <= others <= RANDOM_MOST, figure)

    def older_names(self):
        """Everything goes both ways."""
        laghound, backend, collector, send = self.sidecar("older-names.yaml")
        send(batch(trace() for _ in range(TRACES)))
        arrived = lambda: accepted(laghound) == TRACES and backend.count() == (TRACES, 0)
        done, took = self.wait(arrived, ARRIVE_LIMIT_S)
        figure = f"{accepted(laghound):.0f} with laghound, {backend.count()} with the backend"
        self.check("older-names.yaml: laghound and the backend get all", done, figure)
        self.stop(laghound, backend, collector)

    def agents(self):
        """The root of each trace comes by one node, its call by another; the name has three laghounds."""
        folder = self.folder / "agent.yaml"
        folder.mkdir()
        replicas, backend = Replicas(self.binary, folder), Backend()
        env = {"BACKEND_ENDPOINT": backend.address, "TRACE_COPY_HOSTNAME": replicas.name}
        more = {"exporters": {"loadbalancing/laghound": {"resolver": {"dns": {"port": replicas.port}}}}}
        nodes = [Collector(f"node-{n}", "agent.yaml", folder, env, more, replicas.hosts) for n in range(NODES)]
        send = [export(node) for node in nodes]
        traces = [trace(children=1) for _ in range(TRACES)]
        for node in range(NODES):
            send[node](batch([spans[node]] for spans in traces))
        closed = lambda: [by_reason(laghound) for laghound in replicas.all]
        total = lambda: sum(sum(one.values()) for one in closed())
        self.wait(lambda: total() >= TRACES and all(pending(it) == 0 for it in replicas.all), ARRIVE_LIMIT_S)
        spans = sum(accepted(laghound) for laghound in replicas.all)
        whole = total() == TRACES and all(set(one) == {"complete"} for one in closed())
        figure = f"{spans:.0f} spans of {TRACES} traces, closed: {closed()}"
        self.check("agent.yaml: each trace is whole in one of three", whole and spans == NODES * TRACES, figure)
        count = backend.count()
        self.check("agent.yaml: the backend gets all", count == (NODES * TRACES, 0), f"{count} (spans, duplicates)")
        for node in nodes:
            node.process.stop(PEER_STOP_S)
        for laghound in replicas.all:
            laghound.process.stop(GRACE_SECONDS)
        backend.stop()

    def stop(self, laghound, backend, collector):
        """One configuration's parts."""
        collector.process.stop(PEER_STOP_S)
        laghound.process.stop(GRACE_SECONDS)
        backend.stop()


def export(collector):
    """A way to send a request to a Collector."""
    stub = trace_service_pb2_grpc.TraceServiceStub(grpc.insecure_channel(collector.grpc))
    return lambda request: stub.Export(request, timeout=ARRIVE_LIMIT_S)


def accepted(laghound):
    """Spans that it took."""
    return exposition.read(laghound.metrics()).sum("laghound_receiver_accepted_spans_total")


def pending(laghound):
    """Spans that it is not done with."""
    return exposition.read(laghound.metrics()).sum("laghound_pending_spans")


def by_reason(laghound):
    """Traces that it closed, by why; of reasons that occurred."""
    rows = exposition.read(laghound.metrics()).series("laghound_traces_closed_total")
    return {row["reason"]: int(value) for row, value in rows if value}
