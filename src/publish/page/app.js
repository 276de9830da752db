// Which view is shown, whether the connection is alive, and what must be said above all views.

import {fillIfNew, h} from "./dom.js";
import * as f from "./format.js";
import {get} from "./api.js";
import {Live} from "./live.js";
import {now} from "./now.js";
import {forget, tips} from "./tip.js";

const VIEWS = {
  now: async () => now,
  incident: async () => (await import("./incident.js")).incident,
  compare: async () => (await import("./compare.js")).compare,
  trace: async () => (await import("./trace.js")).trace,
  baselines: async () => (await import("./baselines.js")).baselines,
  health: async () => (await import("./health.js")).health,
};

const live = new Live();
const main = document.getElementById("main");
let view = null;
let shown = "";
let turn = 0;

/** `#/incident/3?x=y` is {name: "incident", path: ["3"], query: {x: "y"}}. */
function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").filter(Boolean).map((one) => {
    try {
      return decodeURIComponent(one);
    } catch {
      return one;
    }
  });
  return {name: name || "now", path: rest, query: Object.fromEntries(new URLSearchParams(query || ""))};
}

/** Changes the address without showing the view anew. */
function go(hash) {
  shown = hash;
  history.replaceState(null, "", hash);
}

/** `#/suspect/a+b%2Fc` is `a b/c`: alert templates escape as forms do. */
function suspectOf(hash) {
  const name = hash.slice("#/suspect/".length).replaceAll("+", " ");
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** Alerts know a suspect's name, not the number of its incident: the newest is shown. */
async function bySuspect(service) {
  const {incidents} = await get("incidents", {service, limit: 1});
  location.replace(incidents.length ? `#/incident/${incidents[0].id}` : "#/now");
}

async function show() {
  if (location.hash === shown && view) return;
  const first = !view;
  const mine = ++turn;
  const params = route();
  shown = location.hash;
  if (params.name === "suspect") {
    // Templates of alerts write a blank as a plus.
    await bySuspect(suspectOf(location.hash)).catch(() => location.replace("#/now"));
    return;
  }
  const name = Object.hasOwn(VIEWS, params.name) ? params.name : "now";
  const make = await VIEWS[name]();
  if (mine !== turn) return;
  view?.end?.();
  view = null;
  const root = h("div", {class: `view view-${name}`});
  main.replaceChildren(root);
  view = make(root, params, {live, go});
  forget();
  document.title = `${view.title} · laghound`;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.dataset.view === name || (name === "incident" && link.dataset.view === "now") || (name === "trace" && link.dataset.view === "compare");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!first) {
    window.scrollTo(0, 0);
    main.focus({preventScroll: true});
  }
}

function connection() {
  const place = document.getElementById("connection");
  const text = document.getElementById("connection-text");
  const ago = live.heardAt ? Math.round((Date.now() - live.heardAt) / 1000) : 0;
  place.dataset.state = live.state;
  const judged = live.now?.at;
  const said = {
    connecting: "connecting",
    live: "live",
    lost: live.heardAt ? `connection lost ${f.span(ago)} ago` : "no connection",
  }[live.state];
  fillIfNew(text, [said, judged], () => [said, judged && live.state === "live" ? [h("span", {class: "wide"}, " · judged up to "), h("span", {class: "narrow"}, " · "), `${f.clock(judged)} UTC`] : null]);
  const clear = live.state === "lost";
  document.documentElement.classList.toggle("stale", clear);
  notices();
}

/** What stands above all views: what is shown is old, or rests on a part of the spans only. */
function notices() {
  const place = document.getElementById("notices");
  const list = [];
  if (live.state === "lost") list.push(["lost", live.now ? `The connection is lost. What is shown is as of ${f.clock(live.now.now)} UTC; trying again.` : "No connection to laghound; trying again."]);
  const refused = live.now ? live.grown((doc) => doc.intake.refused_spans) : 0;
  const failed = live.now ? live.grown((doc) => sum(doc.intake.failed_requests)) : 0;
  const dropped = live.now ? live.grown((doc) => doc.intake.dropped_spans) : 0;
  const accepted = live.now ? live.grown((doc) => doc.intake.accepted_spans) : 0;
  if (refused > 0 || failed > 0) list.push(["overloaded", `${[refused ? f.count(refused, "span") : "", failed ? f.count(failed, "request") : ""].filter(Boolean).join(" and ")} refused in the last minute. Verdicts rest on what was accepted.`]);
  if (dropped > 0.01 * Math.max(1, accepted)) list.push(["overloaded", `${f.count(dropped, "span")} dropped in the last minute.`]);
  if (live.now && !live.now.ready) list.push(["overloaded", "laghound is not ready."]);
  fillIfNew(place, list, () => list.map(([kind, text]) => h("div", {class: `notice ${kind}`, role: kind === "lost" ? "alert" : "status"}, h("p", {}, text, " ", kind === "overloaded" ? h("a", {href: "#/health"}, "Why") : null))));
}

const sum = (list) => list.reduce((total, one) => total + one.count, 0);

const THEMES = [["", "◐", "as the system"], ["dark", "●", "dark"], ["light", "○", "light"]];

function theme() {
  const button = document.getElementById("theme");
  const stored = () => { try { return localStorage.getItem("theme") || ""; } catch { return ""; } };
  const apply = (which) => {
    const [value, sign, text] = THEMES.find(([one]) => one === which) || THEMES[0];
    if (value) document.documentElement.dataset.theme = value;
    else delete document.documentElement.dataset.theme;
    button.textContent = sign;
    button.setAttribute("aria-label", `Colour theme: ${text}`);
  };
  apply(stored());
  button.addEventListener("click", () => {
    const at = THEMES.findIndex(([one]) => one === (document.documentElement.dataset.theme || ""));
    const [next] = THEMES[(at + 1) % THEMES.length];
    try { localStorage.setItem("theme", next); } catch { /* It holds for this visit. */ }
    apply(next);
  });
}

theme();
tips();
live.listen((_, isNew) => {
  connection();
  document.getElementById("version").textContent = live.now ? `laghound ${live.now.version}` : "";
  view?.update?.(live, isNew);
  forget();
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => event.preventDefault());
window.addEventListener("hashchange", show);
live.start();
setInterval(connection, 1000);
show();
