// What the browser tests and the pictures run in: laghound as a process of its own on free ports, and Chromium
// pages whose every complaint is written down. Polls; it never assumes how long something takes.

import {spawn} from "node:child_process";
import {createRequire} from "node:module";
import {createInterface} from "node:readline";

const peers = createRequire(`${process.env.BROWSER_PEERS}/package.json`);
const puppeteer = peers("puppeteer-core");
export const AXE = peers("axe-core").source;

const BINARY = process.env.LAGHOUND;
const ANY = "127.0.0.1:0";
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until `ask` returns something; says what was wanted if that does not happen. */
export async function until(what, ask, seconds = 30) {
  const end = Date.now() + 1000 * seconds;
  for (;;) {
    const found = await ask();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await sleep(100);
  }
}

/** A running laghound. */
export class Laghound {
  #process;
  #lines = [];

  constructor(command, args, {admin = ANY} = {}) {
    const endpoints = ["--receiver.grpc.endpoint", ANY, "--receiver.http.endpoint", ANY, "--admin.endpoint", admin];
    this.#process = spawn(BINARY, [command, ...args, ...endpoints], {stdio: ["ignore", "pipe", "pipe"], env: {PATH: process.env.PATH, LAGHOUND_LOG_FORMAT: "json"}});
    this.ended = new Promise((resolve) => this.#process.once("exit", resolve));
    for (const stream of [this.#process.stdout, this.#process.stderr]) createInterface({input: stream}).on("line", (line) => this.#lines.push(line));
  }

  /** The simulated shop, one of its services slow after two thirds of the time. */
  static async demo(seconds) {
    const demo = new Laghound("demo", ["--duration", `${seconds}s`]);
    const page = /page\s+http:\/\/(\S+?)\//;
    demo.admin = await until("the demo says where its page is", () => demo.#lines.map((line) => page.exec(line)?.[1]).find(Boolean));
    return demo;
  }

  /** Without anybody who sends. */
  static async serve(args = [], options = {}) {
    const server = new Laghound("serve", args, options);
    const address = (what) => until(`${what} listens`, () => {
      if (server.#process.exitCode !== null) throw new Error(server.#lines.join("\n"));
      return server.#lines.map((line) => { try { return JSON.parse(line); } catch { return {}; } })
        .map((event) => ({...event, ...event.fields})).find((event) => event.message === "listening" && event.what === what)?.addr;
    });
    server.admin = await address("admin");
    server.otlp = await address("otlp_http");
    return server;
  }

  get base() {
    return `http://${this.admin}/`;
  }

  async api(path) {
    const response = await fetch(`${this.base}api/v1/${path}`);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** Sends spans as OTLP/JSON. */
  async send(resourceSpans) {
    const response = await fetch(`http://${this.otlp}/v1/traces`, {method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({resourceSpans})});
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  }

  async stop() {
    if (this.#process.exitCode === null) this.#process.kill("SIGTERM");
    return this.ended;
  }
}

let browser = null;

/** One browser for all tests of a file. */
export async function launch() {
  browser = await puppeteer.launch({executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb"]});
}

export const shut = () => browser?.close();

export const DESKTOP = {width: 1280, height: 900};
export const PHONE = {width: 390, height: 844, deviceScaleFactor: 2, isMobile: true, hasTouch: true};

/** A page of `laghound` that writes down what it complains of and where it asks. */
export async function open(laghound, hash = "", {theme = "dark", viewport = DESKTOP, credentials} = {}) {
  const page = await browser.newPage();
  // As somebody would type them where the browser asks.
  if (credentials) await page.authenticate(credentials);
  const seen = {complaints: [], elsewhere: [], failures: []};
  page.seen = seen;
  page.on("console", (message) => { if (["error", "warn", "warning"].includes(message.type())) seen[/net::ERR_/.test(message.text()) ? "failures" : "complaints"].push(message.text()); });
  page.on("pageerror", (error) => seen.complaints.push(error.message));
  page.on("dialog", (dialog) => { seen.complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => { if (new URL(request.url()).origin !== new URL(laghound.base).origin) seen.elsewhere.push(request.url()); });
  await page.emulateMediaFeatures([{name: "prefers-color-scheme", value: theme}]);
  await page.setViewport(viewport);
  await page.goto(`${laghound.base}${hash}`, {waitUntil: "domcontentloaded"});
  page.says = (text, seconds) => until(`the page says ${text}`, async () => (await page.evaluate(() => document.body.innerText)).includes(text), seconds);
  page.finds = (selector, seconds) => until(`the page has ${selector}`, () => page.evaluate((one) => document.querySelector(one) !== null, selector), seconds);
  page.text = (selector) => page.evaluate((one) => document.querySelector(one)?.innerText ?? null, selector);
  return page;
}

/** What axe-core finds that is serious or worse: [rule, element] each. */
export async function serious(page) {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const {violations} = await window.axe.run(document, {resultTypes: ["violations"]});
    return violations.filter(({impact}) => impact === "serious" || impact === "critical").flatMap(({id, nodes}) => nodes.map((node) => `${id}: ${node.html.slice(0, 160)} ${node.failureSummary.split("\n").slice(1, 2)}`));
  });
}

/** Whether the page is wider than the window. */
export const overflows = (page) => page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
