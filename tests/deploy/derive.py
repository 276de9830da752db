"""Writes the files of `deploy/` that say again what another one says, in the form that its reader wants.

    python tests/deploy/derive.py            # after a change of the first one

A kustomization may not reach outside its folder and a chart has no other files than its own, so the
Collector's configurations and the rules are in three places. One of them is written by hand; a test
holds the others to it.
"""

import yaml

from tools import DEPLOY

# The configuration of each mode; standalone has no Collector.
MODES = ("sidecar", "gateway", "agent")


class Plain(yaml.SafeDumper):
    """Without anchors, and with lines kept as lines."""

    def ignore_aliases(self, data):
        """Every value stands where it is used."""
        return True


def text(dumper, value):
    """A string; one of several lines as such."""
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


Plain.add_representer(str, text)


def rule_object(rules):
    """The rules as the Prometheus operator takes them."""
    thing = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "laghound", "labels": {"app.kubernetes.io/name": "laghound"}},
        "spec": yaml.safe_load(rules),
    }
    said = yaml.dump(thing, Dumper=Plain, sort_keys=False, width=1000, allow_unicode=True)
    return f"# Made from deploy/prometheus/laghound.rules.yml by tests/deploy/derive.py.\n{said}"


def derived():
    """What every such file must hold, by path."""
    rules = (DEPLOY / "prometheus/laghound.rules.yml").read_text(encoding="utf-8")
    files = {
        DEPLOY / "kubernetes/components/rules/prometheusrule.yaml": rule_object(rules),
        DEPLOY / "helm/laghound/files/laghound.rules.yml": rules,
    }
    for mode in MODES:
        config = (DEPLOY / f"collector/{mode}.yaml").read_text(encoding="utf-8")
        files[DEPLOY / f"kubernetes/overlays/{mode}/collector-config.yaml"] = config
        files[DEPLOY / f"helm/laghound/files/{mode}.yaml"] = config
    return files


if __name__ == "__main__":
    for path, content in derived().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
