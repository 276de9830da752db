// Two distributions over each other on a logarithmic axis: what is normal, what was measured since, and the
// threshold above which a call counts as slow.

import {h, onWidth, s} from "./dom.js";
import * as f from "./format.js";

const HEIGHT = 176;
const PAD = {left: 12, right: 12, top: 22, bottom: 44};

const ends = (side) => side.buckets.flatMap(([low, high]) => [Math.max(low, 1e-7), high]);

export function distribution({baseline, recent, threshold_seconds: threshold}, title) {
  const all = [...ends(baseline), ...ends(recent)];
  if (!all.length) return h("p", {class: "note"}, "No call was measured.");
  const low = Math.min(...all, threshold || Infinity) / 1.15;
  const high = Math.max(...all, threshold || 0) * 1.15;
  const said = (what, side) => side.count
    ? `${what} ${f.count(side.count, "call")}: half below ${f.duration(side.quantiles["0.5"])}, 99 of 100 below ${f.duration(side.quantiles["0.99"])}`
    : `${what} no calls`;
  const label = `${title}. ${said("Normal:", baseline)}. ${said("Since:", recent)}.${threshold ? ` Slow above ${f.duration(threshold)}.` : ""}`;
  const plot = h("div", {class: "plot", role: "img", "aria-label": label});
  const box = h("div", {class: "chart distribution"}, plot, table(baseline, recent, threshold));
  onWidth(box, (width) => plot.replaceChildren(draw(baseline, recent, threshold, low, high, width)));
  return box;
}

function table(baseline, recent, threshold) {
  const row = (what, kind, side) => h("tr", {}, h("th", {scope: "row"}, h("span", {class: `swatch ${kind}`, "aria-hidden": "true"}), what),
    ["0.5", "0.9", "0.99"].map((q) => h("td", {class: "end"}, side.quantiles ? f.duration(side.quantiles[q]) : "–")), h("td", {class: "end"}, f.number(side.count)));
  const head = (text, tip) => h("th", {scope: "col", class: "end"}, h("span", {tabindex: "0", "data-tip": tip}, text));
  return h("table", {class: "quantiles"}, h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "self-time"),
    head("median", "Half of the calls took less self-time than this; read off the buckets, right to 6 %."),
    head("p90", "Nine of ten calls took less."), head("p99", "99 of 100 calls took less."), head("calls", "Calls measured."))),
  h("tbody", {}, row("normal", "s-normal", baseline), row("now", "s-recent", recent),
    threshold ? h("tr", {}, h("th", {scope: "row"}, h("span", {class: "swatch s-threshold", "aria-hidden": "true"}), "slow above"),
      h("td", {class: "end", colspan: "4"}, h("span", {class: "figure", tabindex: "0", "data-tip": "The learned 99th percentile with slack for drift (laghound_self_time_threshold_seconds)."}, f.duration(threshold)))) : null));
}

/** Steps of a histogram: share of the calls per factor of e, so that wide buckets are not taller for it. */
function steps(side, x, y) {
  const points = [];
  let last = null;
  for (const [from, to, count] of side.buckets) {
    const start = Math.max(from, 1e-7);
    const height = count / side.count / Math.log(to / start);
    if (last === null || Math.abs(last - start) > start * 5e-3) {
      if (last !== null) points.push([x(last), y(0)]);
      points.push([x(start), y(0)]);
    }
    points.push([x(start), y(height)], [x(to), y(height)]);
    last = to;
  }
  if (last !== null) points.push([x(last), y(0)]);
  return points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" ");
}

const tallest = (side) => Math.max(0, ...side.buckets.map(([from, to, count]) => count / side.count / Math.log(to / Math.max(from, 1e-7))));

function draw(baseline, recent, threshold, low, high, width) {
  const inner = {width: width - PAD.left - PAD.right, height: HEIGHT - PAD.top - PAD.bottom};
  const x = (value) => PAD.left + (Math.log(value / low) / Math.log(high / low)) * inner.width;
  const top = Math.max(tallest(baseline), tallest(recent)) || 1;
  const y = (value) => PAD.top + inner.height * (1 - value / top);
  const svg = s("svg", {width, height: HEIGHT, "aria-hidden": "true"});
  const decades = Math.log10(high / low);
  const factors = decades > 3 || inner.width / decades < 130 ? [1] : decades > 1.2 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const factor of factors) {
      const at = factor * 10 ** power;
      if (at < low || at > high) continue;
      svg.append(s("line", {class: "grid", x1: x(at), x2: x(at), y1: PAD.top, y2: y(0)}));
      if (x(at) > 24 && x(at) < width - 24) svg.append(s("text", {class: "tick middle", x: x(at), y: y(0) + 16}, f.duration(at)));
    }
  }
  svg.append(s("text", {class: "tick middle", x: width / 2, y: HEIGHT - 8}, "self-time of a call, logarithmic"));
  if (threshold && threshold < high) svg.append(s("rect", {class: "beyond", x: x(threshold), width: Math.max(0, width - PAD.right - x(threshold)), y: PAD.top, height: inner.height}));
  if (baseline.count) svg.append(s("polygon", {class: "area s-normal", points: steps(baseline, x, y)}));
  if (recent.count) svg.append(s("polygon", {class: "area s-recent", points: steps(recent, x, y)}));
  svg.append(s("line", {class: "axis", x1: PAD.left, x2: width - PAD.right, y1: y(0), y2: y(0)}));
  const median = (side, kind) => {
    if (!side.quantiles) return;
    const at = x(Math.max(low, side.quantiles["0.5"]));
    svg.append(s("line", {class: `median ${kind}`, x1: at, x2: at, y1: PAD.top, y2: y(0)}));
  };
  median(baseline, "s-normal");
  median(recent, "s-recent");
  if (threshold && threshold < high) {
    const end = x(threshold) > width - 120;
    svg.append(s("line", {class: "threshold", x1: x(threshold), x2: x(threshold), y1: PAD.top - 8, y2: y(0)}),
      s("text", {class: `tick ${end ? "end" : ""}`, x: x(threshold) + (end ? -5 : 5), y: PAD.top - 8}, `slow above ${f.duration(threshold)}`));
  }
  return svg;
}
