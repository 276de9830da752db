// The page of the demo: the simulated shop, learned and then with one slow service, seen by people who look on.
// One story in order, as it happens; the demo's own end is the end.

import assert from "node:assert/strict";
import {after, before, test} from "node:test";

import {HOSTILE} from "./spans.mjs";
import {Laghound, launch, open, overflows, PHONE, serious, shut, until} from "./world.mjs";

let demo = null;
let page = null;
const SECONDS = 240;

before(async () => {
  await launch();
  demo = await Laghound.demo(SECONDS);
  page = await open(demo);
});
after(async () => {
  await shut();
  await demo.stop();
});

/** Nothing was complained of, asked for elsewhere, or too wide. */
async function quiet(one) {
  assert.deepEqual(one.seen.complaints, []);
  assert.deepEqual(one.seen.elsewhere, []);
  assert.equal(await overflows(one), false);
}

const visit = (one, hash) => one.evaluate((hash) => { location.hash = hash; }, hash);

test("while it learns, it says so and how far it is", async () => {
  await page.says("Learning what is normal");
  await until("some operations are known", async () => /of [1-9]\d* operation/.test(await page.text("main")), 30);
  assert.deepEqual(await serious(page), []);
  await quiet(page);
});

test("what is judged moves on without being asked for", async () => {
  const judged = () => page.text("#connection");
  await until("the first slice", async () => /judged up to/.test(await judged()), 60);
  const before = await judged();
  await until("the next one", async () => (await judged()) !== before, 30);
});

test("once it has learned, the calm is said, and baselines are shown", async () => {
  await page.says("Nothing is slower than it should be", 90);
  assert.deepEqual(await serious(page), []);
  await visit(page, "#/baselines");
  await page.says("GET /cart");
  await page.evaluate(() => [...document.querySelectorAll("button.link")].find((one) => one.innerText === "GET /cart").click());
  await page.says("Learned from");
  await page.finds("#detail svg");
  assert.deepEqual(await serious(page), []);
  await quiet(page);
});

test("a number says where it comes from on focus, and stops at Escape", async () => {
  await visit(page, "#/health");
  await page.says("spans/s", 30);
  await page.evaluate(() => document.querySelector("main .figure").focus());
  await page.finds("#tip:not([hidden])");
  assert.match(await page.text("#tip"), /Spans accepted a second/);
  await page.keyboard.press("Escape");
  await page.finds("#tip[hidden]");
  assert.deepEqual(await serious(page), []);
  await quiet(page);
});

test("health adds up", async () => {
  const {intake} = await demo.api("health");
  assert.equal(intake.accepted_spans, intake.analyzed_spans + intake.dropped_spans + intake.pending_spans);
  assert.ok(intake.balanced);
});

test("the slow service comes up on the open page, announced to screen readers", async () => {
  await visit(page, "#/now");
  await page.says("slow now", SECONDS);
  const {suspects} = await demo.api("suspects");
  assert.ok((await page.text(".hero")).includes(suspects[0].service));
  const [open] = (await demo.api("incidents?state=open")).incidents;
  await page.says(`confidence ${Math.round(100 * open.confidence)} %`);
  for (const {service} of open.impacted.slice(0, 5)) await page.says(service);
  assert.equal((await page.text(".hero")).includes("slow only because of it"), open.impacted.length > 0);
  assert.ok((await page.evaluate(() => document.getElementById("announce").textContent)).includes(suspects[0].service));
  await page.finds(".timeline svg .bar");
  assert.deepEqual(await serious(page), []);
  await quiet(page);
});

test("an incident is shown with all it rests on", async () => {
  await page.evaluate(() => document.querySelector("[id^=open-]").click());
  for (const drawn of [".timeline svg", ".pairs svg", ".graph svg .node", "#pair-body .cause, #pair-body table"]) await page.finds(drawn, 30);
  const {incident, evidence} = await demo.api("incidents/1");
  const shown = await page.text("main");
  for (const said of ["Its course", "Normal and now", "A slow request against a normal one", "Where it comes from", "Kept traces", incident.suspects[0].service, incident.suspects[0].operation]) assert.ok(shown.includes(said), said);
  assert.ok(evidence.traces.some((one) => one.role === "slowest") && evidence.traces.some((one) => one.role === "typical"));
  assert.deepEqual(await serious(page), []);
  await quiet(page);
});

