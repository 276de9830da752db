"""The manifests and the chart: strictly by Kubernetes' own schemas, wired to each other, and the same objects.

The schemas are those of the API server's OpenAPI description (`kubernetes-validate`) and the custom
resource definitions that the Prometheus operator installs. A schema does not see a Service that selects
nothing or a volume without its ConfigMap; the tests of the wiring do.
"""

import copy
import json
import re
import unittest
from functools import cache
from pathlib import Path

import jsonschema
import yaml

import derive
from tools import DEPLOY, refusal, run

OVERLAYS = DEPLOY / "kubernetes/overlays"
CHART = DEPLOY / "helm/laghound"
MODES = ("standalone", *derive.MODES)
# The oldest release with everything that is used here, and a recent one.
RELEASES = ("1.30.0", "1.34.0")
OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"


def documents(text):
    """The objects of a stream."""
    return [thing for thing in yaml.safe_load_all(text) if thing]


@cache
def built(mode):
    """What kustomize makes of an overlay."""
    return run("kustomize", "build", OVERLAYS / mode)


@cache
def rendered(mode, *more):
    """What helm makes of the chart."""
    argv = ["template", "laghound", CHART, "--kube-version", RELEASES[0], "--set", f"mode={mode}", *more]
    return run("helm", *argv)


def both():
    """Every stream of objects there is, by a name for messages."""
    for mode in MODES:
        yield f"kustomize {mode}", built(mode)
        yield f"helm {mode}", rendered(mode)


@cache
def definitions():
    """The schemas of the operator's objects, by kind; what they do not know is an error."""
    where = json.loads(run("go", "mod", "download", "-json", OPERATOR, cwd="/"))["Dir"]
    found = {}
    for kind in ("servicemonitors", "podmonitors", "prometheusrules"):
        path = Path(where) / f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
        for version in spec["versions"]:
            schema = closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            found[(f"{spec['group']}/{version['name']}", spec["names"]["kind"])] = schema
    return found


