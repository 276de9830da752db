"""The Alertmanager files, by its own tool and by Alertmanager itself: routes, words, grouping, inhibition."""

import json
import re
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

import yaml

from inbox import Inbox
from procs import Process
from tools import DEPLOY, TESTS, refusal, run, tool

FOLDER = DEPLOY / "alertmanager"
CONFIG = FOLDER / "alertmanager.yml"
MESSAGES = yaml.safe_load((TESTS / "alertmanager" / "messages.yml").read_text(encoding="utf-8"))
# Debian's, and a recent one, which reads matchers by other rules.
AMTOOLS = ("amtool", "amtool-recent")


def common(maps):
    """What all maps have in common."""
    first, *others = maps or [{}]
    return {k: v for k, v in first.items() if all(other.get(k) == v for other in others)}


def group(message):
    """A group of alerts as a template gets it."""
    alerts = [{**alert, "status": "firing", "endsAt": "0001-01-01T00:00:00Z"} for alert in message.get("alerts", [])]
    alerts += [{**alert, "status": "resolved", "endsAt": "2026-09-21T14:31:00Z"} for alert in message.get("resolved", [])]
    for alert in alerts:
        alert["startsAt"] = "2026-09-21T14:20:40Z"
    return {
        "receiver": "phone",
        "status": "firing" if message.get("alerts") else "resolved",
        "alerts": alerts,
        "groupLabels": {"laghound": alerts[0]["labels"]["laghound"]},
        "commonLabels": common([alert["labels"] for alert in alerts]),
        "commonAnnotations": common([alert["annotations"] for alert in alerts]),
        "externalURL": "http://alertmanager",
    }


class Files(unittest.TestCase):
    def test_both_configurations_are_read(self):
        for amtool in AMTOOLS:
            for path in (CONFIG, FOLDER / "receivers.yml"):
                run(amtool, "check-config", path)

    def test_a_typo_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            broken = Path(folder) / "broken.yml"
            broken.write_text(CONFIG.read_text(encoding="utf-8").replace("group_wait", "group_weight"), encoding="utf-8")
            self.assertIn("group_weight", refusal("amtool", "check-config", broken))

    def test_every_alert_goes_where_it_should(self):
        routes = {
            ("verdict", "critical"): "phone",
            ("verdict", "warning"): "chat",
            ("verdict", "info"): "nobody",
            ("verdict", "none"): "nobody",
            ("health", "warning"): "chat",
            ("health", "info"): "chat",
        }
        for amtool in AMTOOLS:
            for (kind, severity), receiver in routes.items():
                labels = [f"laghound={kind}", f"severity={severity}"]
                run(amtool, "config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={receiver}", *labels)

    def test_messages_read_as_they_should(self):
        for message in MESSAGES:
            for what in ("title", "text"):
                with self.subTest(message["name"], what=what), tempfile.NamedTemporaryFile("w", suffix=".json") as data:
                    json.dump(group(message), data)
                    data.flush()
                    argv = ["template", "render", f"--template.glob={FOLDER / 'laghound.tmpl'}"]
                    argv += [f'--template.text={{{{ template "laghound.{what}" . }}}}', f"--template.data={data.name}"]
                    for amtool in AMTOOLS:
                        self.assertEqual(run(amtool, *argv), message[what])


def with_webhooks(base):
    """The configuration as it is, each receiver a webhook instead, and all waits short."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    for receiver in config["receivers"]:
        if len(receiver) > 1:
            name = receiver["name"]
            receiver.clear()
            receiver.update(name=name, webhook_configs=[{"url": f"{base}/{name}", "send_resolved": True}])
    config["templates"] = [str(FOLDER / "laghound.tmpl")]
    return re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", yaml.safe_dump(config))


def alert(**labels):
    """An alert as Prometheus sends it."""
    return {"labels": labels, "annotations": {"summary": "s", "description": "d"}}


def verdict(severity, service):
    """A root cause."""
    return alert(alertname="LaghoundRootCause", laghound="verdict", severity=severity, service_name=service, suspect_kind="service")


def latency(service):
    """A user's own alert on latency."""
    return alert(alertname="HighLatency", symptom="latency", severity="critical", service_name=service)


class Live(unittest.TestCase):
    """Alertmanager itself, with one incident."""

    def setUp(self):
        self.inbox = Inbox()
        self.folder = tempfile.TemporaryDirectory()
        config = Path(self.folder.name) / "alertmanager.yml"
        config.write_text(with_webhooks(f"http://127.0.0.1:{self.inbox.server_port}"), encoding="utf-8")
        argv = [tool("prometheus-alertmanager"), f"--config.file={config}", f"--storage.path={self.folder.name}"]
        argv += ["--web.listen-address=127.0.0.1:0", "--cluster.listen-address=", "--log.format=json"]
        self.process = Process("alertmanager", argv, self.folder.name)
        listening = lambda e: e.get("address") if e.get("msg") == "Listening on" else None
        address = self.process.wait_for(listening, "`Listening on` line", 30)
        self.api = f"http://{address}/api/v2/alerts"

    def tearDown(self):
        self.process.stop(20)
        self.inbox.shutdown()
        self.inbox.server_close()
        self.folder.cleanup()

    def post(self, *alerts):
        """Sends alerts."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.api, json.dumps(alerts).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def wait_for_mail(self, count):
        """Deliveries so far, once there are so many and no more come."""
        deadline = time.monotonic() + 30
        while len(self.inbox.mail) < count and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(3)
        return self.inbox.mail

    def test_one_incident_is_one_notification_and_holds_back_its_symptoms(self):
        # The cause holds back what follows from it; Prometheus sends all of these in one request.
        self.post(
            verdict("critical", "cart"),
            verdict("warning", "cart"),
            verdict("info", "cart"),
            verdict("critical", "sqlite"),
            alert(alertname="LaghoundSlowdownExplained", laghound="verdict", severity="none", service_name="storefront"),
            latency("cart"),
            latency("storefront"),
            latency("search"),
            alert(alertname="LaghoundDown", laghound="health", severity="warning", job="laghound", instance="a"),
            alert(alertname="LaghoundRefusing", laghound="health", severity="warning", job="laghound", instance="a"),
            alert(alertname="LaghoundRefusing", laghound="health", severity="warning", job="laghound", instance="b"),
        )
        mail = self.wait_for_mail(3)
        told = sorted((to, sorted(row["labels"].get("service_name", "") for row in body["alerts"])) for to, body in mail)
        # The phone rings once, with both suspects. Of the symptoms only one that nobody explains is left, and of
        # laghound's own troubles those that are not a consequence of its being down.
        self.assertEqual(told, [("chat", ["", ""]), ("chat", ["search"]), ("phone", ["cart", "sqlite"])])
        health = next(body for _, body in mail if body["commonLabels"].get("laghound") == "health")
        self.assertEqual(sorted((r["labels"]["alertname"], r["labels"]["instance"]) for r in health["alerts"]),
                         [("LaghoundDown", "a"), ("LaghoundRefusing", "b")])


if __name__ == "__main__":
    unittest.main()
