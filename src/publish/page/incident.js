// One incident with all that it rests on: the sentence, the suspects, the distributions, a slow request against a
// normal one, who called whom, and the course of it.

import {get} from "./api.js";
import {comparison} from "./comparison.js";
import {distribution} from "./distribution.js";
import {fill, fillIfNew, h} from "./dom.js";
import * as f from "./format.js";
import {graph} from "./graph.js";
import * as part from "./parts.js";
import {timeline} from "./timeline.js";

const ROLES = {typical: "typical of before", slowest: "slowest", newest: "newest", recent: "recent"};

export function incident(root, params, {live}) {
  const id = params.path[0];
  const head = h("div");
  const course = h("div");
  const measured = h("div");
  const pair = h("div");
  const flow = h("div");
  const rest = h("div");
  let chosen = null;
  let compared = "";
  let doc = null;
  let over = false;

  fill(root, part.loading("Loading the incident"));

  const load = async () => {
    try {
      const next = await get(`incidents/${encodeURIComponent(id)}`);
      const first = !doc;
      doc = next;
      over = Boolean(doc.incident.end);
      if (first) lay();
      show();
    } catch (error) {
      if (!doc) fill(root, h("h1", {tabindex: "-1"}, `Incident ${f.short(id, 20)}`), part.failure(error, load), h("p", {}, h("a", {href: "#/now"}, "Back to now")));
    }
  };

  const lay = () => fill(root, head,
    h("section", {"aria-labelledby": "t-course"}, part.heading("Its course", "Seconds above expectation in each second, by suspect.", "h2", "t-course"), course),
    h("section", {"aria-labelledby": "t-measured"}, part.heading("Normal and now", "Self-time of each suspect's operation: what was learned before, and what was measured since.", "h2", "t-measured"), measured),
    h("section", {"aria-labelledby": "t-pair"}, part.heading("A slow request against a normal one", null, "h2", "t-pair"), pair),
    h("section", {"aria-labelledby": "t-flow"}, part.heading("Where it comes from", "All requests of the incident: who called whom, and how much of the excess came up each way.", "h2", "t-flow"), flow),
    h("section", {"aria-labelledby": "t-rest"}, part.heading("Details", null, "h2", "t-rest"), rest));

  const show = () => {
    const {incident: one, evidence} = doc;
    fillIfNew(head, [one, doc.links], () => title(one, doc, live));
    fillIfNew(measured, [evidence.distributions, one.suspects.map((each) => each.operation)], () => distributions(one, evidence.distributions));
    fillIfNew(flow, evidence.graph, () => graph(evidence.graph));
    fillIfNew(rest, [one.entries, evidence.traces], () => [entries(one), traces(evidence.traces)]);
    loadCourse(one);
    showPair(evidence);
  };

  const loadCourse = async (one) => {
    const start = new Date(one.start).getTime() / 1000;
    const until = one.end ? String(new Date(one.end).getTime() / 1000 + 120) : "";
    try {
      const slices = await get("timeline", {since: String(start - 180), until, points: 180});
      const marks = [{at: one.start, text: "began"}, {at: one.detected, text: "noticed"}, ...(one.end ? [{at: one.end, text: "over"}] : [])];
      fillIfNew(course, slices, () => (slices.slices.length ? timeline(slices, {marks}) : part.note("Its slices are older than those that are kept.")));
    } catch (error) {
      if (!course.childNodes.length) fill(course, part.failure(error));
    }
  };

  const showPair = (evidence) => {
    const kept = evidence.traces;
    if (!kept.length) {
      fillIfNew(pair, "none", () => part.empty("No trace of it was kept.", "Traces are kept in memory, within evidence.max_trace_memory, and not across a restart.", "Two recordings can be compared under ", h("a", {href: "#/compare"}, "Compare"), "."));
      return;
    }
    const known = (trace) => kept.some((one) => one.trace_id === trace);
    if (!chosen || !known(chosen.spiked)) chosen = evidence.pair ? {...evidence.pair} : {baseline: "", spiked: kept.find((one) => one.role !== "typical")?.trace_id || kept[0].trace_id};
    const key = `${chosen.baseline} ${chosen.spiked}`;
    const body = h("div", {id: "pair-body"});
    if (fillIfNew(pair, kept, () => [pickers(kept), body])) compared = "";
    if (compared === key) return;
    compared = key;
    compare(pair.querySelector("#pair-body"), key);
  };

  const compare = async (place, key) => {
    if (!chosen.baseline) {
      fill(place, part.note("No normal trace of this entry was kept to hold against it. "), h("p", {}, h("a", {href: `#/trace/${chosen.spiked}`}, "Show the slow trace alone")));
      return;
    }
    if (!place.childNodes.length) fill(place, part.loading("Comparing"));
    try {
      const found = await get("compare", chosen);
      if (key === compared) fill(place, comparison(found, "h3"));
    } catch (error) {
      if (key === compared) fill(place, part.failure(error, () => compare(place, key)));
    }
  };

  const pickers = (kept) => {
    const option = (one, selected) => h("option", {value: one.trace_id, selected: one.trace_id === selected},
      `${ROLES[one.role] || one.role}: ${f.duration(one.duration_seconds)}, ${f.short(one.operation, 40)} of ${f.short(one.service, 30)}, ${f.clock(one.end)} (${one.trace_id.slice(0, 8)})`);
    const pick = (side, label, list) => h("label", {class: "picker"}, label, h("select", {id: `pick-${side}`, onchange: (event) => { chosen[side] = event.target.value; showPair(doc.evidence); }}, list.map((one) => option(one, chosen[side]))));
    const typical = kept.filter((one) => one.role === "typical");
    return h("div", {class: "pickers"}, typical.length ? pick("baseline", "Normal ", typical) : null, pick("spiked", "Slow ", kept.filter((one) => one.role !== "typical")));
  };

  load();
  return {title: `incident ${f.short(id, 20)}`, update: (_, isNew) => { if (isNew && !over) load(); }};
}

