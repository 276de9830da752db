// What is normal: for every operation of every service, how that moved, and how far learning is.

import {get} from "./api.js";
import {distribution} from "./distribution.js";
import {fill, fillIfNew, h, onWidth, s} from "./dom.js";
import * as f from "./format.js";
import * as part from "./parts.js";

const PER_PAGE = 100;
const STATES = [["", "all"], ["learning", "still learning"], ["learned", "learned"], ["flagged", "with slow calls"]];

export function baselines(root, params, {live, go}) {
  const asked = {q: params.query.q || "", service: params.query.service || "", state: params.query.state || "", sort: params.query.sort || "name"};
  const services = h("div");
  const list = h("div");
  const detail = h("div", {id: "detail"});
  let offset = Number(params.query.offset) || 0;
  let open = params.query.operation ? {service: params.query.service || "", operation: params.query.operation, kind: params.query.kind || ""} : null;
  let turn = 0;

  const address = () => {
    const given = {...asked, offset: offset || "", ...(open ? {service: asked.service, operation: open.operation, kind: open.kind, of: open.service} : {})};
    const query = new URLSearchParams(Object.entries(given).filter(([, value]) => value !== "" && value !== "name"));
    go(`#/baselines${String(query) ? `?${query}` : ""}`);
  };
  const ask = (change) => { Object.assign(asked, change); offset = 0; address(); load(); };

  const load = async () => {
    const mine = ++turn;
    try {
      const [some, known] = await Promise.all([get("operations", {...asked, limit: PER_PAGE, offset: offset || ""}), get("services", {limit: 1000})]);
      if (mine !== turn) return;
      fillIfNew(services, [known.services, asked.service], () => serviceList(known));
      fillIfNew(list, [some.operations, some.total, offset, asked, open], () => operations(some));
    } catch (error) {
      if (mine === turn) fill(list, part.failure(error, load));
    }
  };

  const serviceList = (doc) => h("label", {class: "picker"}, "Service ", h("select", {id: "service", onchange: (event) => ask({service: event.target.value})},
    h("option", {value: ""}, `all (${f.number(doc.total)})`),
    doc.services.map((one) => h("option", {value: one.service, selected: one.service === asked.service}, `${f.short(one.service, 50)} (${one.learned} of ${one.operations} learned)`))));

  const operations = (doc) => {
    if (!doc.total) {
      const wanted = asked.q || asked.service || asked.state;
      return wanted ? part.empty("Nothing matches.", h("button", {type: "button", onclick: () => { search.value = ""; ask({q: "", service: "", state: ""}); }}, "Show everything"))
        : part.empty("No operation is known yet.", "Each (service, span name, kind) that sends spans appears here a few seconds later.");
    }
    const pages = Math.ceil(doc.total / PER_PAGE);
    const page = Math.floor(offset / PER_PAGE);
    const move = (by) => () => { offset = (page + by) * PER_PAGE; address(); load(); list.scrollIntoView({block: "start"}); };
    return [part.table(columns((one) => { open = {service: one.service, operation: one.operation, kind: one.span_kind}; address(); show(); }), doc.operations,
      {caption: `Operations ${offset + 1} to ${offset + doc.operations.length} of ${doc.total}`, heads: true, class: "cards", sort: asked.sort, onsort: (sort) => ask({sort})}),
    h("div", {class: "pager"}, h("button", {type: "button", id: "previous", disabled: page === 0, onclick: move(-1)}, "Previous"), h("span", {}, `${f.number(offset + 1)} to ${f.number(offset + doc.operations.length)} of ${f.count(doc.total, "operation")}`),
      h("button", {type: "button", id: "next", disabled: page >= pages - 1, onclick: move(1)}, "Next"))];
  };

  const show = async () => {
    if (!open) { fill(detail); return; }
    const mine = open;
    if (!detail.childNodes.length) fill(detail, part.loading("Asking the analysis"));
    try {
      const doc = await get("operation", open);
      if (mine !== open) return;
      if (fillIfNew(detail, doc, () => operation(doc, () => { open = null; detail.shownKey = ""; address(); show(); })) && !detail.contains(document.activeElement)) detail.querySelector("h2")?.focus({preventScroll: true});
      if (mine !== detail.scrolled) { detail.scrolled = mine; detail.scrollIntoView({block: "nearest", behavior: "auto"}); }
    } catch (error) {
      if (mine === open) { detail.shownKey = ""; fill(detail, part.failure(error, show)); }
    }
  };

  let wait = 0;
  const search = h("input", {type: "search", id: "search", value: asked.q, placeholder: "cart GET", autocomplete: "off", oninput: (event) => { clearTimeout(wait); wait = setTimeout(() => ask({q: event.target.value.trim()}), 250); }});
  fill(root, h("h1", {tabindex: "-1"}, "Baselines"),
    h("p", {class: "lead"}, "What every operation normally costs: its self-time, the part of a call that it does not spend waiting for others."),
    h("form", {class: "filter", role: "search", onsubmit: (event) => event.preventDefault()},
      h("label", {}, "Search ", search), services,
      h("label", {class: "picker"}, "State ", h("select", {id: "state", onchange: (event) => ask({state: event.target.value})}, STATES.map(([value, text]) => h("option", {value, selected: value === asked.state}, text))))),
    detail, list);
  if (params.query.of && open) open.service = params.query.of;
  load();
  show();
  return {title: "baselines", update: (_, isNew) => { if (isNew) { load(); if (open) show(); } }, end: () => clearTimeout(wait)};
}

const quantile = (which, q) => (one) => (one[which] ? f.duration(one[which][q]) : "–");

