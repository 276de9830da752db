// Seconds above expectation, slice by slice, stacked by suspect; behind it how many requests there were, so that
// quiet and dead can be told apart. Arrow keys read it out.

import {h, onWidth, s, announce} from "./dom.js";
import * as f from "./format.js";

const HEIGHT = 168;
const PAD = {left: 52, right: 12, top: 14, bottom: 24};
const COLOURS = 6;

/** The moment that was read out last: charts are drawn anew as slices come in. */
let readAt = Infinity;

/** Which colour a suspect has: by name, so that it keeps it. */
export function colours(suspects) {
  const ranked = suspects.map((one, at) => ({at, excess: one.excess_seconds})).sort((a, b) => b.excess - a.excess || a.at - b.at);
  const colour = [];
  ranked.forEach(({at}, rank) => { colour[at] = rank < COLOURS ? `c${rank}` : "c-other"; });
  return colour;
}

/** A round number of steps for an axis up to `most`. */
export function ticks(most, wanted = 3) {
  if (!(most > 0)) return [];
  const rough = most / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let at = step; at <= most * 1.0001; at += step) found.push(at);
  return found;
}

export function timeline(doc, options = {}) {
  const slices = doc.slices;
  const box = h("div", {class: "chart timeline"});
  if (!slices.length) return h("p", {class: "note"}, "No slice of time has been judged yet: the first ends a few seconds after the first spans.");
  const colour = colours(doc.suspects);
  const whole = doc.suspects.reduce((sum, one) => sum + one.excess_seconds, 0);
  const excess = slices.reduce((sum, one) => sum + Math.max(0, one.excess_seconds), 0);
  const requests = slices.reduce((sum, one) => sum + one.requests, 0);
  const said = excess > 0
    ? `${f.duration(excess)} above expectation between ${f.clock(slices[0].at)} and ${f.clock(slices.at(-1).at)} UTC, most of it put on ${f.short([...doc.suspects].sort((a, b) => b.excess_seconds - a.excess_seconds)[0]?.service || "nobody", 40)}`
    : `Nothing above expectation in ${f.count(requests, "request")} between ${f.clock(slices[0].at)} and ${f.clock(slices.at(-1).at)} UTC`;
  const readout = h("p", {class: "readout mono"}, " ");
  const plot = h("div", {class: "plot", id: "plot", tabindex: "0", role: "group", "aria-label": `${said}. Use the arrow keys to read it slice by slice.`});
  let cursor = -1;
  let mark = () => {};
  // Where reading was when the chart was drawn anew.
  const where = () => {
    const at = slices.findLastIndex((slice) => new Date(slice.at).getTime() <= readAt);
    return at < 0 ? slices.length - 1 : at;
  };

  const tell = (at, aloud) => {
    cursor = Math.max(0, Math.min(slices.length - 1, at));
    const slice = slices[cursor];
    readAt = new Date(slice.at).getTime();
    const charged = slice.suspects.map(([who, seconds]) => `${f.short(doc.suspects[who].service, 24)} ${f.duration(seconds)}`);
    const put = slice.suspects.reduce((sum, [, seconds]) => sum + seconds, 0);
    const rest = slice.excess_seconds - put;
    if (rest > slice.excess_seconds * 0.01) charged.push(`nobody ${f.duration(rest)}`);
    const mean = slice.requests ? `, ${f.duration(slice.request_seconds / slice.requests)} each` : "";
    const text = `${f.clock(slice.at)} +${f.span(slice.seconds)}: ${f.count(slice.requests, "request")}${mean}; ${charged.length ? charged.join(", ") : "nothing above expectation"}`;
    readout.textContent = text;
    mark(cursor);
    if (aloud) announce(text);
  };
  plot.addEventListener("keydown", (event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1, Home: -slices.length, End: slices.length}[event.key];
    if (step === undefined) return;
    event.preventDefault();
    tell(cursor < 0 ? slices.length - 1 : cursor + step, true);
  });
  plot.addEventListener("focus", () => tell(cursor < 0 ? where() : cursor, false));

  onWidth(box, (width) => {
    const {svg, setMark, sliceAt} = draw(doc, colour, width, options);
    svg.addEventListener("pointermove", (event) => tell(sliceAt(event.offsetX), false));
    mark = setMark;
    plot.replaceChildren(svg);
    if (cursor >= 0) mark(cursor);
  });
  const legend = doc.suspects.map((one, at) => ({...one, colour: colour[at]})).filter((one) => one.colour !== "c-other" && one.excess_seconds > 0.002 * whole)
    .sort((a, b) => b.excess_seconds - a.excess_seconds);
  box.append(plot, readout,
    h("ul", {class: "legend"}, legend.map((one) => h("li", {}, h("span", {class: `swatch ${one.colour}`, "aria-hidden": "true"}), h("bdi", {}, f.short(one.service, 40)), " ",
      h("span", {class: "figure", tabindex: "0", "data-tip": "Seconds of critical-path time above expectation put on it in the time shown (laghound_excess_seconds_total)."}, f.duration(one.excess_seconds)))),
    excess - whole > excess * 0.01 && excess > 0 ? h("li", {}, h("span", {class: "swatch c-nobody", "aria-hidden": "true"}), "nobody ", f.duration(excess - whole)) : null,
    h("li", {class: "faint"}, h("span", {class: "swatch line", "aria-hidden": "true"}), "requests")));
  return box;
}

