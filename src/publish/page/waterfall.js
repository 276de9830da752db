// Spans in time. Of a comparison each span has two lanes, the normal one above; the parts that the request waited
// for are solid, and where a span added to the difference they are marked.

import {h, s} from "./dom.js";
import * as f from "./format.js";
import {name} from "./parts.js";
import {ticks} from "./timeline.js";

const FIRST = 60;
const MORE = 500;

/** What a row adds to the critical path. */
const added = (row) => row.spiked_critical_seconds - row.baseline_critical_seconds;

/** The rows that tell most, in their order; ancestors come along so that the tree stays one. */
function chosen(rows, limit) {
  if (rows.length <= limit) return rows;
  const weight = (row) => Math.max(Math.abs(added(row)), 0.1 * row.spiked_critical_seconds);
  const order = rows.map((_, at) => at).sort((a, b) => weight(rows[b]) - weight(rows[a]) || a - b);
  const keep = new Set();
  const stack = [];
  const above = rows.map((row, at) => {
    while (stack.length && rows[stack.at(-1)].depth >= row.depth) stack.pop();
    const parent = stack.at(-1);
    stack.push(at);
    return parent;
  });
  for (const at of order) {
    if (keep.size >= limit) break;
    for (let up = at; up !== undefined && !keep.has(up); up = above[up]) keep.add(up);
  }
  return rows.filter((_, at) => keep.has(at));
}

/** The waterfall of a pair of traces, as compare gives it. */
export function pairWaterfall(doc) {
  const noise = Math.max(0.0005, Math.abs(doc.delta_seconds) * 0.02);
  const end = Math.max(0, ...doc.spans.flatMap((row) => [
    row.match !== "added" ? row.baseline_offset_seconds + row.baseline_seconds : 0,
    row.match !== "removed" ? row.spiked_offset_seconds + row.spiked_seconds : 0]));
  const draw = (row) => {
    const lanes = [];
    const hot = added(row) > noise;
    if (row.match !== "added") lanes.push(lane(row.baseline_offset_seconds, row.baseline_seconds, row.baseline_critical_path, end, "normal"));
    if (row.match !== "removed") lanes.push(lane(row.spiked_offset_seconds, row.spiked_seconds, row.spiked_critical_path, end, hot || row.match === "added" ? "hot" : "now"));
    const match = {added: "only in the slow trace", removed: "only in the normal trace", matched: ""}[row.match];
    const change = f.change(added(row));
    const lines = [`${f.safe(row.operation).slice(0, 200)} of ${f.safe(row.service).slice(0, 200)}${match ? `: ${match}` : ""}`,
      row.match !== "added" ? `normal ${f.duration(row.baseline_seconds)}, of it ${f.duration(row.baseline_critical_seconds)} waited for` : "",
      row.match !== "removed" ? `slow ${f.duration(row.spiked_seconds)}, of it ${f.duration(row.spiked_critical_seconds)} waited for` : ""].filter(Boolean);
    return {row, lanes, tip: lines.join("\n"), value: Math.abs(added(row)) > noise ? change : "", hot, match};
  };
  return frame(doc.spans, end, draw, "What each lane shows", [
    ["lane-normal", "normal trace"], ["lane-now", "slow trace"], ["lane-thin", "thin: nobody waited for it"], ["lane-hot", "longer than normal, and waited for"]]);
}

/** The waterfall of one trace. */
export function traceWaterfall(doc) {
  const start = Math.min(0, ...doc.spans.map((span) => span.offset_seconds));
  const end = Math.max(...doc.spans.map((span) => span.offset_seconds + span.duration_seconds)) - start;
  const rows = doc.spans.map((span) => ({...span, spiked_critical_seconds: span.critical_seconds, baseline_critical_seconds: 0}));
  const draw = (row) => ({
    row,
    lanes: [lane(row.offset_seconds - start, row.duration_seconds, row.critical_path.map(([from, to]) => [from - start, to - start]), end, row.failed ? "failed" : "now")],
    tip: [`${f.safe(row.operation).slice(0, 200)} of ${f.safe(row.service).slice(0, 200)}, ${f.spanKind(row.span_kind)}${row.failed ? ", failed" : ""}`,
      `took ${f.duration(row.duration_seconds)}, own time ${f.duration(row.self_seconds)}, waited for ${f.duration(row.critical_seconds)}`,
      row.peer ? `calls ${f.short(row.peer)}` : "",
      ...row.attributes.map(([key, value]) => `${f.short(key, 60)} = ${f.short(value, 100)}`)].filter(Boolean).join("\n"),
    value: f.duration(row.duration_seconds),
    hot: false,
    match: row.failed ? "failed" : "",
  });
  return frame(rows, end, draw, "What the bars show", [["lane-now", "waited for"], ["lane-thin", "thin: nobody waited for it"], ["lane-failed", "failed"]]);
}

const share = (value, end) => `${(end > 0 ? (value / end) * 100 : 0).toFixed(3)}%`;

function lane(offset, length, path, end, kind) {
  const svg = s("svg", {class: `lane lane-${kind}`, "aria-hidden": "true"});
  svg.append(s("rect", {class: "whole", x: share(offset, end), width: share(length, end), y: "35%", height: "30%"}));
  for (const [from, to] of path) svg.append(s("rect", {class: "path", x: share(from, end), width: share(to - from, end), y: "8%", height: "84%", rx: 1}));
  return svg;
}

function axis(end) {
  const svg = s("svg", {class: "time", "aria-hidden": "true"});
  for (const tick of [0, ...ticks(end, 4)]) {
    const last = tick / end > 0.93;
    svg.append(s("text", {class: `tick ${last ? "end" : tick ? "middle" : ""}`, x: share(tick, end), y: 12}, f.duration(tick)),
      s("line", {class: "grid", x1: share(tick, end), x2: share(tick, end), y1: 16, y2: 22}));
  }
  return svg;
}

function frame(rows, end, draw, legendTitle, legend) {
  const list = h("ol", {class: "waterfall", "aria-label": `${f.count(rows.length, "span")} over ${f.duration(end)}`});
  const more = h("p", {class: "note"});
  const showing = (limit) => {
    const some = chosen(rows, limit);
    list.replaceChildren(...some.map((row) => line(draw(row))));
    more.replaceChildren();
    if (some.length < rows.length) {
      more.append(`${f.number(some.length)} of ${f.count(rows.length, "span")}, those that tell most. `);
      if (limit < MORE) more.append(h("button", {type: "button", class: "quiet", onclick: () => showing(MORE)}, rows.length > MORE ? `Show ${MORE}` : "Show all"));
    }
  };
  showing(FIRST);
  return h("div", {class: "chart falls"},
    h("ul", {class: "legend", "aria-label": legendTitle}, legend.map(([kind, text]) => h("li", {}, h("span", {class: `swatch ${kind}`, "aria-hidden": "true"}), text))),
    h("div", {class: "fall head", "aria-hidden": "true"}, h("div", {class: "label"}), h("div", {class: "lanes"}, axis(end)), h("div", {class: "value"})),
    list, more);
}

function line({row, lanes, tip, value, hot, match}) {
  const depth = Math.min(row.depth, 14);
  return h("li", {class: `fall ${hot ? "hot" : ""} ${row.match || ""}`, tabindex: "0", "data-tip": tip},
    h("div", {class: "label", vars: {"--depth": String(depth)}}, name(row.operation, 60), h("span", {class: "of"}, " ", h("bdi", {}, f.short(row.service, 40))),
      match ? h("span", {class: "badge"}, match) : null),
    h("div", {class: "lanes"}, lanes),
    h("div", {class: "value mono"}, value));
}
