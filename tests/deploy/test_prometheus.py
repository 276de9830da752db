"""The Prometheus files, by Prometheus' own tool: syntax, and every rule firing and silent."""

import tempfile
import unittest
from pathlib import Path

import yaml

from tools import DEPLOY, TESTS, refusal, run

FOLDER = DEPLOY / "prometheus"
RULES = FOLDER / "laghound.rules.yml"
CASES = sorted((TESTS / "prometheus").glob("*.test.yml"))


def rules():
    """Every rule."""
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        yield from group["rules"]


def alerts():
    """Every alert."""
    return [rule for rule in rules() if "alert" in rule]


class Prometheus(unittest.TestCase):
    def test_the_configuration_and_its_rules_are_read(self):
        run("promtool", "check", "config", FOLDER / "prometheus.yml")

    def test_a_typo_in_a_rule_is_refused(self):
        text = RULES.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            broken = Path(folder) / "broken.yml"
            broken.write_text(text.replace("for: 2m", "fro: 2m"), encoding="utf-8")
            self.assertIn("fro", refusal("promtool", "check", "rules", broken))

    def test_each_rule_says_what_it_must_and_is_silent_else(self):
        self.assertTrue(CASES)
        run("promtool", "test", "rules", *CASES)

    def test_every_alert_is_tested_firing_and_silent(self):
        fires, silent = set(), set()
        for path in CASES:
            for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
                for case in test.get("alert_rule_test", []):
                    (fires if case["exp_alerts"] else silent).add(case["alertname"])
        names = {rule["alert"] for rule in alerts()}
        self.assertEqual(names - fires, set(), "never seen firing")
        self.assertEqual(names - silent, set(), "never seen silent")

    def test_every_alert_has_what_people_and_routes_need(self):
        for rule in alerts():
            with self.subTest(rule["alert"]):
                self.assertRegex(rule["alert"], r"^Laghound[A-Z][A-Za-z]+$")
                self.assertIn(rule["labels"]["laghound"], ("verdict", "health"))
                self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info", "none"))
                notes = rule["annotations"]
                self.assertNotIn("{{", notes["summary"])
                self.assertTrue(notes["description"])
                page = f"{rule['alert']}.md"
                self.assertEqual(notes["runbook_url"].rsplit("/", 1)[1], page)

    def test_every_alert_has_a_runbook_and_every_runbook_an_alert(self):
        pages = {path.stem for path in (DEPLOY / "runbooks").glob("*.md")} - {"README"}
        self.assertEqual(pages, {rule["alert"] for rule in alerts()})


if __name__ == "__main__":
    unittest.main()
