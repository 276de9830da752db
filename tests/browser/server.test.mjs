// The page of a server to which the test itself sends: nothing yet, strangers' names, very many, files dropped, a
// server that goes away and comes back.

import assert from "node:assert/strict";
import {mkdtemp, rm, writeFile} from "node:fs/promises";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {after, before, test} from "node:test";

import {HOSTILE, jaeger, requests} from "./spans.mjs";
import {Laghound, launch, open, overflows, PHONE, serious, shut, until} from "./world.mjs";

before(launch);
after(shut);

/** A test with a server and a page of its own, which must not have complained in the end. */
const on = (name, hash, check, {viewport, args} = {}) => test(name, async () => {
  const server = await Laghound.serve(args);
  try {
    const page = await open(server, hash, {viewport});
    await check(page, server);
    assert.deepEqual(page.seen.complaints, []);
    assert.deepEqual(page.seen.elsewhere, []);
    await page.close();
  } finally {
    await server.stop();
  }
});

const drop = (page, side, files) => page.evaluate((side, files) => {
  const dataTransfer = new DataTransfer();
  for (const [name, content] of files) dataTransfer.items.add(new File([content], name));
  document.querySelector(`[data-side="${side}"]`).dispatchEvent(new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer}));
}, side, files);

on("a server without spans says how to send some", "", async (page) => {
  await page.says("No span has come in yet");
  await page.says("OTEL_EXPORTER_OTLP_ENDPOINT");
  await until("the mark is live", async () => (await page.text("#connection")).startsWith("live"));
  assert.deepEqual(await serious(page), []);
});

on("the first view is under 100 kB on the wire", "", async (page) => {
  let bytes = 0;
  const session = await page.createCDPSession();
  await session.send("Network.enable");
  await session.send("Network.setCacheDisabled", {cacheDisabled: true});
  session.on("Network.loadingFinished", (event) => { bytes += event.encodedDataLength; });
  await page.reload({waitUntil: "load"});
  await page.says("No span has come in yet");
  assert.ok(bytes > 5000 && bytes < 100000, `${bytes} bytes`);
});

on("the policy forbids other origins, inline script and turning text into markup", "", async (page, server) => {
  const policy = (await fetch(server.base)).headers.get("content-security-policy");
  for (const part of ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "require-trusted-types-for 'script'", "frame-ancestors 'none'"]) assert.ok(policy.includes(part), policy);
  const tried = await page.evaluate(async () => {
    const tells = (attempt) => { try { attempt(); return false; } catch { return true; } };
    const refused = [tells(() => { document.createElement("div").innerHTML = "<b>x</b>"; })];
    refused.push(await fetch("http://127.0.0.1:1/").then(() => false, () => true));
    return refused;
  });
  assert.deepEqual(tried, [true, true]);
  // Both attempts were noticed, and were ours.
  assert.ok(page.seen.complaints.length + page.seen.failures.length > 0);
  page.seen.complaints.length = 0;
  page.seen.elsewhere.length = 0;
});

on("names that want to be more are only names", "#/baselines", async (page, server) => {
  await server.send(requests(HOSTILE, HOSTILE, Date.now()));
  await page.says("<script>window.pwned = 1</script>", 60);
  await page.says("\\u{202e}gnorw si siht");
  const {operations} = await server.api("operations?limit=1000");
  assert.ok(operations.length >= HOSTILE.length * HOSTILE.length / 2, `${operations.length}`);
  for (const at of [0, 7, 4]) {
    await page.evaluate((at) => document.querySelectorAll("tbody button.link")[at]?.click(), at);
    await page.finds("#t-operation");
  }
  const found = await page.evaluate(() => ({pwned: window.pwned ?? null, images: document.querySelectorAll("main img, main script, main svg[onload]").length,
    turned: /[\u202a-\u202e\u2066-\u2069\u0000\u0007]/.test(document.body.innerText)}));
  assert.deepEqual(found, {pwned: null, images: 0, turned: false});
  assert.equal(await overflows(page), false);
}, {viewport: PHONE});

on("five thousand operations are searched, sorted and turned over", "#/baselines", async (page, server) => {
  const services = Array.from({length: 50}, (_, at) => `service-${String(at).padStart(2, "0")}`);
  const operations = Array.from({length: 100}, (_, at) => `GET /thing/${String(at).padStart(3, "0")}`);
  for (const service of services) await server.send(requests([service], operations, Date.now()));
  await until("all are known", async () => (await server.api("now")).operations.known >= 5000, 60);
  await page.says("1 to 100 of 5,000 operations");
  assert.ok(await page.evaluate(() => document.querySelectorAll("*").length) < 5000);
  await page.type("#search", "service-07 thing/042");
  await page.says("1 to 1 of 1 operation");
  await page.evaluate(() => { const search = document.getElementById("search"); search.value = ""; search.dispatchEvent(new Event("input")); });
  await page.says("1 to 100 of 5,000 operations");
  await page.evaluate(() => document.getElementById("next").click());
  await page.says("101 to 200 of 5,000 operations");
  await page.evaluate(() => { location.hash = "#/now"; });
  await page.says("Learning what is normal");
});

