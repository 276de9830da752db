"""What the files and pages of `deploy/` call things exists under that name: metrics, settings, files.

A dashboard over a metric that was renamed shows nothing, and says nothing; a page that sends people to
a setting that is gone costs them their night.
"""

import re
import unittest

import yaml

from tools import DEPLOY, ROOT

TEXTS = {".md", ".yml", ".yaml", ".json", ".tmpl", ".tpl", ".service", ".conf", ".txt"}
# Of the Prometheus client library's histograms.
SUFFIXES = ("_bucket", "_count", "_sum")


def texts():
    """Every text file of deploy/, and the README."""
    found = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file() and path.suffix in TEXTS]
    return {path: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *found]}


def published():
    """The names on `/metrics`: a test of the program holds this list to what it publishes."""
    return set((ROOT / "src/publish/metric_names.txt").read_text(encoding="utf-8").split())


def recorded():
    """The names that the recording rules make."""
    text = (DEPLOY / "prometheus/laghound.rules.yml").read_text(encoding="utf-8")
    return {rule["record"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"] if "record" in rule}


def settings():
    """Every key of the configuration."""
    keys = set()

    def walk(prefix, value):
        for key, inner in value.items():
            keys.add(prefix + key)
            if isinstance(inner, dict):
                walk(f"{prefix}{key}.", inner)

    walk("", yaml.safe_load((DEPLOY / "laghound.yaml").read_text(encoding="utf-8")))
    return keys


class Words(unittest.TestCase):
    def test_every_metric_exists(self):
        known = published()
        known |= {name + suffix for name in known for suffix in SUFFIXES}
        records = recorded()
        for path, text in texts().items():
            with self.subTest(path.relative_to(ROOT)):
                for name in set(re.findall(r"(?<![\w:/.-])(laghound_\w+)(?![\w:/.-]*:)", text)):
                    # `laghound_receiver_*` and `laghound_self_time_` stand for all that begin so.
                    stem = name.endswith("_") and any(one.startswith(name) for one in known)
                    self.assertTrue(name in known or stem, f"{name} is not on /metrics")
                for name in set(re.findall(r"\b(?:service|entry|fleet|instance):laghound_\w+:\w+", text)):
                    self.assertIn(name, records)

    def test_every_setting_exists(self):
        known = settings()
        sections = "|".join(sorted({key.split(".")[0] for key in known}))
        for path, text in texts().items():
            if path.name == "laghound.yaml":
                continue
            with self.subTest(path.relative_to(ROOT)):
                said = set(re.findall(rf"`((?:{sections})\.[a-z_.]+)`", text))
                said |= set(re.findall(rf"--((?:{sections})\.[a-z_.]+)", text))
                self.assertEqual({key for key in said if key.rstrip(".") not in known}, set())
                variables = set(re.findall(r"LAGHOUND_[A-Z_]+", text))
                names = {f"LAGHOUND_{key.upper().replace('.', '_')}" for key in known}
                self.assertEqual(variables - names, set())

    def test_every_link_leads_somewhere(self):
        for path, text in texts().items():
            if path.suffix != ".md":
                continue
            with self.subTest(path.relative_to(ROOT)):
                for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
                    self.assertTrue((path.parent / target).exists(), target)
                for target in re.findall(r"`(deploy/[\w./-]+)`", text):
                    self.assertTrue((ROOT / target).exists(), target)


if __name__ == "__main__":
    unittest.main()
