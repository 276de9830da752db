"""The programs that users run beside laghound, with the files of `deploy/`: the Collector and Alertmanager, and the
two that listen at their ends, a trace backend and whoever is notified.

The files are taken as they are; what differs is said where it is changed: addresses, and what waits for minutes
only to spare people. It does NOT judge what arrives.
"""

import json
import math
import os
import subprocess
import threading
from concurrent import futures
from pathlib import Path

import grpc
import yaml
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

import exposition
from market.market import free_ports
from peers import START_SECONDS, get
from procs import Failure, Process

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def backend_of(config):
    """What the exporter to the backend is called in a configuration."""
    exporters = yaml.safe_load((DEPLOY / "collector" / config).read_text(encoding="utf-8"))["exporters"]
    (name,) = (name for name in exporters if name.endswith("/backend"))
    return name


class Collector:
    """The Collector with a configuration of `deploy/collector/`, whose addresses are laid over it in a second file.

    `more` is laid over it as well. `hosts` is what stands in its /etc/hosts, if that matters: a file in which a name has the
    replicas' addresses, as a headless Service has.
    """

    def __init__(self, name, config, folder, env, more=None, hosts=None):
        grpc_port, http_port, health_port, metrics_port = free_ports(4)
        self.grpc, self.http = f"127.0.0.1:{grpc_port}", f"127.0.0.1:{http_port}"
        metrics = {"host": "127.0.0.1", "port": metrics_port}
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        over = {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": self.grpc}, "http": {"endpoint": self.http}}}},
            "exporters": {backend_of(config): {"tls": {"insecure": True}}},
            "extensions": {"health_check": {"endpoint": f"127.0.0.1:{health_port}"}},
            # Its own metrics, which have a port as well.
            "service": {"telemetry": {"metrics": {"readers": [{"pull": {"exporter": {"prometheus": metrics}}}]}}},
        }
        path = Path(folder) / f"{name}.yaml"
        path.write_text(yaml.safe_dump(over), encoding="utf-8")
        configs = [DEPLOY / "collector" / config, path]
        if more:
            configs.append(Path(folder) / f"{name}-more.yaml")
            configs[-1].write_text(yaml.safe_dump(more), encoding="utf-8")
        argv = [os.environ["COLLECTOR"], *(f"--config={c}" for c in configs)]
        if hosts:
            # A name service of its own, seen by nobody else: a mount namespace, with or without being root.
            alone = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--mount"]
            argv = [*alone, "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts, *argv]
        self.process = Process(name, argv, folder, env)
        ready = "Everything is ready. Begin running and processing data."
        self.process.wait_for_line(ready, START_SECONDS)

    def endpoints(self):
        """Where senders send."""
        return {"grpc": f"http://{self.grpc}", "http": f"http://{self.http}"}


    def metric(self, name, exporter):
        """The Collector's own count of something for one of its exporters; 0 if that never happened."""
        page = exposition.read(get(self.metrics_url))
        return math.fsum(v for row, v in page.series(name) if row.get("exporter") == exporter)


class Backend(trace_service_pb2_grpc.TraceServiceServicer):
    """A trace backend: OTLP over gRPC, in which every span that came is counted by its name and id."""

    def __init__(self):
        self._lock = threading.Lock()
        self.spans = {}
        self._server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 1 << 26)])
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request, context):  # pylint: disable=invalid-name
        """Counts."""
        ids = [s.trace_id + s.span_id for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
        with self._lock:
            for one in ids:
                self.spans[one] = self.spans.get(one, 0) + 1
        return trace_service_pb2.ExportTraceServiceResponse()

    def count(self):
        """Spans that came, and how often one came again."""
        with self._lock:
            return len(self.spans), sum(self.spans.values()) - len(self.spans)

    def stop(self):
        """No more."""
        self._server.stop(1).wait()


class Alertmanager:
    """Debian's Alertmanager with `deploy/alertmanager/`: its routes, groups, inhibitions and words.

    Slack and PagerDuty are asked at the inbox' address, as `slack/NAME` and `pagerduty/NAME`; each receiver is a webhook too,
    `webhook/NAME`. `group_interval` is how long a group that changed waits before it says so again.
    """

    def __init__(self, folder, inbox, group_interval):
        folder = Path(folder)
        config = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
        config["templates"] = [str(DEPLOY / "alertmanager" / "laghound.tmpl")]
        for route in config["route"]["routes"]:
            route["group_interval"] = group_interval
        for receiver in config["receivers"]:
            self._readdress(receiver, inbox.base, folder)
        path = folder / "alertmanager.yml"
        path.write_text(json.dumps(config), encoding="utf-8")
        argv = ["prometheus-alertmanager", f"--config.file={path}", f"--storage.path={folder / 'alertmanager'}"]
        argv += ["--web.listen-address=127.0.0.1:0", "--cluster.listen-address=", "--log.format=json"]
        self.process = Process("alertmanager", argv, folder)
        listening = lambda e: e.get("address") if e.get("msg") == "Listening on" else None
        self.address = self.process.wait_for(listening, "`Listening on` line", START_SECONDS)

    @staticmethod
    def _readdress(receiver, base, folder):
        """The same receiver, with the inbox at the other end."""
        name = receiver["name"]
        if len(receiver) == 1:
            return
        for slack in receiver.get("slack_configs", []):
            path = folder / f"slack-{name}.url"
            path.write_text(f"{base}/slack/{name}", encoding="utf-8")
            # The two receivers share their settings by a YAML anchor.
            receiver["slack_configs"] = [{**slack, "api_url_file": str(path)}]
        for pager in receiver.get("pagerduty_configs", []):
            path = folder / "pagerduty.key"
            path.write_text("0" * 32, encoding="utf-8")
            pager.update(routing_key_file=str(path), url=f"{base}/pagerduty/{name}")
        receiver["webhook_configs"] = [{"url": f"{base}/webhook/{name}", "send_resolved": True}]


def replayed(binary, recording):
    """What `laghound replay` says about a recording."""
    argv = [binary, "replay", "--format", "json", recording]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise Failure(f"laghound replay: exit {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def incidents(laghound):
    """The incidents that a running laghound remembers."""
    return json.loads(get(f"http://{laghound.addresses['admin']}/api/v1/incidents"))
