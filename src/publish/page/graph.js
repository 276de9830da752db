// Who called whom in the slow requests, from the entry at the left; the thicker a line, the more of the excess
// came up through it. Drawn in layers, as close together as the width asks for; where that is not enough it is
// scrolled.

import {h, onWidth, s} from "./dom.js";
import * as f from "./format.js";

const NODE = {width: 168, height: 44, gapY: 20};
const NARROW = 148;
const GAP = {least: 44, most: 116};

/** Layers by the longest way from an entry, cycles cut where they close. */
function layers({services, links}) {
  const below = services.map(() => []);
  for (const link of links) if (link.from !== link.to) below[link.from].push(link.to);
  const layer = services.map(() => -1);
  const queue = services.map((one, at) => (one.entry ? at : -1)).filter((at) => at >= 0);
  const called = new Set(links.filter((link) => link.from !== link.to).map((link) => link.to));
  if (!queue.length) services.forEach((_, at) => { if (!called.has(at)) queue.push(at); });
  if (!queue.length && services.length) queue.push(0);
  queue.forEach((at) => { layer[at] = 0; });
  // Bounded: no way is longer than there are services.
  let steps = services.length * services.length + 1;
  while (queue.length && steps-- > 0) {
    const at = queue.shift();
    for (const next of below[at]) {
      if (layer[next] < layer[at] + 1 && layer[at] + 1 < services.length && !reaches(next, at, below)) {
        layer[next] = layer[at] + 1;
        queue.push(next);
      } else if (layer[next] < 0) {
        layer[next] = layer[at] + 1;
        queue.push(next);
      }
    }
  }
  return layer.map((one) => Math.max(0, one));
}

function reaches(from, to, below) {
  const seen = new Set([from]);
  const queue = [from];
  while (queue.length) {
    const at = queue.pop();
    if (at === to) return true;
    for (const next of below[at]) if (!seen.has(next)) { seen.add(next); queue.push(next); }
  }
  return false;
}

/** Positions: within a layer by the mean of those that call, the most excess first among equals. */
function arrange(doc, room) {
  const layer = layers(doc);
  const columns = [];
  layer.forEach((column, at) => { (columns[column] ||= []).push(at); });
  const row = [];
  columns.forEach((members, column) => {
    const pull = (at) => {
      const callers = doc.links.filter((link) => link.to === at && layer[link.from] < column).map((link) => row[link.from]);
      return callers.length ? callers.reduce((sum, one) => sum + one, 0) / callers.length : 0;
    };
    const weight = new Map(members.map((at) => [at, pull(at)]));
    members.sort((a, b) => weight.get(a) - weight.get(b) || doc.services[b].excess_seconds - doc.services[a].excess_seconds || a - b);
    members.forEach((at, position) => { row[at] = position; });
  });
  const tallest = Math.max(...columns.map((members) => members.length));
  const gaps = columns.length - 1;
  const gapFor = (wide) => (gaps ? (room - 24 - columns.length * wide) / gaps : 0);
  const wide = gapFor(NODE.width) >= GAP.least ? NODE.width : NARROW;
  const gapX = Math.floor(Math.max(GAP.least, Math.min(GAP.most, gapFor(wide))));
  const place = doc.services.map((_, at) => {
    const members = columns[layer[at]];
    const offset = (tallest - members.length) / 2;
    return {x: 12 + layer[at] * (wide + gapX), y: 12 + (row[at] + offset) * (NODE.height + NODE.gapY)};
  });
  return {place, wide, width: 24 + columns.length * wide + gaps * gapX, height: 24 + tallest * (NODE.height + NODE.gapY) - NODE.gapY};
}