function title(one, doc, live) {
  const now = live.now?.now || doc.at;
  const lasted = f.seconds(one.start, one.end || doc.at || one.detected);
  const moment = (text) => h("time", {datetime: text, tabindex: "0", class: "figure", "data-tip": `${text} (event time, UTC); here ${f.local(text)}`}, `${f.moment(text, now)} UTC`);
  const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return [
    h("p", {class: "crumbs"}, h("a", {href: "#/now"}, "Now"), " / incident"),
    h("div", {class: "heading row tight"}, h("h1", {tabindex: "-1"}, `Incident ${one.id}`), h("span", {class: `badge ${one.end ? "" : "hot"}`}, one.end ? "over" : "slow now")),
    part.verdict(one.sentence),
    h("dl", {class: "facts"},
      fact("began", moment(one.start)),
      fact("noticed", moment(one.detected), " ", part.figure(`+${f.span(f.seconds(one.start, one.detected))}`, "From when it began, as far as the data tells, to the slice in which the verdict was first published.")),
      fact(one.end ? "lasted" : "lasts", part.figure(f.span(lasted), one.end ? "From its beginning to the last slice in which it was felt." : "From its beginning to the last slice judged.")),
      fact("excess", part.figure(f.duration(one.excess_seconds), "Seconds by which requests took longer than expected since it began, at most the last five minutes: what the suspects share."))),
    part.suspects(one), part.impacted(one, 20),
    h("p", {class: "actions"}, part.outside(doc.links.prometheus, "Graph in Prometheus ↗"), " ",
      h("button", {type: "button", class: "quiet", onclick: (event) => copy(event.target, doc.links.page || location.href)}, "Copy link")),
  ];
}

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = text;
  }
}

function distributions(one, list) {
  if (!list.length) return part.note("No distribution belongs to these suspects.");
  return h("div", {class: "pairs"}, list.slice(0, 6).map((each) => {
    const suspect = one.suspects.find((other) => other.service === each.service && other.kind === each.kind);
    const operation = suspect ? f.short(suspect.operation, 60) : "";
    return h("figure", {class: "card"}, h("figcaption", {}, part.name(operation || each.service, 60), h("span", {class: "faint"}, " of ", h("bdi", {}, f.short(each.service, 40)), suspect ? ` · ${f.percent(suspect.score)}` : "")), distribution(each, `Self-time of ${operation} of ${f.short(each.service, 40)}`));
  }));
}

const entries = (one) => [h("h3", {}, "What got slower"), part.table([
  {title: "entry", cell: (row) => part.name(`${row.operation} of ${row.service}`, 80)},
  {title: "normal", tip: "Mean duration of a request, learned.", align: "end", cell: (row) => f.duration(row.baseline_seconds)},
  {title: "now", tip: "Mean duration of a request since the incident began, at most the last five minutes.", align: "end", cell: (row) => f.duration(row.recent_seconds)},
  {title: "excess", tip: "Seconds above expectation, all its requests together (laghound_entry_excess_seconds_total).", align: "end", cell: (row) => f.duration(row.excess_seconds)},
], one.entries, {caption: "Entries that got slower", heads: true, class: "cards"})];

const traces = (kept) => (kept.length ? [h("h3", {}, "Kept traces"), part.table([
  {title: "trace", cell: (row) => part.traceLinks(row.trace_id, row.url)},
  {title: "kept as", tip: "Of each incident the slowest and the newest are kept, and what was typical of each entry before it.", cell: (row) => ROLES[row.role] || row.role},
  {title: "entry", tip: "The operation by which the request came in.", cell: (row) => part.name(`${row.operation} of ${row.service}`, 60)},
  {title: "took", tip: "Duration of the entry.", align: "end", cell: (row) => f.duration(row.duration_seconds)},
  {title: "spans", tip: "Spans of the whole trace.", align: "end", cell: (row) => f.number(row.spans)},
  {title: "ended", tip: "When its entry ended: event time, UTC.", align: "end", cell: (row) => f.clock(row.end)},
], kept, {caption: "Traces kept for this incident", heads: true, class: "cards"})] : null);
