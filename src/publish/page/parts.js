// Pieces that several views are made of: numbers that say where they come from, names, sentences, tables, notes.

import {h} from "./dom.js";
import * as f from "./format.js";

/** A number with its unit that says on hover and focus where it comes from. */
export const figure = (text, tip, attributes) =>
  h("span", {class: "figure", tabindex: "0", "data-tip": tip, ...attributes}, text);

/** A stranger's name: isolated, escaped, cut; the whole of it is in the tip where it was cut. */
export function name(text, most = 80) {
  const shown = f.short(text, most);
  const whole = f.safe(String(text).slice(0, 1000));
  return h("bdi", {class: "name", tabindex: shown === whole ? null : "0", "data-tip": shown === whole ? null : whole}, shown);
}

/** What the server says in a sentence, with what stands between backticks set apart. */
export const sentence = (text) =>
  String(text).split("`").map((part, at) => (at % 2 ? h("bdi", {class: "name"}, f.safe(part)) : f.safe(part).replaceAll(" -> ", "\u00a0\u2192 ")));

/** The sentence in two: who makes what how much slower, and the rest. */
export function verdict(text, attributes) {
  const parts = String(text).split("`");
  let lead = null;
  for (let at = 0; at < parts.length && lead === null; at += 2) {
    const end = parts[at].indexOf(" slower");
    if (end >= 0) lead = parts.slice(0, at).concat(parts[at].slice(0, end + 7)).join("`");
  }
  if (lead === null) return h("p", {class: "verdict", ...attributes}, sentence(text));
  const rest = String(text).slice(lead.length).replace(/^,? /, "");
  return h("p", {class: "verdict", ...attributes}, sentence(lead), h("span", {class: "verdict-rest"}, sentence(` ${rest}`)));
}

export const badge = (text, tip, kind) =>
  h("span", {class: `badge ${kind || ""}`, tabindex: tip ? "0" : null, "data-tip": tip}, text);

export const kindBadge = (kind) => badge(kind, f.kindMeans(kind), `kind-${kind}`);

/** A heading of a section with a word on what it shows. */
export const heading = (text, note, level = "h2", id) =>
  h("div", {class: "heading"}, h(level, {id}, text), note ? h("p", {class: "note"}, note) : null);

export const note = (...children) => h("p", {class: "note"}, ...children);

export const empty = (title, ...children) =>
  h("div", {class: "empty"}, h("p", {class: "empty-title"}, title), children.map((child) => h("p", {}, child)));

/** What went wrong, and a way to try again. */
export const failure = (error, again) =>
  h("div", {class: "notice failed", role: "alert"}, h("p", {}, f.safe(error.message)),
    again ? h("button", {type: "button", onclick: again}, "Try again") : null);

export const loading = (text = "Loading") => h("p", {class: "note loading"}, `${text} …`);

/**
 * A table. Columns: {title, tip, cell(row), align, wide}; a column's tip says where its numbers come from, for every cell.
 */
export function table(columns, rows, options = {}) {
  const head = columns.map((column) => h("th", {scope: "col", class: column.align},
    column.sort
      ? h("button", {type: "button", class: "sort", "data-tip": column.tip, "aria-pressed": options.sort === column.sort,
        onclick: () => options.onsort(column.sort)}, column.title)
      : column.tip ? h("span", {tabindex: "0", "data-tip": column.tip}, column.title) : column.title));
  const body = rows.map((row, at) => h("tr", options.row ? options.row(row, at) : {},
    columns.map((column, position) => h(position === 0 && options.heads ? "th" : "td",
      {class: column.align, scope: position === 0 && options.heads ? "row" : null, "data-title": column.title}, column.cell(row, at)))));
  return h("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": options.caption},
    h("table", {class: options.class || null}, options.caption ? h("caption", {class: "unseen"}, options.caption) : null,
      h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

/** A bar that shows a share, and says it. */
export const share = (value, label) =>
  h("span", {class: "share", vars: {"--share": `${Math.max(0, Math.min(1, value)) * 100}%`}},
    h("span", {class: "share-bar", "aria-hidden": "true"}), label || f.percent(value));

/** The suspects of an incident, with how much of it each is. */
export function suspects(incident) {
  const rows = incident.suspects.map((one, at) => h("li", {class: "suspect"},
    h("div", {class: "suspect-head"},
      name(one.service, 60), kindBadge(one.kind),
      figure(f.percent(one.score), `Share of this incident's excess latency put on ${f.short(one.service, 40)} (laghound_suspect_score): ${f.duration(one.excess_seconds)} of ${f.duration(incident.excess_seconds)}.`, {class: "figure strong"})),
    h("div", {class: "meter", "aria-hidden": "true", vars: {"--share": `${Math.min(1, one.score) * 100}%`}}),
    h("p", {class: "suspect-why"},
      h("span", {tabindex: "0", class: "tipped", "data-tip": f.reasonMeans(one.reason)}, f.reason(one.reason)), " in ", name(one.operation, 60), ", ",
      figure(`${f.duration(one.baseline_seconds)} → ${f.duration(one.recent_seconds)}`, "Mean time of a call: learned, and since the incident began. Time on the critical path only."), " a call, ",
      h("span", {tabindex: "0", class: "tipped", "data-tip": f.patternMeans(one.pattern)}, one.pattern),
      one.where ? [", on ", name(`${one.where.attribute}=${one.where.value}`, 60), " ", figure(`(${f.percent(one.where.share)})`, "Share of this suspect's excess that falls on this value of the attribute.")] : null,
      ", ", figure(f.count(one.calls, "call"), "Calls of this operation since the incident began, at most the last five minutes.")),
    at === 0 ? confidence(incident) : null));
  const rest = incident.unexplained_share;
  return h("ol", {class: "suspects"}, rows,
    h("li", {class: "suspect nobody"}, h("div", {class: "suspect-head"}, h("span", {}, "put on nobody"),
      figure(f.percent(rest), "Share of the excess that the evidence puts on nobody: noise, lost spans, calls that ran side by side.")),
    h("div", {class: "meter", "aria-hidden": "true", vars: {"--share": `${Math.min(1, rest) * 100}%`}})));
}

/** How sure it is that the first suspect is right. */
const confidence = (incident) => h("p", {class: "suspect-why"}, "confidence ",
  figure(f.percent(incident.confidence), "How likely it is that this suspect is the cause, by its share of the excess and by how much slower requests are: of verdicts that say 90 %, nine in ten are right."));

/** Who is slow only because of the suspects, and is not to be paged. */
export function impacted(incident, most = 5) {
  const list = incident.impacted;
  if (!list.length) return null;
  return h("p", {class: "note impacted"}, "slow only because of it: ", list.slice(0, most).map((one, at) => [at ? ", " : "", name(one.service, 40), " ",
    figure(f.change(one.excess_seconds), "Seconds that it waited longer, over all requests since the incident began, at most the last five minutes.")]),
    list.length > most ? ` and ${f.number(list.length - most)} more` : null);
}

/** A link that leaves laghound. */
export const outside = (href, ...children) =>
  href ? h("a", {href, rel: "noreferrer noopener", target: "_blank", class: "outside"}, ...children) : null;

/** A trace id as a link to the trace here, and one to the backend where there is one. */
export const traceLinks = (id, url) => [
  h("a", {href: `#/trace/${id}`, class: "mono"}, id.slice(0, 8), h("span", {class: "unseen"}, " trace")),
  url ? [" ", outside(url, "backend ↗")] : null,
];