function draw(doc, colour, width, options) {
  const slices = doc.slices;
  const start = new Date(slices[0].at).getTime();
  const end = Math.max(new Date(slices.at(-1).at).getTime() + slices.at(-1).seconds * 1000, options.until || 0);
  const inner = {width: width - PAD.left - PAD.right, height: HEIGHT - PAD.top - PAD.bottom};
  const x = (time) => PAD.left + ((time - start) / (end - start)) * inner.width;
  // Each bar says how much was lost in a second, so that slices of any length compare.
  const perSecond = (slice) => Math.max(0, slice.excess_seconds) / slice.seconds;
  const most = Math.max(...slices.map(perSecond), 0);
  const top = most > 0 ? (ticks(most).at(-1) >= most ? ticks(most).at(-1) : most * 1.08) : 1;
  const y = (value) => PAD.top + inner.height * (1 - value / top);
  const busiest = Math.max(...slices.map((slice) => slice.requests / slice.seconds), 0);
  const svg = s("svg", {width, height: HEIGHT, "aria-hidden": "true"});
  for (const tick of ticks(top)) {
    if (most <= 0) break;
    svg.append(s("line", {class: "grid", x1: PAD.left, x2: width - PAD.right, y1: y(tick), y2: y(tick)}),
      s("text", {class: "tick end", x: PAD.left - 6, y: y(tick) + 4}, `${f.duration(tick)}/s`));
  }
  svg.append(s("line", {class: "axis", x1: PAD.left, x2: width - PAD.right, y1: y(0), y2: y(0)}));
  const span = (end - start) / 1000;
  const every = [15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400].find((step) => span / step <= inner.width / (step < 60 ? 110 : 70)) || 28800;
  for (let at = Math.ceil(start / 1000 / every) * every * 1000; at <= end; at += every * 1000) {
    const text = every < 60 ? f.clock(at) : f.minute(at);
    const side = x(at) > width - 40 ? "end" : x(at) < PAD.left + 16 ? "" : "middle";
    svg.append(s("line", {class: "axis", x1: x(at), x2: x(at), y1: y(0), y2: y(0) + 4}), s("text", {class: `tick ${side}`, x: x(at), y: HEIGHT - 6}, text));
  }
  if (busiest > 0) {
    const points = slices.map((slice) => {
      const time = new Date(slice.at).getTime() + slice.seconds * 500;
      return `${x(time).toFixed(1)},${(PAD.top + inner.height * (1 - 0.85 * (slice.requests / slice.seconds) / busiest)).toFixed(1)}`;
    });
    svg.append(s("polyline", {class: "requests", points: points.join(" ")}));
  }
  const gap = inner.width / slices.length > 4 ? 1 : 0;
  slices.forEach((slice) => {
    if (slice.excess_seconds <= 0) return;
    const from = x(new Date(slice.at).getTime());
    const wide = Math.max(1, x(new Date(slice.at).getTime() + slice.seconds * 1000) - from - gap);
    let below = 0;
    const stack = (value, kind) => {
      const height = (inner.height * value) / slice.seconds / top;
      if (height < 0.2) return;
      svg.append(s("rect", {class: `bar ${kind}`, x: from.toFixed(1), width: wide.toFixed(1), y: (y(0) - below - height).toFixed(1), height: height.toFixed(1)}));
      below += height;
    };
    for (const [who, seconds] of slice.suspects) stack(Math.min(seconds, slice.excess_seconds), colour[who]);
    stack(slice.excess_seconds - slice.suspects.reduce((sum, [, seconds]) => sum + seconds, 0), "c-nobody");
  });
  let last = -Infinity;
  let level = 0;
  for (const one of options.marks || []) {
    const at = new Date(one.at).getTime();
    if (at < start || at > end) continue;
    // Labels that would touch stand one below the other.
    level = x(at) - last < 64 ? level + 1 : 0;
    last = x(at);
    const side = x(at) > width - 80;
    svg.append(s("line", {class: "marker", x1: x(at), x2: x(at), y1: PAD.top - 4, y2: y(0)}), s("text", {class: `tick label ${side ? "end" : ""}`, x: x(at) + (side ? -4 : 4), y: PAD.top + 2 + 13 * level}, one.text));
  }
  const cursor = s("line", {class: "cursor", y1: PAD.top, y2: y(0), visibility: "hidden"});
  svg.append(cursor);
  const middle = (at) => x(new Date(slices[at].at).getTime() + slices[at].seconds * 500);
  return {
    svg,
    setMark: (at) => {
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, middle(at));
      cursor.setAttribute("visibility", "visible");
    },
    sliceAt: (px) => {
      const time = start + ((px - PAD.left) / inner.width) * (end - start);
      let low = 0;
      while (low + 1 < slices.length && new Date(slices[low + 1].at).getTime() <= time) low += 1;
      return low;
    },
  };
}