def closed(schema):
    """The same schema, refusing fields that it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    same = {key: closed(value) for key, value in schema.items()}
    if isinstance(same.get("properties"), dict) and "additionalProperties" not in same:
        if not same.get("x-kubernetes-preserve-unknown-fields"):
            same["additionalProperties"] = False
    # Go takes a flag anywhere in a pattern, Python at its start.
    if isinstance(pattern := same.get("pattern"), str):
        same["pattern"] = re.sub(r"^\^\(\?i\)", "(?i)^", pattern)
    if same.pop("x-kubernetes-int-or-string", False):
        same.pop("type", None)
    return same


def template(thing):
    """The pod template of a workload, or None."""
    return thing.get("spec", {}).get("template") if thing["kind"] in ("Deployment", "DaemonSet") else None


def containers(pod):
    """All containers of a pod, sidecars included."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def fits(selector, labels):
    """Whether a label selector picks these labels."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(one["operator"] == "DoesNotExist" and one["key"] not in labels for one in selector.get("matchExpressions", []))


class Schemas(unittest.TestCase):
    def test_every_object_is_valid_strictly(self):
        for name, stream in both():
            things = documents(stream)
            ours = [thing for thing in things if "monitoring.coreos.com" in thing["apiVersion"]]
            theirs = [thing for thing in things if thing not in ours]
            with self.subTest(name):
                self.assertEqual(len(ours), 2, "a monitor and the rules")
                for thing in ours:
                    jsonschema.validate(thing, definitions()[(thing["apiVersion"], thing["kind"])])
                for release in RELEASES:
                    argv = ["--strict", "--quiet", "-k", release, "/dev/stdin"]
                    run("kubernetes-validate", *argv, stdin=yaml.safe_dump_all(theirs))

    def test_a_typo_is_refused(self):
        stream = built("standalone")
        things = documents(stream.replace("readOnlyRootFilesystem", "readOnlyRootFileSystem"))
        stream = yaml.safe_dump_all(thing for thing in things if "monitoring" not in thing["apiVersion"])
        said = refusal("kubernetes-validate", "--strict", "-k", RELEASES[0], "/dev/stdin", stdin=stream)
        self.assertIn("readOnlyRootFileSystem", said)
        monitor = next(t for t in documents(built("standalone")) if t["kind"] == "ServiceMonitor")
        monitor["spec"]["endpoints"][0]["intervall"] = "15s"
        with self.assertRaisesRegex(jsonschema.ValidationError, "intervall"):
            jsonschema.validate(monitor, definitions()[(monitor["apiVersion"], monitor["kind"])])

    def test_the_chart_refuses_values_that_it_does_not_know(self):
        run("helm", "lint", "--strict", CHART)
        for value in ("mod=agent", "mode=agents", "resources.limit.memory=1Gi", "replicas=-1", "image.tag=1", "monitor.interval=often"):
            with self.subTest(value):
                refusal("helm", "template", "laghound", str(CHART), "--kube-version", RELEASES[0], "--set", value)

    def test_every_value_has_a_place_in_the_schema(self):
        schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
        values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
        self.assertEqual(set(values), set(schema["properties"]) - {"global"})


class Wiring(unittest.TestCase):
    def check(self, name, things):
        """Everything that names something else names something that is there."""
        pods = [pod for pod in map(template, things) if pod]
        names = {(thing["kind"], thing["metadata"]["name"]) for thing in things}
        labels = [pod["metadata"]["labels"] for pod in pods]
        ports = {p["name"] for pod in pods for c in containers(pod) for p in c.get("ports", [])}
        for thing in things:
            spec, kind = thing.get("spec", {}), thing["kind"]
            with self.subTest(name, kind=kind, name=thing["metadata"]["name"]):
                if pod := template(thing):
                    self.assertTrue(fits(spec["selector"], pod["metadata"]["labels"]))
                    self.check_pod(pod, names)
                if kind == "Service":
                    chosen = [p for p, l in zip(pods, labels) if fits({"matchLabels": spec["selector"]}, l)]
                    self.assertEqual(len(chosen), 1)
                    there = {p["name"] for c in containers(chosen[0]) for p in c["ports"]}
                    self.assertLessEqual({port["targetPort"] for port in spec["ports"]}, there)
                if kind in ("PodDisruptionBudget", "PodMonitor"):
                    self.assertTrue(any(fits(spec["selector"], l) for l in labels))
                if kind == "NetworkPolicy":
                    self.assertTrue(any(fits(spec["podSelector"], l) for l in labels))
                    self.assertLessEqual({p["port"] for rule in spec["ingress"] for p in rule["ports"]}, ports)
                if kind == "ServiceMonitor":
                    services = [t for t in things if t["kind"] == "Service"]
                    chosen = [s for s in services if fits(spec["selector"], s["metadata"]["labels"])]
                    self.assertEqual(len(chosen), 1)
                    self.assertEqual(chosen[0]["metadata"]["labels"][spec["jobLabel"]], "laghound")
                    self.assertIn(spec["endpoints"][0]["port"], {p["name"] for p in chosen[0]["spec"]["ports"]})

    def check_pod(self, pod, names):
        """A pod that asks for nothing that is not there, and for no more rights than it needs."""
        spec = pod["spec"]
        self.assertIn(("ServiceAccount", spec["serviceAccountName"]), names)
        self.assertIs(spec["automountServiceAccountToken"], False)
        volumes = {volume["name"] for volume in spec["volumes"]}
        for volume in spec["volumes"]:
            self.assertIn(("ConfigMap", volume["configMap"]["name"]), names)
        self.assertTrue(spec["securityContext"]["runAsNonRoot"])
        for container in containers(pod):
            self.assertRegex(container["image"], r":[\w.]+$")
            self.assertIs(container["securityContext"]["readOnlyRootFilesystem"], True)
            self.assertIs(container["securityContext"]["allowPrivilegeEscalation"], False)
            self.assertEqual(container["securityContext"]["capabilities"], {"drop": ["ALL"]})
            self.assertLessEqual({mount["name"] for mount in container["volumeMounts"]}, volumes)
            ports = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe in container:
                    self.assertIn(container[probe]["httpGet"]["port"], ports)

    def test_every_object_finds_the_others(self):
        for name, stream in both():
            self.check(name, documents(stream))

    def test_the_settings_are_taken_by_laghound(self):
        for name, stream in both():
            for thing in documents(stream):
                if text := thing.get("data", {}).get("laghound.yaml"):
                    with self.subTest(name):
                        run("laghound", "check-config", "/dev/stdin", stdin=text)

    def test_the_node_by_node_pod_is_that_of_the_deployment(self):
        pods = [next(t for t in documents(built(mode)) if template(t) and t["metadata"]["name"] == "laghound") for mode in ("standalone", "agent")]
        self.assertEqual(template(pods[0]), template(pods[1]))


# What helm says about itself, and how each of the two makes pods start anew when a ConfigMap changes.
HELM_LABELS = ("app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart")
HASH = re.compile(r"-[a-z0-9]{10}$")


def plain(thing):
    """An object without what is particular to the tool that made it."""
    thing = copy.deepcopy(thing)

    def walk(node):
        if isinstance(node, list):
            for one in node:
                walk(one)
        elif isinstance(node, dict):
            for label in HELM_LABELS:
                node.pop(label, None)
            if "configMap" in node:
                node["configMap"]["name"] = HASH.sub("", node["configMap"]["name"])
            for one in node.values():
                walk(one)

    walk(thing)
    if thing["kind"] == "ConfigMap":
        thing["metadata"]["name"] = HASH.sub("", thing["metadata"]["name"])
        thing["data"] = {name: yaml.safe_load(text) for name, text in thing["data"].items()}
    if pod := template(thing):
        notes = pod["metadata"].pop("annotations", {})
        assert all(key.startswith("checksum/") for key in notes), notes
        # The order of volumes says nothing.
        pod["spec"]["volumes"].sort(key=lambda volume: volume["name"])
    return thing


class Same(unittest.TestCase):
    maxDiff = None

    def test_the_chart_renders_the_objects_of_the_overlays(self):
        for mode in MODES:
            ours = {(t["kind"], t["metadata"]["name"]): t for t in map(plain, documents(built(mode)))}
            theirs = {(t["kind"], t["metadata"]["name"]): t for t in map(plain, documents(rendered(mode)))}
            self.assertEqual(set(ours), set(theirs))
            for key, thing in ours.items():
                with self.subTest(mode, object=key):
                    self.assertEqual(thing, theirs[key])

    def test_what_is_said_twice_is_said_alike(self):
        for path, content in derive.derived().items():
            with self.subTest(path.relative_to(DEPLOY)):
                self.assertEqual(path.read_text(encoding="utf-8"), content, "run tests/deploy/derive.py")

    def test_the_images_have_the_version_of_the_program(self):
        version = run("laghound", "--version").split()[1]
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
        self.assertEqual(chart["appVersion"], version)
        for mode in MODES:
            self.assertIn(f"image: laghound:{version}", built(mode))


if __name__ == "__main__":
    unittest.main()