export function graph(doc) {
  if (!doc.services.length) return h("p", {class: "note"}, "No calls were seen.");
  const most = Math.max(1e-9, ...doc.links.map((link) => link.excess_seconds), ...doc.services.map((one) => one.excess_seconds));
  const byFlow = [...doc.links].filter((link) => link.from !== link.to).sort((a, b) => a.excess_seconds - b.excess_seconds);
  const plot = h("div", {class: "scroll", tabindex: "0", role: "img", "aria-label": spoken(doc)});
  onWidth(plot, (room) => {
    const {place, wide, width, height} = arrange(doc, room);
    const svg = s("svg", {width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"});
    const edges = byFlow.map((link) => edge(link, place, wide, most, doc));
    svg.append(...edges.map(([path]) => path));
    doc.services.forEach((one, at) => svg.append(node(one, place[at], wide, most)));
    // Over everything else, or a band that crosses one would hide it.
    svg.append(...edges.flatMap(([, label]) => label ?? []));
    plot.replaceChildren(svg);
  });
  return h("div", {class: "chart graph"},
    plot,
    h("ul", {class: "legend"}, h("li", {}, h("span", {class: "swatch flow", "aria-hidden": "true"}), "excess coming up through calls"),
      h("li", {}, h("span", {class: "swatch own", "aria-hidden": "true"}), "excess of a service's own time"), doc.left_out ? h("li", {}, `${f.count(doc.left_out, "service")} left out`) : null),
    list(doc));
}

function spoken(doc) {
  const worst = [...doc.services].sort((a, b) => b.excess_seconds - a.excess_seconds)[0];
  return `Graph of ${f.count(doc.services.length, "service")}. Most of the excess, ${f.duration(worst.excess_seconds)}, is own time of ${f.short(worst.service, 60)}. The table below says the same.`;
}

function edge(link, place, wide, most, doc) {
  const [from, to] = [place[link.from], place[link.to]];
  const back = to.x <= from.x;
  const start = {x: from.x + wide, y: from.y + NODE.height / 2};
  const end = {x: to.x, y: to.y + NODE.height / 2};
  const bend = back ? 90 : Math.max(30, (end.x - start.x) / 2);
  const flow = Math.max(0, link.excess_seconds);
  const hot = flow > most * 0.02;
  const title = `${f.short(doc.services[link.from].service, 60)} calls ${f.short(doc.services[link.to].service, 60)} ${f.count(link.calls, "time")}: ${f.change(link.excess_seconds)} above expectation came up this way`;
  const path = s("path", {class: `edge ${hot ? "hot" : ""}`, "stroke-width": (hot ? 2 + 10 * (flow / most) : 1.25).toFixed(2), fill: "none",
    d: `M${start.x},${start.y} C${start.x + bend},${start.y} ${end.x - bend},${end.y} ${end.x},${end.y}`}, s("title", {}, title));
  const label = hot ? s("text", {class: "flow-label middle", x: (start.x + end.x) / 2, y: (start.y + end.y) / 2 - 7 - 4 * (flow / most)}, f.change(flow)) : null;
  return [path, label];
}

function node(one, {x, y}, wide, most) {
  const own = Math.max(0, one.excess_seconds) / most;
  const hot = own > 0.02;
  return s("g", {class: `node ${one.kind} ${hot ? "hot" : ""}`, transform: `translate(${x} ${y})`},
    s("title", {}, `${f.short(one.service, 200)}, ${one.kind}: ${f.count(one.calls, "call")}, own time ${f.change(one.excess_seconds)} above expectation`),
    s("rect", {class: "box", width: wide, height: NODE.height, rx: one.kind === "dependency" ? 22 : 7}),
    hot ? s("rect", {class: "own", x: 1, y: NODE.height - 5, width: Math.max(3, (wide - 2) * own).toFixed(1), height: 4, rx: 2}) : null,
    s("text", {class: "node-name", x: 12, y: 19}, f.short(one.service, wide < NODE.width ? 17 : 20)),
    s("text", {class: "node-note", x: 12, y: 34}, `${hot ? `${f.change(one.excess_seconds)} own · ` : ""}${f.count(one.calls, "call")}`));
}

function list(doc) {
  const rows = [...doc.services].sort((a, b) => b.excess_seconds - a.excess_seconds);
  return h("details", {}, h("summary", {}, "The same as a table"), h("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Services and their excess"}, h("table", {},
    h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "service"), h("th", {scope: "col"}, "kind"), h("th", {scope: "col", class: "end"}, "calls"), h("th", {scope: "col", class: "end"}, "own excess"), h("th", {scope: "col"}, "calls to"))),
    h("tbody", {}, rows.map((one) => {
      const at = doc.services.indexOf(one);
      const calls = doc.links.filter((link) => link.from === at).map((link) => `${f.short(doc.services[link.to].service, 40)} (${f.change(link.excess_seconds)})`);
      return h("tr", {}, h("th", {scope: "row"}, h("bdi", {}, f.short(one.service, 60))), h("td", {}, one.kind), h("td", {class: "end"}, f.number(one.calls)), h("td", {class: "end"}, f.change(one.excess_seconds)), h("td", {}, h("bdi", {}, calls.join(", "))));
    })))));
}
