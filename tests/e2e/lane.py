"""One run of the whole story over one OTLP protocol: learn, slow down, verdict, recover, stop.

A lane owns a laghound, a Prometheus, a shop and its customers, shares nothing with other lanes,
and so may run beside them. Every stage ends in checks with figures; a failed check is written
down and the story goes on as far as it can, so that one run tells all that is wrong.
"""

import math
import time
from dataclasses import dataclass, field

import exposition
from peers import GRACE_SECONDS, Laghound, Prometheus, promtool_findings
from shop.shop import Shop
from story import Story

# A service with a few requests a second is judged after about one minute; this is when it must be.
LEARN_LIMIT_S = 90
# The slowdown never comes sooner, so that quiet is watched with a baseline in force.
LEARN_LEAST_S = 75
# The promise is 30 s from the span to the verdict; the SDK's flush (5 s) comes before it, and the
# rest is for a machine that is busy with the other lane.
VERDICT_LIMIT_S = 45
# For so long the verdict must stay right.
HOLD_S = 15
# The slow spans leave the window, then the incident waits for quiet slices.
RECOVER_LIMIT_S = 90
# Spans still pending when the shop has closed: the longest grace, and some.
DRAIN_LIMIT_S = 40
PEER_STOP_S = 30
POLL_S = 0.5
REQUESTS_PER_SECOND = 8


@dataclass(frozen=True)
class Plan:
    """What one lane does, and what must come of it."""

    name: str
    protocol: str
    service: str
    knob: str
    milliseconds: int
    suspect: tuple


@dataclass
class Watch:
    """What every poll adds to; promises broken are kept with their first occasion."""

    polls: int = 0
    broken: dict = field(default_factory=dict)
    last: exposition.Page | None = None

    def note(self, promise, wrong):
        """`wrong` says what is; None or empty if nothing."""
        if wrong:
            first, times = self.broken.get(promise, (wrong, 0))
            self.broken[promise] = (first, times + 1)