test("the course is read out with the arrow keys", async () => {
  await page.evaluate(() => document.querySelector(".timeline .plot").focus());
  for (let back = 0; back < 3; back += 1) await page.keyboard.press("ArrowLeft");
  const read = await page.text(".readout");
  assert.match(read, /^\d\d:\d\d:\d\d \+\d+ s: \d+ requests/);
  // The chart is drawn anew with the next slices; who reads it stays where they were.
  const [moment] = read.split(" ");
  const judged = await page.text("#connection");
  await until("the next slice", async () => (await page.text("#connection")) !== judged, 30);
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowRight");
  assert.ok((await page.text(".readout")).startsWith(moment), await page.text(".readout"));
});

test("a kept trace is shown span by span, and held against a normal one", async () => {
  const {traces} = await demo.api("traces?limit=500");
  const slow = traces.find((one) => one.role === "slowest");
  await visit(page, `#/trace/${slow.trace_id}`);
  await page.says("Hold against a normal one", 30);
  assert.deepEqual(await serious(page), []);
  await page.evaluate(() => [...document.querySelectorAll("a.button")].find((one) => one.innerText.startsWith("Hold")).click());
  await page.says("In time", 30);
  assert.deepEqual(await serious(page), []);
  await quiet(page);
});

test("on a phone, in the light, everything fits and is usable", async () => {
  const phone = await open(demo, "#/incident/1", {theme: "light", viewport: PHONE});
  await phone.finds(".graph svg .node", 30);
  await phone.finds("#pair-body table", 30);
  assert.deepEqual(await serious(phone), []);
  await quiet(phone);
  await phone.close();
});

test("an alert that knows only the suspect leads to the incident", async () => {
  const {suspects} = await demo.api("suspects");
  const one = await open(demo, `#/suspect/${encodeURIComponent(suspects[0].service)}`);
  await one.says("Incident 1", 30);
  assert.match(one.url(), /#\/incident\/1$/);
  await one.close();
});

/** A page on which the answers about incidents were changed on their way. */
async function tampered(hash, change) {
  const one = await open(demo, "#/health");
  await one.says("Knowledge");
  await one.setRequestInterception(true);
  one.on("request", async (request) => {
    const path = new URL(request.url()).pathname.replace("/api/v1/", "");
    const changed = /^(incidents|compare|timeline)/.test(path) ? await change(path, new URL(request.url()).search) : null;
    if (changed) await request.respond({status: 200, contentType: "application/json", body: changed});
    else await request.continue();
  });
  await visit(one, hash);
  return one;
}

test("hostile names in an incident are only names, in every part of it", async () => {
  const {suspects: [{service, operation}]} = await demo.api("suspects");
  const turned = (text) => {
    let at = 0;
    const named = (name) => text.replaceAll(JSON.stringify(name), () => JSON.stringify(HOSTILE[at++ % HOSTILE.length]));
    text = named(service);
    return named(operation);
  };
  const one = await tampered("#/incident/1", async (path, search) => turned(JSON.stringify(await demo.api(path + search))));
  await one.finds(".graph svg .node", 30);
  await one.finds("#pair-body table", 30);
  const found = await one.evaluate(() => ({pwned: window.pwned ?? null, markup: document.querySelectorAll("main img, main script, main svg[onload]").length,
    turned: /[\u202a-\u202e\u2066-\u2069\u0000\u0007]/.test(document.body.textContent)}));
  assert.deepEqual(found, {pwned: null, markup: 0, turned: false});
  await quiet(one);
  await one.close();
});

test("two hundred incidents are turned over page by page", async () => {
  const {incident} = await demo.api("incidents/1");
  const past = Array.from({length: 200}, (_, at) => ({...incident, id: 200 - at, end: incident.detected}));
  const one = await tampered("#/now", (path, search) => {
    if (path !== "incidents") return null;
    const asked = new URLSearchParams(search);
    const [offset, limit] = [Number(asked.get("offset")) || 0, Number(asked.get("limit")) || 100];
    return JSON.stringify({at: incident.detected, learning: false, total: 200, incidents: past.slice(offset, offset + limit)});
  });
  await one.says("#200", 30);
  const rows = () => one.evaluate(() => document.querySelectorAll("tbody tr").length);
  assert.ok(await rows() <= 25);
  await one.evaluate(() => [...document.querySelectorAll(".pager button")].at(-1).click());
  await one.says("#175");
  assert.deepEqual(await serious(one), []);
  await quiet(one);
  await one.close();
});
