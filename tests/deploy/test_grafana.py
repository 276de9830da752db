"""The dashboard: by Grafana's own schema, and every query of it by a real Prometheus with a real incident.

The incident is that of `laghound demo`, scraped by Debian's Prometheus, with the rules of `deploy/`. Grafana
itself is not run here.
"""

import copy
import json
import re
import tempfile
import time
import unittest

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from peers import Prometheus
from procs import Process
from tools import DEPLOY, load, tool

DASHBOARD = DEPLOY / "grafana/laghound.json"
RULES = DEPLOY / "prometheus/laghound.rules.yml"
# The shop of the demo turns slow after two thirds of this; `cart` is the one, with the seed that it has by itself.
DEMO_SECONDS = 165
CULPRIT = "cart"
# What Grafana itself writes and reads, and its schema leaves out.
UNSAID = re.compile(r"/(builtIn|titleFormat|step|definition)$")
# What stands for what when nobody has chosen anything, and for the time of a test.
VARIABLES = {"$cluster": ".*", "$service": ".*", "$quantile": "0.9", "$__rate_interval": "20s", "$__range": "2m"}
# Without a state directory nothing is saved, and without an older incident nothing is over.
MAY_BE_EMPTY = ("laghound_snapshot_last_success_timestamp_seconds",)


def lost(said, read, path=""):
    """What of a JSON value is not in another that was read from it."""
    if isinstance(said, dict) and isinstance(read, dict):
        for key, value in said.items():
            if key not in read:
                yield f"{path}/{key}"
            else:
                yield from lost(value, read[key], f"{path}/{key}")
    elif isinstance(said, list) and isinstance(read, list):
        for index, (one, other) in enumerate(zip(said, read)):
            yield from lost(one, other, f"{path}[{index}]")
    elif said != read:
        yield path


def unknown(dashboard):
    """The fields that Grafana's schema does not know."""
    register_default_plugins()
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(copy.deepcopy(dashboard))))
    return [path for path in lost(dashboard, read) if not UNSAID.search(path)]


def panels():
    """Every panel that is not a heading."""
    return [panel for panel in load(DASHBOARD)["panels"] if panel["type"] != "row"]


def filled_in(expression):
    """A query with its variables replaced, as Grafana does."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


class Form(unittest.TestCase):
    def test_every_field_is_one_that_grafana_knows(self):
        self.assertEqual(unknown(load(DASHBOARD)), [])

    def test_a_typo_is_found(self):
        dashboard = load(DASHBOARD)
        dashboard["panels"][1]["fieldConfig"]["defaults"]["unitt"] = "s"
        self.assertEqual(unknown(dashboard), ["/panels[1]/fieldConfig/defaults/unitt"])

    def test_no_datasource_is_hard_coded(self):
        text = DASHBOARD.read_text(encoding="utf-8")
        self.assertEqual(set(re.findall(r'"uid": "([^"]*)"', text)), {"laghound", "${datasource}", "-- Grafana --"})

    def test_panels_stand_beside_each_other(self):
        cells = set()
        for panel in load(DASHBOARD)["panels"]:
            at = panel["gridPos"]
            mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & mine, panel["title"])
            self.assertLessEqual(at["x"] + at["w"], 24)
            cells |= mine

    def test_every_panel_says_what_it_is_and_exemplars_are_asked_for(self):
        for panel in panels():
            self.assertTrue(panel["title"])
        exemplars = [t["expr"] for p in panels() for t in p["targets"] if t.get("exemplar")]
        self.assertTrue(any("laghound_excess_seconds_total" in expression for expression in exemplars))


class Live(unittest.TestCase):
    """One incident, from learning to the alert."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        admin = "127.0.0.1:0"
        argv = [tool("laghound"), "demo", "--duration", f"{DEMO_SECONDS}s", "--admin.endpoint", admin]
        cls.demo = Process("demo", argv, folder.name)
        cls.addClassCleanup(cls.demo.kill)
        cls.prometheus = Prometheus([metrics_address(cls.demo)], folder.name, RULES)
        cls.addClassCleanup(cls.prometheus.process.kill)
        # The verdict, and what is summed over half a minute after it.
        deadline = time.monotonic() + DEMO_SECONDS
        while not cls.prometheus.query('ALERTS{alertname="LaghoundRootCause",alertstate="firing"}'):
            if time.monotonic() > deadline or cls.demo.child.poll() is not None:
                raise AssertionError(f"no alert\n{cls.demo.tail()}")
            time.sleep(0.5)
        time.sleep(8)

    def test_the_alert_names_the_service_in_words(self):
        rows = self.prometheus.ask("alerts")["alerts"]
        causes = [row for row in rows if row["labels"]["alertname"] == "LaghoundRootCause"]
        worst = [row for row in causes if row["labels"]["severity"] == "critical"]
        self.assertEqual([row["labels"]["service_name"] for row in worst], [CULPRIT])
        notes = worst[0]["annotations"]
        self.assertRegex(notes["description"], rf"^`{CULPRIT}` makes requests take \d+% longer: each call of `.+` got slower")
        self.assertRegex(notes["share"], r"^\d+%$")
        self.assertRegex(notes["impact"], r"^`.+` of `storefront` \([\d.]+m?s -> [\d.]+m?s\)")
        self.assertRegex(notes["since"], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$")
        self.assertRegex(notes["traces"], r"^[0-9a-f]{32}")
        self.assertRegex(notes["page"], rf"^http://127\.0\.0\.1:\d+/#/suspect/{CULPRIT}$")

    def test_nothing_is_said_about_its_health(self):
        rows = self.prometheus.query('ALERTS{laghound="health",alertstate="firing"}')
        self.assertEqual(rows, [])

    def test_every_rule_has_a_value(self):
        for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    with self.subTest(rule["record"]):
                        self.assertTrue(self.prometheus.query(rule["record"]))

    def test_every_query_of_the_dashboard_has_data(self):
        for panel in panels():
            for target in panel["targets"]:
                expression = filled_in(target["expr"])
                with self.subTest(panel["title"], query=expression):
                    self.assertNotIn("$", expression)
                    rows = self.prometheus.query(expression)
                    if not any(name in expression for name in MAY_BE_EMPTY):
                        self.assertTrue(rows)

    def test_its_variables_and_annotations_have_data(self):
        dashboard = load(DASHBOARD)
        queries = [v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
        for query in queries:
            metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", filled_in(query)).groups()
            rows = self.prometheus.query(metric)
            self.assertTrue(rows, query)
            if label != "cluster":
                self.assertTrue(all(label in row for row, _ in rows), query)
        for annotation in dashboard["annotations"]["list"]:
            if "expr" in annotation:
                self.assertTrue(self.prometheus.query(annotation["expr"]))

    def test_exemplars_lead_to_traces(self):
        found = self.prometheus.exemplars("laghound_excess_seconds_total", 120, time.time())
        self.assertTrue(found)
        for exemplar in found:
            self.assertRegex(exemplar["labels"]["trace_id"], r"^[0-9a-f]{32}$")


def metrics_address(demo):
    """Where the demo says its metrics are."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for line in demo.lines():
            if found := re.search(r"metrics +http://(\S+)/metrics", line):
                return found[1]
        time.sleep(0.1)
    raise AssertionError(f"the demo does not say where its metrics are\n{demo.tail()}")


if __name__ == "__main__":
    unittest.main()
