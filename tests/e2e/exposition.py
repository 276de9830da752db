"""Reads a `/metrics` page as Prometheus does, and says which of laghound's promises it breaks.

A reader of its own, written from the format's description and the contract, so that a mistake in
laghound's writer is not repeated here. It covers text format 0.0.4; OpenMetrics is left to
Prometheus itself, which scrapes it for the whole test.
It does NOT know which suspect is the right one.
"""

import math
import re
from dataclasses import dataclass, field

SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
# Suffixes under which the samples of one family appear.
SUFFIXES = ("_bucket", "_sum", "_count")


@dataclass
class Page:
    """One scrape."""

    samples: dict = field(default_factory=dict)
    types: dict = field(default_factory=dict)
    helps: dict = field(default_factory=dict)
    broken: list = field(default_factory=list)

    def sum(self, name):
        """All series of a name added up; 0 without any."""
        return math.fsum(v for (n, _), v in self.samples.items() if n == name)

    def series(self, name):
        """The series of a name: (labels, value) each."""
        return [(dict(labels), v) for (n, labels), v in self.samples.items() if n == name]

    def family(self, name):
        """The family that a sample's name belongs to."""
        for suffix in SUFFIXES:
            base = name.removesuffix(suffix)
            if base != name and self.types.get(base) in ("histogram", "summary"):
                return base
        return name


def unescaped(value):
    """A label's value as it was before it was written."""
    return re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), value)


def labels_of(text, page):
    """The labels between the braces, sorted by name."""
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        if not match or match[1] in labels:
            page.broken.append(f"labels: {text!r}")
            break
        labels[match[1]] = unescaped(match[2])
        at = match.end()
    return tuple(sorted(labels.items()))


def comment(line, page):
    """Takes in a HELP or TYPE line; each may be said once."""
    kind, name, rest = (line[2:].split(" ", 2) + ["", ""])[:3]
    book = {"HELP": page.helps, "TYPE": page.types}.get(kind)
    if book is None:
        return
    if name in book:
        page.broken.append(f"{kind} of {name} said twice")
    book[name] = rest


def read(text):
    """A page; what is wrong with its form is in `broken`."""
    page = Page()
    for line in text.split("\n"):
        if line.startswith("# "):
            comment(line, page)
        elif line:
            match = SAMPLE.match(line)
            if not match:
                page.broken.append(f"line: {line!r}")
                continue
            key = (match[1], labels_of(match[2] or "", page))
            if key in page.samples:
                page.broken.append(f"twice the same series: {line!r}")
            page.samples[key] = float(match[3])
    families = {page.family(name) for name, _ in page.samples}
    page.broken += [f"no HELP: {name}" for name in sorted(families - page.helps.keys())]
    page.broken += [f"no TYPE: {name}" for name in sorted(families - page.types.keys())]
    return page


def accounting(page):
    """accepted = analyzed + dropped + pending; what is wrong, or None."""
    accepted = page.sum("laghound_receiver_accepted_spans_total")
    analyzed = page.sum("laghound_spans_analyzed_total")
    dropped = page.sum("laghound_spans_dropped_total")
    pending = page.sum("laghound_pending_spans")
    if accepted == analyzed + dropped + pending:
        return None
    return f"accepted {accepted:.0f}, analyzed {analyzed:.0f}, dropped {dropped:.0f}, pending {pending:.0f}"


def went_back(before, after):
    """The first counter that is lower in the later page, or None."""
    for key, value in after.samples.items():
        family = after.family(key[0])
        counts = after.types.get(family) == "counter" or key[0] != family and not key[0].endswith("_sum")
        if counts and value < before.samples.get(key, value):
            return f"{key} from {before.samples[key]} to {value}"
    return None


def suspects(page):
    """(score, service, kind) of each suspect, the highest first, ties by name."""
    rows = page.series("laghound_suspect_score")
    rows = [(score, row["service_name"], row["suspect_kind"]) for row, score in rows]
    return sorted(rows, key=lambda row: (-row[0], row[1:]))


def verdict(page):
    """What is wrong between the scores and their explanations, or None."""
    scores = {(row["service_name"], row["suspect_kind"]): v for row, v in page.series("laghound_suspect_score")}
    infos = {(row["service_name"], row["suspect_kind"]): v for row, v in page.series("laghound_suspect_info")}
    if scores.keys() != infos.keys():
        return f"scores of {sorted(scores)}, infos of {sorted(infos)}"
    if any(value != 1 for value in infos.values()):
        return f"an info that is not 1: {infos}"
    total = math.fsum(scores.values())
    if total > 1 + 1e-9 or not all(0 <= value <= 1 for value in scores.values()):
        return f"scores that are no shares of one whole: {scores}"
    return None
