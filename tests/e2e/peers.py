"""The two programs under which the test runs: laghound itself, and Debian's Prometheus scraping it.

Each takes ports that are free (port 0) and says in its log which; each is asked over HTTP as any
user would. It does NOT judge what they answer.
"""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

from procs import Failure, Process

HTTP_SECONDS = 10
START_SECONDS = 30
# laghound's own default for how long it may take to drain and save, `shutdown.grace`.
GRACE_SECONDS = 10
SCRAPE_EVERY = "1s"


def get(url, accept="*/*"):
    """The body of an answer that must be a 200."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=HTTP_SECONDS) as answer:
            return answer.read().decode()
    except (OSError, urllib.error.URLError) as error:
        raise Failure(f"GET {url}: {error}") from error


class Laghound:
    """`laghound serve`, on ports of its own choosing."""

    def __init__(self, binary, folder, name="laghound", env=None):
        env = {
            "LAGHOUND_RECEIVER_GRPC_ENDPOINT": "127.0.0.1:0",
            "LAGHOUND_RECEIVER_HTTP_ENDPOINT": "127.0.0.1:0",
            "LAGHOUND_ADMIN_ENDPOINT": "127.0.0.1:0",
            "LAGHOUND_LOG_FORMAT": "json",
            **(env or {}),
        }
        self._listen_to(Process(name, [binary, "serve"], folder, env))

    @classmethod
    def around(cls, process):
        """One that was started by somebody else and logs as JSON."""
        laghound = cls.__new__(cls)
        laghound._listen_to(process)
        return laghound

    def _listen_to(self, process):
        self.process = process
        self.addresses = {}
        for what in ("grpc", "http", "admin"):
            self.addresses[what] = self._listening(what)
        self.metrics_url = f"http://{self.addresses['admin']}/metrics"

    def _listening(self, what):
        def found(event):
            fields = event.get("fields", event)
            if fields.get("message") == "listening" and what in fields.get("what", "").lower():
                return fields["addr"]
            return None

        return self.process.wait_for(found, f"`listening` event for {what}", START_SECONDS)

    def endpoint(self, protocol):
        """Where a sender of this OTLP protocol sends."""
        return f"http://{self.addresses['grpc' if protocol == 'grpc' else 'http']}"

    def probe(self, path):
        """A probe that must answer 200, now or soon."""
        deadline = time.monotonic() + HTTP_SECONDS
        while True:
            try:
                return get(f"http://{self.addresses['admin']}{path}")
            except Failure:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def metrics(self):
        """One scrape in text format 0.0.4."""
        return get(self.metrics_url, accept="text/plain;version=0.0.4")


class Prometheus:
    """Debian's Prometheus with laghounds for targets, and with the rules of `deploy/` if asked for.

    The rules are as they are but for how often they are evaluated: as often as is scraped.
    """

    def __init__(self, targets, folder, rules=None, alertmanager=None):
        config = f"{folder}/prometheus.yml"
        every = {"scrape_interval": SCRAPE_EVERY, "scrape_timeout": SCRAPE_EVERY, "evaluation_interval": SCRAPE_EVERY}
        settings = {
            "global": every,
            "scrape_configs": [{"job_name": "laghound", "static_configs": [{"targets": targets}]}],
        }
        if rules:
            text = Path(rules).read_text(encoding="utf-8").replace("interval: 15s", f"interval: {SCRAPE_EVERY}")
            Path(folder, "rules.yml").write_text(text, encoding="utf-8")
            settings["rule_files"] = [f"{folder}/rules.yml"]
        if alertmanager:
            settings["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
        with open(config, "w", encoding="utf-8") as file:
            # JSON is YAML; nothing to escape by hand.
            json.dump(settings, file)
        self._start(config, folder)

    @classmethod
    def as_deployed(cls, deploy, groups, others, folder, alertmanager):
        """With `deploy/prometheus/` as it is, but for the addresses; `groups` are static_configs of the scrape job, and
        `others` are scraped as well."""
        settings = yaml.safe_load((deploy / "prometheus.yml").read_text(encoding="utf-8"))
        settings["rule_files"] = [str(deploy / name) for name in settings["rule_files"]]
        settings["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
        settings["scrape_configs"][0]["static_configs"] = groups
        settings["scrape_configs"].append({"job_name": "others", "static_configs": [{"targets": others}]})
        config = f"{folder}/prometheus.yml"
        Path(config).write_text(json.dumps(settings), encoding="utf-8")
        prometheus = cls.__new__(cls)
        prometheus._start(config, folder)
        return prometheus

    def _start(self, config, folder):
        argv = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb"]
        argv += ["--web.listen-address=127.0.0.1:0", "--log.format=json"]
        argv += ["--enable-feature=exemplar-storage"]
        self.process = Process("prometheus", argv, folder)
        address = self.process.wait_for(listening_on, "`Listening on` line", START_SECONDS)
        self.base = f"http://{address}/api/v1"
        is_ready = lambda e: e.get("msg") == "Server is ready to receive web requests."
        self.process.wait_for(is_ready, "readiness", START_SECONDS)

    def ask(self, path, **parameters):
        """The `data` of an answer that must be a success."""
        answer = json.loads(get(f"{self.base}/{path}?{urllib.parse.urlencode(parameters)}"))
        if answer["status"] != "success":
            raise Failure(f"prometheus, {path} {parameters}: {answer}")
        return answer["data"]

    def query(self, expression):
        """An instant vector: (labels, value) each."""
        rows = self.ask("query", query=expression)["result"]
        return [(row["metric"], float(row["value"][1])) for row in rows]

    def scalar(self, expression):
        """The one value of an expression that must have exactly one."""
        rows = self.query(expression)
        if len(rows) != 1:
            raise Failure(f"prometheus: {expression} has {len(rows)} values instead of one")
        return rows[0][1]

    def scrape_error(self):
        """The target's last error; empty while all is well."""
        return "; ".join(t["lastError"] for t in self.ask("targets")["activeTargets"])

    def exemplars(self, expression, seconds, now):
        """All exemplars of the last so many seconds."""
        rows = self.ask("query_exemplars", query=expression, start=now - seconds, end=now)
        return [exemplar for row in rows for exemplar in row["exemplars"]]


def listening_on(event):
    """The address in Prometheus' own line about it."""
    return event.get("address") if event.get("msg") == "Listening on" else None


def promtool_findings(page):
    """What `promtool check metrics` finds wrong; empty if nothing."""
    argv = ["promtool", "check", "metrics"]
    done = subprocess.run(argv, input=page, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 0:
        return ""
    return f"exit {done.returncode}: {(done.stdout + done.stderr).strip()}"