const columns = (show) => [
  {title: "operation", sort: "name", tip: "Span name; service and kind below it. Press to sort by name.", cell: (one) => [h("button", {type: "button", class: "link", onclick: () => show(one)}, part.name(one.operation, 60)), h("span", {class: "faint block"}, h("bdi", {}, f.short(one.service, 40)), ` · ${f.spanKind(one.span_kind)}`)]},
  {title: "normal", sort: "baseline", tip: "Median self-time of a call, learned (laghound_self_time_baseline_seconds). Press to sort.", align: "end", cell: quantile("baseline_seconds", "0.5")},
  {title: "normal p99", tip: "99 of 100 calls take less self-time than this.", align: "end", cell: quantile("baseline_seconds", "0.99")},
  {title: "now", sort: "recent", tip: "Median self-time over the last minute (laghound_self_time_recent_seconds). Press to sort.", align: "end", cell: quantile("recent_seconds", "0.5")},
  {title: "rise", sort: "rise", tip: "Median now less median normal. Press to sort.", align: "end", cell: (one) => (one.baseline_seconds && one.recent_seconds ? f.change(one.recent_seconds["0.5"] - one.baseline_seconds["0.5"]) : "–")},
  {title: "slow above", tip: "What a call's self-time must exceed to count as slow (laghound_self_time_threshold_seconds); none while learning.", align: "end", cell: (one) => (one.threshold_seconds === null ? h("span", {class: "badge"}, "learning") : f.duration(one.threshold_seconds))},
  {title: "slow calls", sort: "flagged", tip: "Calls above it since the process started, of all judged (laghound_operation_flagged_spans_total). Press to sort.", align: "end", cell: (one) => `${f.number(one.flagged)} of ${f.number(one.spans)}`},
];

function operation(doc, close) {
  const one = doc.operation;
  const {slices, needed_slices: neededSlices, calls, needed_calls: neededCalls} = doc.learned;
  const done = !one.learning;
  const progress = (label, value, most, tip) => h("div", {class: "progress"}, h("span", {class: "figure", tabindex: "0", "data-tip": tip}, `${f.number(value)} of ${f.number(most)} ${label}`), h("progress", {value: String(Math.min(value, most)), max: String(most), "aria-label": label}));
  return h("section", {class: "card operation", "aria-labelledby": "t-operation"},
    h("div", {class: "heading row"}, h("h2", {id: "t-operation", tabindex: "-1"}, part.name(one.operation, 80), h("span", {class: "faint"}, " of ", h("bdi", {}, f.short(one.service, 60)), ` · ${f.spanKind(one.span_kind)}`)), h("button", {type: "button", class: "quiet", onclick: close}, "Close")),
    doc.frozen ? part.note("It belongs to an open incident: nothing of it is learned until that is over.") : null,
    done ? part.note(`Learned from ${f.count(calls, "call")} in ${f.count(slices, "slice")} of time.`)
      : h("div", {class: "learning"}, part.note("Still learning: a baseline needs both."), progress("slices", slices, neededSlices, "Slices of time in which it was watched, and how many it takes."), progress("calls", calls, neededCalls, "Calls in the baseline, and how many it takes.")),
    h("div", {class: "pairs"},
      h("figure", {}, h("figcaption", {}, "Self-time, normal and over the last minute"), distribution({baseline: doc.baseline, recent: doc.recent, threshold_seconds: one.threshold_seconds}, `Self-time of ${f.short(one.operation, 60)}`)),
      h("figure", {}, h("figcaption", {}, "How normal moved"), moved(doc.eras))),
    one.exemplar ? part.note("A slow call, ", f.duration(one.exemplar.seconds), ": ", part.traceLinks(one.exemplar.trace_id, null)) : null);
}

/** Median and 99th percentile, stretch by stretch. */
function moved(eras) {
  if (!eras.length) return part.note("Nothing has been learned yet.");
  const said = eras.map((era) => `${f.minute(era.at)} median ${f.duration(era.seconds["0.5"])}`).join(", ");
  const plot = h("div", {class: "plot", role: "img", "aria-label": `By stretches of time: ${said}`});
  onWidth(plot, (width) => {
    const height = 150;
    const low = Math.min(...eras.map((era) => Math.max(1e-7, era.seconds["0.5"]))) / 1.3;
    const high = Math.max(...eras.map((era) => Math.max(1e-7, era.seconds["0.99"]))) * 1.3;
    const y = (value) => 12 + (height - 40) * (1 - Math.log(Math.max(value, low) / low) / Math.log(high / low));
    const x = (at) => 60 + ((width - 84) * (at + 0.5)) / eras.length;
    const svg = s("svg", {width, height, "aria-hidden": "true"});
    for (const value of [low * 1.3, high / 1.3]) svg.append(s("line", {class: "grid", x1: 56, x2: width - 12, y1: y(value), y2: y(value)}), s("text", {class: "tick end", x: 52, y: y(value) + 4}, f.duration(value)));
    eras.forEach((era, at) => svg.append(
      s("line", {class: "era", x1: x(at), x2: x(at), y1: y(era.seconds["0.5"]), y2: y(era.seconds["0.99"])}),
      s("circle", {class: "era-median", cx: x(at), cy: y(era.seconds["0.5"]), r: 4}),
      s("circle", {class: "era-tail", cx: x(at), cy: y(era.seconds["0.99"]), r: 2.5}),
      eras.length <= 8 || at % 2 === 0 ? s("text", {class: "tick middle", x: x(at), y: height - 8}, f.minute(era.at)) : null));
    plot.replaceChildren(svg);
  });
  return h("div", {class: "chart"}, plot, h("ul", {class: "legend"}, h("li", {}, h("span", {class: "swatch dot-median", "aria-hidden": "true"}), "median"), h("li", {}, h("span", {class: "swatch dot-tail", "aria-hidden": "true"}), "p99"), h("li", {class: "faint"}, "what left the baseline is not shown")));
}