on("files that are dropped are compared", "#/compare", async (page) => {
  await page.finds("[data-side=spiked]");
  await drop(page, "baseline", [["normal.json", jaeger(20)]]);
  await drop(page, "spiked", [["slow.json", jaeger(320)]]);
  await page.evaluate(() => document.getElementById("go").click());
  await page.says("+300 ms");
  await page.says("cause found");
  assert.deepEqual(await serious(page), []);
});

on("two files dropped at once are both taken", "#/compare", async (page) => {
  await page.finds("[data-side=baseline]");
  await drop(page, "baseline", [["normal.json", jaeger(20)], ["slow.json", jaeger(120)]]);
  await page.evaluate(() => document.getElementById("go").click());
  await page.says("+100 ms");
});

on("a file that is no recording is refused with its name", "#/compare", async (page) => {
  await page.finds("[data-side=spiked]");
  await drop(page, "baseline", [["normal.json", jaeger(20)]]);
  await drop(page, "spiked", [["<b>poem</b>.txt", "Shall I compare thee to a summer's day?"]]);
  await page.evaluate(() => document.getElementById("go").click());
  await page.finds("#comparison [role=alert]");
  assert.match(await page.text("#comparison [role=alert]"), /<b>poem<\/b>\.txt/);
  page.seen.complaints = page.seen.complaints.filter((text) => !/status of 4\d\d/.test(text));
});

on("files that are too large are refused with the limit", "#/compare", async (page) => {
  await page.finds("[data-side=spiked]");
  await drop(page, "baseline", [["normal.json", jaeger(20)]]);
  await drop(page, "spiked", [["large.json", `${" ".repeat(50000)}${jaeger(20)}`]]);
  await page.evaluate(() => document.getElementById("go").click());
  await page.finds("#comparison [role=alert]");
  assert.match(await page.text("#comparison [role=alert]"), /max_upload_size/);
  page.seen.complaints = page.seen.complaints.filter((text) => !/status of 4\d\d/.test(text));
}, {args: ["--admin.max_upload_size", "20KiB"]});

test("where credentials are asked for, the browser asks, and the page and its stream live on the answer", async () => {
  const folder = await mkdtemp(join(tmpdir(), "laghound-"));
  const [passwords, tokens] = [join(folder, "passwords"), join(folder, "tokens")];
  await writeFile(passwords, "anna:s3cret\n");
  await writeFile(tokens, "for-programs\n");
  const server = await Laghound.serve(["--admin.auth.password_file", passwords, "--admin.auth.bearer_token_file", tokens]);
  try {
    const shutOut = async (credentials) => {
      try {
        const page = await open(server, "", {credentials});
        return (await page.evaluate(() => document.body.innerText)).includes("a valid credential is needed");
      } catch (error) {
        return /ERR_INVALID_AUTH_CREDENTIALS/.test(error.message);
      }
    };
    assert.ok(await shutOut());
    assert.ok(await shutOut({username: "anna", password: "guess"}));
    const page = await open(server, "", {credentials: {username: "anna", password: "s3cret"}});
    await until("the mark is live", async () => (await page.text("#connection")).startsWith("live"));
    await page.says("No span has come in yet");
    // A script bears a token.
    const asked = (authorization) => fetch(`${server.base}api/v1/now`, {headers: authorization ? {authorization} : {}}).then((response) => response.status);
    assert.deepEqual([await asked("Bearer for-programs"), await asked("Bearer guess"), await asked()], [200, 401, 401]);
    assert.deepEqual(page.seen.complaints, []);
  } finally {
    await server.stop();
    await rm(folder, {recursive: true});
  }
});

test("a lost connection is marked, and found again", async () => {
  const first = await Laghound.serve();
  const page = await open(first);
  await until("the mark is live", async () => (await page.text("#connection")).startsWith("live"));
  await first.stop();
  await page.says("The connection is lost", 30);
  assert.match(await page.text("#connection"), /lost/);
  assert.ok(await page.evaluate(() => document.documentElement.classList.contains("stale")));
  assert.deepEqual(await serious(page), []);
  const second = await Laghound.serve([], {admin: first.admin});
  try {
    await until("the mark is live again", async () => (await page.text("#connection")).startsWith("live"), 30);
    assert.equal(await page.text("#notices"), "");
    assert.deepEqual(page.seen.complaints, []);
  } finally {
    await second.stop();
  }
});
