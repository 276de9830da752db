// Is laghound itself well: what comes in, what is dropped and why, how near the limits are.

import {get} from "./api.js";
import {fill, fillIfNew, h} from "./dom.js";
import * as f from "./format.js";
import * as part from "./parts.js";

export function health(root, params, {live}) {
  const body = h("div");
  let busy = false;
  fill(root, h("h1", {tabindex: "-1"}, "Health"), h("p", {class: "lead"}, "Every span that is accepted is analyzed, dropped for a reason, or on its way. What is refused was answered as such, so that senders know."), body);
  const load = async () => {
    if (busy) return;
    busy = true;
    try {
      const doc = await get("health");
      fillIfNew(body, [doc, Math.round(live.rate((now) => now.intake.accepted_spans) || 0)], () => show(doc, live));
    } catch (error) {
      if (!body.childNodes.length) fill(body, part.failure(error, load));
    }
    busy = false;
  };
  load();
  return {title: "health", update: () => load()};
}

function show(doc, live) {
  const {intake} = doc;
  const accepted = live.rate((now) => now.intake.accepted_spans);
  const all = Math.max(1, intake.accepted_spans);
  const piece = (kind, title, value, tip) => ({kind, title, value, tip});
  const pieces = [
    piece("s-normal", "analyzed", intake.analyzed_spans, "Spans analyzed with their trace (laghound_spans_analyzed_total)."),
    piece("s-pending", "on their way", intake.pending_spans, "Spans of traces that are still being put together (laghound_pending_spans)."),
    piece("s-dropped", "dropped", intake.dropped_spans, "Spans accepted but not analyzed, by reason below (laghound_spans_dropped_total).")];
  return [
    doc.ready ? null : h("div", {class: "notice failed"}, h("p", {}, "Not ready: ", f.safe(doc.missing.join("; ")))),
    h("section", {}, part.heading("Intake"),
      h("dl", {class: "facts"},
        fact("coming in", f.rate(accepted, "spans"), "Spans accepted a second, over the last minute."),
        fact("accepted", f.count(intake.accepted_spans, "span"), "Since the process started, from all transports (laghound_receiver_accepted_spans_total)."),
        intake.accepted.map((one) => fact(one.transport, f.number(one.count), `Spans accepted over OTLP/${one.transport}.`)),
        fact("open traces", f.number(intake.pending_traces), "Traces being put together (laghound_pending_traces)."),
        fact("clock skew", f.count(intake.skewed_spans, "span"), "Spans moved in the analysis because their host's clock disagreed (laghound_skewed_spans_total).")),
      h("div", {class: "stack", role: "img", "aria-label": pieces.map((one) => `${one.title} ${f.percent(one.value / all)}`).join(", ")},
        pieces.map((one) => h("span", {class: one.kind, vars: {"--share": `${(one.value / all) * 100}%`}}))),
      h("ul", {class: "legend"}, pieces.map((one) => h("li", {}, h("span", {class: `swatch ${one.kind}`, "aria-hidden": "true"}), `${one.title} `, part.figure(f.number(one.value), one.tip), h("span", {class: "faint"}, ` ${f.percent(one.value / all)}`)))),
      intake.balanced ? null : h("p", {class: "notice failed"}, "The account does not add up: accepted is not analyzed + dropped + pending. That is a fault of laghound's own.")),
    h("section", {}, part.heading("Dropped and refused", "What did not get into a verdict, since the process started."),
      lost(intake)),
    h("section", {}, part.heading("Room"), room(doc)),
    h("section", {}, part.heading("Traces"), closed(intake)),
    h("section", {}, part.heading("Knowledge"),
      h("dl", {class: "facts"},
        fact("operations", f.number(doc.operations.known), "Operations (service, span name, kind) with spans in the last minutes."),
        fact("learned", f.number(doc.operations.learned), "Operations with a baseline."),
        fact("beyond the limits", f.count(doc.operations.overflow_spans, "span"), "Spans counted under __overflow__, because there were more names than names.* allows."),
        fact("last saved", doc.snapshot_at ? `${f.moment(doc.snapshot_at, doc.now)} UTC` : "never", "When what was learned was last saved to disk (laghound_snapshot_last_success_timestamp_seconds)."))),
  ];
}

const fact = (title, text, tip) => h("div", {}, h("dt", {}, title), h("dd", {}, part.figure(text, tip)));

function lost(intake) {
  const row = (what) => (one) => ({what, ...one});
  const rows = [...intake.dropped.map(row("dropped")), ...intake.refused.map(row("refused")), ...intake.failed_requests.map(row("failed request"))].filter((one) => one.count > 0);
  if (!rows.length) return part.note("Nothing.");
  return part.table([
    {title: "reason", cell: (one) => h("span", {class: "mono"}, one.reason)},
    {title: "what", cell: (one) => `${one.what}${one.transport ? `, ${one.transport}` : ""}`},
    {title: "count", tip: "Since the process started; spans, or requests where whole requests failed.", align: "end", cell: (one) => f.number(one.count)},
    {title: "meaning", cell: (one) => one.meaning || ""},
  ], rows, {caption: "Dropped and refused", heads: true, class: "cards"});
}

function room(doc) {
  const meter = (title, value, most, tip) => h("div", {class: "room"}, h("span", {}, title), h("meter", {min: "0", max: String(Math.max(1, most)), high: String(most * 0.8), optimum: "0", value: String(value), "aria-label": title}), part.figure(`${f.bytes(value)} of ${f.bytes(most)}`, tip));
  const parts = doc.memory.parts;
  const used = parts.reduce((sum, one) => sum + one.bytes, 0);
  return [doc.memory.limit_bytes ? meter("memory", used, doc.memory.limit_bytes, "Bytes in use of those that may be (laghound_memory_bytes, laghound_memory_limit_bytes).") : null,
    h("ul", {class: "legend"}, parts.map((one) => h("li", {}, `${one.part.replace(/_/g, " ")} `, part.figure(f.bytes(one.bytes), `laghound_memory_bytes{part="${one.part}"}`)))),
    meter("kept traces", doc.evidence.bytes, doc.evidence.limit_bytes, "Bytes of the traces kept to be looked at, of evidence.max_trace_memory."),
    doc.evidence.turned_away_traces ? part.note(`${f.count(doc.evidence.turned_away_traces, "trace")} found no room.`) : null];
}

function closed(intake) {
  const rows = intake.closed_traces.filter((one) => one.count > 0);
  if (!rows.length) return part.note("None has been closed yet.");
  return part.table([
    {title: "closed by", cell: (one) => h("span", {class: "mono"}, one.reason)},
    {title: "traces", tip: "Since the process started (laghound_traces_closed_total).", align: "end", cell: (one) => f.number(one.count)},
    {title: "meaning", cell: (one) => one.meaning || ""},
  ], rows, {caption: "Why traces were closed", heads: true, class: "cards"});
}
