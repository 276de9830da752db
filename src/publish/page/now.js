// Is anything slow, who is it, since when, how sure; how it went; what was before.

import {get} from "./api.js";
import {announce, fill, fillIfNew, h} from "./dom.js";
import * as f from "./format.js";
import * as part from "./parts.js";
import {timeline} from "./timeline.js";

const RANGES = [["15 min", 900], ["1 h", 3600], ["6 h", 21600]];
const PER_PAGE = 25;

export function now(root, params, {live}) {
  const hero = h("section", {class: "hero", "aria-label": "Now"});
  const course = h("div");
  const ranges = h("div", {class: "choices", role: "group", "aria-label": "How far back"});
  const past = h("div");
  let range = 900;
  let page = 0;
  let filter = "";
  let asked = 0;

  const showRanges = () => fill(ranges, RANGES.map(([text, seconds]) =>
    h("button", {type: "button", id: `range-${seconds}`, "aria-pressed": String(range === seconds), onclick: () => { range = seconds; showRanges(); load(); }}, text)));

  const load = async () => {
    const mine = ++asked;
    const end = live.now?.at ? new Date(live.now.at).getTime() / 1000 : null;
    try {
      const [course_, past_] = await Promise.all([
        get("timeline", {since: end ? String(end - range) : "", points: 180}),
        get("incidents", {state: "closed", service: filter, limit: PER_PAGE, offset: page * PER_PAGE})]);
      if (mine !== asked) return;
      fillIfNew(course, course_, () => timeline(course_));
      fillIfNew(past, [past_.incidents, past_.total, page, filter], () => pastTable(past_));
    } catch (error) {
      if (mine === asked && !course.childNodes.length) fill(course, part.failure(error, load));
    }
  };

  const pastTable = (doc) => [
    doc.total || filter
      ? [h("form", {class: "filter", onsubmit: (event) => event.preventDefault()}, h("label", {}, "Suspect ", h("input", {type: "search", id: "past-filter", value: filter, placeholder: "exact service name", onchange: (event) => { filter = event.target.value.trim(); page = 0; load(); }}))),
        doc.incidents.length ? part.table(pastColumns(), doc.incidents, {caption: "Past incidents, the newest first", class: "cards", heads: true}) : part.note(`No past incident has ${f.short(filter, 60)} among its suspects.`),
        pager(doc.total)]
      : part.note("None since the process started.")];

  const pager = (total) => {
    const pages = Math.ceil(total / PER_PAGE);
    if (pages < 2) return null;
    const turn = (by) => () => { page = Math.max(0, Math.min(pages - 1, page + by)); load(); };
    return h("div", {class: "pager"}, h("button", {type: "button", id: "newer", disabled: page === 0, onclick: turn(-1)}, "Newer"), h("span", {}, `page ${page + 1} of ${pages}, ${f.count(total, "incident")}`),
      h("button", {type: "button", id: "older", disabled: page === pages - 1, onclick: turn(1)}, "Older"));
  };

  fill(root, h("h1", {class: "unseen", tabindex: "-1"}, "Now"), hero,
    h("section", {}, h("div", {class: "heading row"}, h("h2", {}, "Time above expectation"), ranges), course),
    h("section", {}, part.heading("Past incidents"), past));
  showRanges();

  const update = (live_, isNew) => {
    const doc = live_.now;
    if (!doc) {
      fillIfNew(hero, "none", () => part.loading("Waiting for the first word from the server"));
      return;
    }
    fillIfNew(hero, [doc.incidents, doc.learning, doc.operations, doc.intake.accepted_spans > 0, doc.last_incident?.id, doc.links], () => state(doc, live_));
    announce(doc.incidents.length ? f.safe(doc.incidents[0].sentence) : doc.learning ? "Learning what is normal" : "Nothing is slower than it should be");
    if (isNew) load();
  };
  update(live, true);
  return {update, title: "now"};
}

