"""The Collector configurations, by the real Collector."""

import tempfile
import unittest
from pathlib import Path

import yaml

from tools import DEPLOY, refusal, run

CONFIGS = sorted((DEPLOY / "collector").glob("*.yaml"))


class Collector(unittest.TestCase):
    def test_every_configuration_is_valid(self):
        self.assertTrue(CONFIGS)
        for path in CONFIGS:
            with self.subTest(path.name):
                run("otelcol", "validate", f"--config={path}")

    def test_a_typo_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            broken = Path(folder) / "broken.yaml"
            text = CONFIGS[0].read_text(encoding="utf-8")
            broken.write_text(text.replace("routing_key", "routing_keys"), encoding="utf-8")
            self.assertIn("routing_keys", refusal("otelcol", "validate", f"--config={broken}"))

    def test_nothing_comes_back_from_laghound_to_the_main_pipeline(self):
        for path in CONFIGS:
            with self.subTest(path.name):
                config = yaml.safe_load(path.read_text(encoding="utf-8"))
                pipelines = config["service"]["pipelines"]
                main = [e for e in pipelines["traces"]["exporters"] if "laghound" in e]
                self.assertEqual(main, [], "laghound shares a pipeline with the backend")
                side = pipelines["traces/laghound"]
                self.assertEqual(side["processors"][-1], "batch/laghound")
                (name,) = side["exporters"]
                exporter = config["exporters"][name]
                self.assertEqual(exporter["retry_on_failure"]["max_elapsed_time"], "30s")
                self.assertFalse(exporter["sending_queue"].get("block_on_overflow", False))


if __name__ == "__main__":
    unittest.main()
