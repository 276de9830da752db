"""The compose file and what its containers read: by the specification's own library and by each program.

There is no Docker engine here that could pull the images and start them; what is checked is that the file is one, that every
image is pinned, that every file and service that is named exists, and that laghound takes the flags it is given.
"""

import re
import shutil
import signal
import tempfile
import time
import unittest
from pathlib import Path

import yaml

from peers import Laghound
from procs import Process
from tools import DEPLOY, ROOT, refusal, run, tool

COMPOSE = DEPLOY / "compose"
FILE = COMPOSE / "compose.yaml"
# A tag that says a whole version: neither `latest` nor a line of versions.
PINNED = re.compile(r"^[a-z0-9./-]+:v?\d+\.\d+\.\d+$")


def services():
    """As the file says it, before anything is filled in."""
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]


def beside(folder, *paths):
    """Copies of files in one folder, as a container has them."""
    for path in paths:
        shutil.copy(path, folder)
    return [Path(folder, path.name) for path in paths]


class Shop(unittest.TestCase):
    def test_the_shop_sends_to_whoever_it_is_told(self):
        told = [word for word in services()["shop"]["command"] if not word.startswith("http://")]
        self.assertEqual(told[:2], ["demo", "--to"])
        with tempfile.TemporaryDirectory() as folder:
            laghound = Laghound(tool("laghound"), folder)
            shop = Process("shop", [tool("laghound"), "demo", "--to", laghound.endpoint("grpc"), *told[2:]], folder)
            deadline = time.monotonic() + 30
            while not re.search(r'accepted_spans_total\{transport="grpc"\} [1-9]', laghound.metrics()):
                self.assertLess(time.monotonic(), deadline, shop.lines())
                time.sleep(0.2)
            for process in (shop, laghound.process):
                process.child.send_signal(signal.SIGTERM)
                self.assertEqual(process.child.wait(30), 0, process.lines())


class Compose(unittest.TestCase):
    def test_the_file_is_what_the_specification_says(self):
        model = yaml.safe_load(run("compose-spec", FILE))
        parts = {"laghound", "collector", "shop", "prometheus", "alertmanager", "grafana"}
        self.assertEqual(set(model["services"]), parts)

    def test_a_typo_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            for right, wrong in (("depends_on", "depend_on"), ("service_healthy", "service_healthi"), ("restart: always", "restarts: always")):
                broken = Path(folder) / "compose.yaml"
                text = FILE.read_text(encoding="utf-8")
                self.assertIn(right, text)
                broken.write_text(text.replace(right, wrong), encoding="utf-8")
                refusal("compose-spec", str(broken))

    def test_every_image_is_pinned_to_a_whole_version(self):
        for name, service in services().items():
            self.assertRegex(service["image"], PINNED, name)
        for loose in ("grafana/grafana", "grafana/grafana:latest", "grafana/grafana:12.4", "prom/prometheus:v3"):
            self.assertNotRegex(loose, PINNED)
        version = run("laghound", "--version").split()[1]
        ours = {service["image"] for service in services().values() if service["image"].startswith("laghound:")}
        self.assertEqual(ours, {f"laghound:{version}"})
        collector = yaml.safe_load((DEPLOY / "helm/laghound/values.yaml").read_text(encoding="utf-8"))["collector"]["image"]
        self.assertEqual(services()["collector"]["image"], f"{collector['repository']}:{collector['tag']}")

    def test_every_file_that_is_mounted_is_there_and_read_only(self):
        mounted = set()
        for name, service in services().items():
            for volume in service.get("volumes", []):
                path, _, mode = volume.split(":")
                mounted.add((COMPOSE / path).resolve(strict=True))
                self.assertEqual(mode, "ro", f"{name}: {volume}")
        unused = {path.resolve() for path in COMPOSE.iterdir()} - mounted - {FILE.resolve()}
        self.assertEqual(unused, set())
        context = (COMPOSE / services()["laghound"]["build"]["context"]).resolve()
        self.assertEqual(context, ROOT.resolve())

    def test_nothing_listens_beyond_this_machine(self):
        for name, service in services().items():
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), f"{name}: {port}")

    def test_laghound_takes_what_it_is_told(self):
        told = services()["laghound"]["command"]
        self.assertEqual(told[0], "serve")
        with tempfile.NamedTemporaryFile(suffix=".yaml") as empty:
            run("laghound", "check-config", empty.name, *told[1:])
            refused = refusal("laghound", "check-config", empty.name, *told[1:], "--admin.endpont=a")
        self.assertIn("admin.endpont", refused)
        shop = services()["shop"]["command"]
        run("laghound", *shop, "--help")
        refusal("laghound", *shop, "--durations", "--help")

    def test_each_program_reads_its_file(self):
        run("otelcol", "validate", f"--config={COMPOSE / 'collector.yaml'}")
        with tempfile.TemporaryDirectory() as folder:
            config, _ = beside(folder, COMPOSE / "prometheus.yml", DEPLOY / "prometheus/laghound.rules.yml")
            run("promtool", "check", "config", config)
            broken = Path(folder, "broken.yml")
            broken.write_text(config.read_text(encoding="utf-8").replace("scrape_configs", "scrape_config"), encoding="utf-8")
            refusal("promtool", "check", "config", str(broken))
            config, _ = beside(folder, COMPOSE / "alertmanager.yml", DEPLOY / "alertmanager/laghound.tmpl")
            run("amtool", "check-config", config)
            broken.write_text(config.read_text(encoding="utf-8").replace("group_by", "groups_by"), encoding="utf-8")
            refusal("amtool", "check-config", str(broken))

    def test_whoever_is_named_by_a_file_is_a_service(self):
        named = set()
        for path in COMPOSE.iterdir():
            if path != FILE:
                said = "\n".join(line.split("#")[0] for line in path.read_text(encoding="utf-8").splitlines())
                named |= set(re.findall(r"\b([a-z]+):\d{4,5}\b", said))
        for service in services().values():
            named |= set(service.get("depends_on", {}))
        self.assertLessEqual(named, set(services()))
        self.assertLessEqual({"laghound", "prometheus", "alertmanager"}, named)

    def test_grafana_shows_the_dashboard_with_the_datasource(self):
        for name, field in (("grafana-datasource.yaml", "datasources"), ("grafana-dashboard.yaml", "providers")):
            found = yaml.safe_load((COMPOSE / name).read_text(encoding="utf-8"))
            self.assertEqual((found["apiVersion"], set(found)), (1, {"apiVersion", field}))
        (provider,) = found["providers"]
        targets = [volume.split(":")[1] for volume in services()["grafana"]["volumes"]]
        self.assertIn(f"{provider['options']['path']}/laghound.json", targets)


if __name__ == "__main__":
    unittest.main()