class Lane(Story):
    """The story, stage by stage."""

    def __init__(self, plan, binary, folder):
        super().__init__(plan.name, binary, folder)
        self.plan = plan
        self.watch = Watch()

    def tell(self):
        """All stages."""
        self.start()
        self.learn()
        self.slow_down()
        self.recover()
        self.close()

    def start(self):
        """Everything up, customers coming."""
        self.laghound = Laghound(self.binary, self.folder)
        self.laghound.probe("/livez")
        self.laghound.probe("/readyz")
        self.lint("before the first span")
        self.prometheus = Prometheus([self.laghound.addresses["admin"]], self.folder)
        self.scraped_since = time.time()
        self.shop = Shop(self.folder, self.plan.protocol, self.laghound.endpoint(self.plan.protocol))
        self.shop.start()
        self.shop.open_doors(REQUESTS_PER_SECOND, seconds=600)
        addresses = " ".join(f"{what}={addr}" for what, addr in self.laghound.addresses.items())
        self.check("serve says where it listens", True, addresses)

    def poll(self):
        """One look at everything; the page, and its suspects."""
        time.sleep(POLL_S)
        page = exposition.read(self.laghound.metrics())
        watch = self.watch
        watch.polls += 1
        watch.note("form", "; ".join(page.broken))
        watch.note("accounting", exposition.accounting(page))
        watch.note("verdict", exposition.verdict(page))
        watch.note("counters", watch.last and exposition.went_back(watch.last, page))
        watch.note("scrape", self.prometheus.scrape_error())
        watch.last = page
        return page, exposition.suspects(page)

    def lint(self, when):
        """`promtool` on the page as it is now."""
        findings = promtool_findings(self.laghound.metrics())
        self.check(f"promtool check metrics, {when}", not findings, findings or "no finding")

    def learn(self):
        """Healthy traffic until there is a threshold for the service to come, and nobody suspected."""
        begin = time.monotonic()
        learned, named = None, set()
        while (passed := time.monotonic() - begin) < LEARN_LEAST_S or learned is None and passed < LEARN_LIMIT_S:
            page, suspects = self.poll()
            named |= {row[1:] for row in suspects}
            thresholds = page.series("laghound_self_time_threshold_seconds")
            if learned is None and any(row["service_name"] == self.plan.service for row, _ in thresholds):
                learned = time.monotonic() - begin
        figure = "no threshold yet" if learned is None else f"{learned:.1f} s"
        self.check(f"{self.plan.service} learned within {LEARN_LIMIT_S} s", learned is not None, figure)
        self.check("nobody suspected in healthy traffic", not named, f"{passed:.0f} s, {sorted(named) or 'nobody'}")

    def slow_down(self):
        """The slowdown by hand, and the verdict on it."""
        plan = self.plan
        self.shop.slow(plan.service, plan.knob, plan.milliseconds)
        begin = time.monotonic()
        first, wrong, after = None, [], 0.0
        while after < VERDICT_LIMIT_S if first is None else after < first + HOLD_S:
            page, suspects = self.poll()
            after = time.monotonic() - begin
            if suspects and suspects[0][1:] != plan.suspect:
                wrong.append(suspects)
            elif suspects and first is None:
                first = after
            elif first is not None and not suspects:
                wrong.append("verdict gone while it was still slow")
        what = f"{plan.suspect[1]} {plan.suspect[0]} named within {VERDICT_LIMIT_S} s of +{plan.milliseconds} ms"
        self.check(what, first is not None, "not named" if first is None else f"{first:.1f} s")
        self.check("and nobody else above it", not wrong, wrong[0] if wrong else suspects_text(suspects))
        self.why(page)
        self.seen_by_prometheus()
        self.lint("with a suspect")

    def why(self, page):
        """The explanation that goes with the score."""
        rows = [row for row, _ in page.series("laghound_suspect_info")]
        rows = [row for row in rows if (row["service_name"], row["suspect_kind"]) == self.plan.suspect]
        figure = " ".join(f"{k}={v!r}" for k, v in sorted(rows[0].items())) if rows else "none"
        self.check("its reason is self_time", rows and rows[0]["reason"] == "self_time", figure)

    def seen_by_prometheus(self):
        """The verdict as an alert rule would see it, and a trace to look at."""
        rows = self.prometheus.query("topk(1, laghound_suspect_score)")
        named = [(row["service_name"], row["suspect_kind"]) for row, _ in rows]
        self.check("Prometheus answers with the same verdict", named == [self.plan.suspect], rows)
        found = self.prometheus.exemplars('{__name__=~"laghound_.+"}', 120, time.time())
        traces = {exemplar["labels"].get("trace_id", "") for exemplar in found}
        good = traces and all(len(trace) == 32 for trace in traces)
        self.check("Prometheus keeps exemplars with trace ids", good, f"{len(traces)} traces")

    def recover(self):
        """The slowdown taken back; the suspect goes, everywhere."""
        self.shop.slow(self.plan.service, self.plan.knob, 0)
        begin = time.monotonic()
        suspects, after = [None], 0.0
        while suspects and after < RECOVER_LIMIT_S:
            _, suspects = self.poll()
            after = time.monotonic() - begin
        figure = suspects_text(suspects) if suspects else f"{after:.1f} s"
        self.check(f"nobody suspected {RECOVER_LIMIT_S} s after recovery", not suspects, figure)
        time.sleep(3)
        rows = self.prometheus.query("laghound_suspect_score")
        self.check("nor in Prometheus", not rows, f"{len(rows)} series")
        self.logged()
        self.lint("after recovery")

    def logged(self):
        """The same story in the log: it opened once, with the right name, and it closed."""
        fields = [event.get("fields", event) for event in self.laghound.process.events()]
        told = [(f.get("event"), f.get("suspect"), f.get("suspect_kind")) for f in fields]
        told = [row for row in told if row[0] in ("incident_opened", "suspect_changed", "incident_closed")]
        wanted = [(event, *self.plan.suspect) for event in ("incident_opened", "incident_closed")]
        self.check("the log says the same", told == wanted, told)

    def close(self):
        """The end: every span accounted for, every promise kept, and a clean exit."""
        load = self.shop.close_doors()
        self.check("every customer was served", load["ok"] == load["sent"] > 0 and not load["skipped"], load)
        self.count_spans(sum(self.shop.stop().values()))
        self.promises()
        self.prometheus_looks_back()
        self.prometheus.process.stop(PEER_STOP_S)
        code, took = self.laghound.process.stop(GRACE_SECONDS)
        self.check(f"SIGTERM: exit code 0 within {GRACE_SECONDS} s", code == 0, f"exit {code} in {took:.2f} s")

    def count_spans(self, ended):
        """What the shop's own processes counted against what laghound did."""
        begin = time.monotonic()
        pending = math.inf
        while pending and time.monotonic() - begin < DRAIN_LIMIT_S:
            page, _ = self.poll()
            pending = page.sum("laghound_pending_spans")
        accepted = page.sum("laghound_receiver_accepted_spans_total")
        figure = f"{ended} ended in the shop, {accepted:.0f} accepted"
        self.check("every span of the shop was accepted", accepted == ended > 0, figure)
        dropped = {row["reason"]: int(v) for row, v in page.series("laghound_spans_dropped_total") if v}
        analyzed = page.sum("laghound_spans_analyzed_total")
        figure = f"{analyzed:.0f} analyzed, dropped {dropped}, {pending:.0f} pending"
        self.check("and every one analyzed", analyzed == accepted, figure)

    def promises(self):
        """What had to hold at every poll."""
        texts = {
            "form": "/metrics is well-formed at every scrape",
            "accounting": "accepted = analyzed + dropped + pending at every scrape",
            "verdict": "scores and reasons agree at every scrape",
            "counters": "no counter ever goes back",
            "scrape": "Prometheus' lastError is empty at every poll",
        }
        for promise, text in texts.items():
            first, times = self.watch.broken.get(promise, ("", 0))
            figure = f"broken {times} times, first: {first}" if times else f"{self.watch.polls} polls"
            self.check(text, not times, figure)

    def prometheus_looks_back(self):
        """The whole test in Prometheus' own words."""
        seconds = time.time() - self.scraped_since
        over = f"[{math.floor(seconds)}s]"
        least = self.prometheus.scalar(f"min_over_time(up{over})")
        scrapes = self.prometheus.scalar(f"count_over_time(up{over})")
        # One scrape a second; the first comes at an offset, the last may be under way.
        enough = scrapes >= 0.95 * seconds - 3
        self.check("up == 1 throughout", least == 1 and enough, f"{scrapes:.0f} scrapes in {seconds:.0f} s")
        fewest = self.prometheus.scalar(f"min_over_time(scrape_samples_scraped{over})")
        most = self.prometheus.scalar(f"max_over_time(scrape_samples_scraped{over})")
        longest = self.prometheus.scalar(f"max_over_time(scrape_duration_seconds{over})")
        figure = f"{fewest:.0f} to {most:.0f} samples, longest scrape {longest * 1000:.1f} ms"
        self.check("every scrape brought samples", fewest > 0, figure)
        law = (
            "abs(sum(laghound_receiver_accepted_spans_total) - sum(laghound_spans_analyzed_total)"
            " - (sum(laghound_spans_dropped_total) or vector(0)) - sum(laghound_pending_spans))"
        )
        off = self.prometheus.scalar(f"max_over_time(({law})[{math.floor(seconds)}s:1s])")
        self.check("the accounting law at every second in Prometheus", off == 0, f"off by {off:.0f} at most")


def suspects_text(suspects):
    """Suspects for a figure."""
    return ", ".join(f"{service} ({kind}) {score:.2f}" for score, service, kind in suspects) or "nobody"
