// What made the second side slow: the answer of compare, for a pair of traces or for two populations.

import {h} from "./dom.js";
import * as f from "./format.js";
import * as part from "./parts.js";
import {pairWaterfall} from "./waterfall.js";

const VERDICTS = {
  root_cause: ["cause found", "hot"],
  no_difference: ["no difference", "calm"],
  faster: ["faster", "calm"],
  inconclusive: ["cannot be decided", "warn"],
};

export function comparison(doc, level = "h2") {
  const [word, kind] = VERDICTS[doc.verdict] || [doc.verdict, ""];
  const isPair = !doc.entries;
  return h("div", {class: "comparison"},
    h("p", {class: "eyebrow"}, h("span", {class: `badge ${kind}`}, word)),
    h("p", {class: "verdict small"}, part.sentence(doc.headline || "")),
    h("dl", {class: "facts"},
      side("normal", doc.baseline), side("slow", doc.spiked),
      fact("difference", f.change(doc.delta_seconds), isPair ? "The slow request's duration less the normal one's." : "Mean duration of a request on the slow side less that on the normal side."),
      fact("put on nobody", f.change(doc.unexplained_seconds), "The part of the difference that the evidence puts on nobody.")),
    doc.root_causes.length ? causes(doc) : null,
    gaps(doc, level),
    isPair ? [part.heading("In time", "Both requests on one scale, from their beginning; each span has the normal trace above and the slow one below.", level), pairWaterfall(doc)]
      : [part.heading("Entries compared", null, level), entries(doc), part.heading("Operations", "Mean times of a call on both sides.", level), operations(doc)],
    notes("Warnings", doc.warnings, level), notes("What to look at next", doc.next_steps, level));
}

const fact = (title, text, tip) => h("div", {}, h("dt", {}, title), h("dd", {}, part.figure(text, tip)));

function side(title, one) {
  const what = one.trace_id ? ["trace ", h("span", {class: "mono"}, one.trace_id.slice(0, 8)), `, ${f.count(one.spans, "span")}`] : `${f.count(one.traces, "trace")}, ${f.count(one.spans, "span")}`;
  return h("div", {}, h("dt", {}, title), h("dd", {}, part.figure(f.duration(one.duration_seconds), one.trace_id ? "Duration of the request's first span." : "Mean duration of a request."), h("span", {class: "note"}, " ", what)));
}

const causes = (doc) => part.table([
  {title: "cause", cell: (one) => [part.name(one.service, 60), " ", part.kindBadge(one.kind)]},
  {title: "share", tip: "Share of the difference; all causes and what is put on nobody add up to it.", align: "end", cell: (one) => part.share(one.share)},
  {title: "seconds", tip: "Seconds of the difference put on it; negative where it got faster.", align: "end", cell: (one) => f.change(one.excess_seconds)},
  {title: "operation", tip: "The operation that carries most of it.", cell: (one) => part.name(one.operation, 60)},
  {title: "own time", tip: "Self-time of a call of that operation: normal and slow.", align: "end", cell: (one) => `${f.duration(one.baseline_self_seconds)} → ${f.duration(one.spiked_self_seconds)}`},
  {title: "why", tip: "In which way it contributes.", cell: (one) => [f.reason(one.reason), one.pattern ? `, ${one.pattern}` : "", one.where ? [", on ", part.name(`${one.where.attribute}=${one.where.value}`, 60)] : ""]},
], doc.root_causes, {caption: "Causes of the difference", heads: true, class: "cards"});

/** Where in its own time the first cause lost it. */
function gaps(doc, level) {
  const found = doc.root_causes.filter((cause) => cause.event_gaps.length).slice(0, 3);
  if (!found.length) return null;
  const most = Math.max(...found.flatMap((cause) => cause.event_gaps.flatMap((gap) => [gap.baseline_seconds, gap.spiked_seconds])), 1e-9);
  const bar = (value, kind) => h("span", {class: `gap-bar ${kind}`, vars: {"--share": `${(value / most) * 100}%`}, "aria-hidden": "true"});
  return [part.heading("Where in its own time", "The stretches of the operation's own time that grew, named by what happened before and after.", level),
    found.map((cause) => h("div", {class: "gaps"}, h("p", {}, part.name(cause.operation, 60), " of ", part.name(cause.service, 60)),
      h("ol", {}, cause.event_gaps.map((gap) => h("li", {class: "gap"},
        h("span", {class: "gap-name"}, part.name(gap.from, 60), h("span", {"aria-hidden": "true"}, " → "), h("span", {class: "unseen"}, " to "), part.name(gap.to, 60)),
        h("span", {class: "gap-bars"}, bar(gap.baseline_seconds, "normal"), bar(gap.spiked_seconds, "hot")),
        part.figure(`${f.duration(gap.baseline_seconds)} → ${f.duration(gap.spiked_seconds)}`, "Length of this stretch in the normal and in the slow trace."))))))];
}

const entries = (doc) => part.table([
  {title: "entry", cell: (one) => part.name(`${one.operation} of ${one.service}`, 80)},
  {title: "traces", tip: "Requests on the normal and on the slow side.", align: "end", cell: (one) => `${f.number(one.baseline_traces)} / ${f.number(one.spiked_traces)}`},
  {title: "normal", tip: "Mean duration of a request on the normal side.", align: "end", cell: (one) => f.duration(one.baseline_seconds)},
  {title: "slow", tip: "Mean duration of a request on the slow side.", align: "end", cell: (one) => f.duration(one.spiked_seconds)},
  {title: "excess", tip: "By how much a request of the slow side took longer.", align: "end", cell: (one) => f.change(one.excess_seconds)},
], doc.entries, {caption: "Entry operations compared", heads: true, class: "cards"});

const operations = (doc) => part.table([
  {title: "operation", cell: (one) => [one.outside_normal ? "! " : "", part.name(one.operation, 60), h("span", {class: "faint"}, " ", h("bdi", {}, f.short(one.service, 40)))]},
  {title: "own, normal", tip: "Mean self-time of a call on the normal side.", align: "end", cell: (one) => f.duration(one.baseline_self_seconds)},
  {title: "own, slow", tip: "Mean self-time of a call on the slow side.", align: "end", cell: (one) => f.duration(one.spiked_self_seconds)},
  {title: "waited for, normal", tip: "Mean critical-path time of a call on the normal side.", align: "end", cell: (one) => f.duration(one.baseline_critical_seconds)},
  {title: "waited for, slow", tip: "Mean critical-path time of a call on the slow side.", align: "end", cell: (one) => f.duration(one.spiked_critical_seconds)},
], doc.spans.slice(0, 60), {caption: "Operations, those that changed most first", heads: true, class: "cards"});

const notes = (title, list, level) => (list.length ? [part.heading(title, null, level), h("ul", {class: "notes"}, list.map((text) => h("li", {}, part.sentence(text))))] : null);