function state(doc, live) {
  if (doc.incidents.length) return doc.incidents.map((incident) => open(incident, doc));
  if (!doc.intake.accepted_spans) return silent();
  // A server that knows no operation well enough yet can say nothing, whatever it has judged.
  if (doc.learning || !doc.operations.learned) return learning(doc);
  const {known, learned} = doc.operations;
  return h("div", {class: "calm"}, h("p", {class: "verdict"}, "Nothing is slower than it should be."),
    h("p", {}, part.figure(f.count(learned, "operation"), "Operations (service, span name, kind) for which enough was seen to say what is normal."), " have a baseline",
      known > learned ? [", ", part.figure(f.number(known - learned), "Operations that are too new or too rare to be judged."), " are still being learned"] : null, "."),
    doc.last_incident ? h("p", {class: "note"}, "The last incident ended at ", moment(doc.last_incident.end, doc.now), ": ", h("a", {href: `#/incident/${doc.last_incident.id}`}, part.sentence(lead(doc.last_incident)))) : null);
}

function silent() {
  return h("div", {class: "waiting"}, h("p", {class: "verdict"}, "No span has come in yet."),
    h("p", {}, "Send OTLP to this process, for example from any OpenTelemetry SDK:"),
    h("pre", {tabindex: "0"}, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317"),
    h("p", {class: "note"}, "or let the Collector send a copy of its traces. The ports are those of receiver.grpc.endpoint and receiver.http.endpoint; the log says which were taken. What is refused, and why, is under ", h("a", {href: "#/health"}, "Health"), "."));
}

function learning(doc) {
  const {known, learned} = doc.operations;
  const share = known ? learned / known : 0;
  return h("div", {class: "waiting"}, h("p", {class: "verdict"}, "Learning what is normal."),
    h("progress", {value: String(share), max: "1", "aria-label": "Operations learned"}),
    h("p", {}, part.figure(`${f.number(learned)} of ${f.count(known, "operation")}`, "Operations with enough calls in enough slices of time to have a baseline, of all that were seen."), " have a baseline so far."),
    h("p", {class: "note"}, "A verdict is possible after about a minute of traffic, and every minute makes it better. Until then nothing is flagged; a fault that was there from the first second counts as normal."));
}

function open(incident, doc) {
  const lasted = f.seconds(incident.start, doc.at || doc.now);
  return h("article", {class: "incident-now", "aria-labelledby": `incident-${incident.id}`},
    h("p", {class: "eyebrow"}, h("span", {class: "badge hot"}, "slow now"), " incident ", String(incident.id), " · since ", moment(incident.start, doc.now), " · ",
      part.figure(f.span(lasted), "From when the slowdown began, as far as the data tells, to the last slice judged.")),
    part.verdict(incident.sentence, {id: `incident-${incident.id}`}),
    part.suspects(incident), part.impacted(incident),
    h("p", {class: "actions"}, h("a", {class: "button", href: `#/incident/${incident.id}`, id: `open-${incident.id}`}, "Show the evidence")));
}

const moment = (text, now) => h("time", {datetime: text, tabindex: "0", class: "figure", "data-tip": `${text} (event time, UTC); here ${f.local(text)}`}, `${f.moment(text, now)} UTC`);

/** The sentence up to what it rests on. */
const lead = (incident) => incident.sentence.split(", ")[0];

const pastColumns = () => [
  {title: "incident", cell: (one) => h("a", {href: `#/incident/${one.id}`}, `#${one.id}`)},
  {title: "since", tip: "When the slowdown began, as far as the data tells: event time, UTC.", cell: (one) => h("time", {datetime: one.start}, f.moment(one.start, null))},
  {title: "lasted", tip: "From its beginning to the last slice in which it was felt.", align: "end", cell: (one) => (one.end ? f.span(f.seconds(one.start, one.end)) : "open")},
  {title: "first suspect", tip: "Who most of the excess was put on, and the share of it.", cell: (one) => (one.suspects[0] ? [part.name(one.suspects[0].service, 40), " ", h("span", {class: "faint"}, f.percent(one.suspects[0].score))] : "nobody")},
  {title: "why", tip: "In which way the suspect costs more than before.", cell: (one) => (one.suspects[0] ? f.reason(one.suspects[0].reason) : "")},
  {title: "what got slower", tip: "The entry that lost most.", cell: (one) => (one.entries[0] ? part.name(`${one.entries[0].operation} of ${one.entries[0].service}`, 60) : "")},
  {title: "excess", tip: "Seconds by which its requests took longer than expected, all together.", align: "end", cell: (one) => f.duration(one.excess_seconds)},
];
