// Keeps the page up to date: server-sent events, asked for again when they end, and a plain request now and
// then where there are none. Knows when the last word came in, so that nothing old passes for new.

import {EVENTS, get} from "./api.js";

/** Without a word for this long, what is shown may be old. The server speaks every two seconds. */
const SILENCE_MS = 7000;
const POLL_MS = 5000;
/** Rates are taken over the last minute. */
const HISTORY_MS = 60000;

export class Live {
  #listeners = new Set();
  #history = [];
  #source = null;
  #timer = 0;
  #boards = "";

  now = null;
  heardAt = 0;
  state = "connecting";

  start() {
    this.#connect();
    this.#timer = setInterval(() => this.#watch(), 1000);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#watch();
    });
  }

  /** Calls `listener(live, isNewBoard)` with every word. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Per second over the last minute, of a figure of the document; null while there is too little to tell. */
  rate(figure) {
    const first = this.#history[0];
    const last = this.#history.at(-1);
    if (!first || last.at - first.at < 1500) return null;
    return Math.max(0, figure(last.now) - figure(first.now)) / ((last.at - first.at) / 1000);
  }

  /** How much a figure grew over the last minute. */
  grown(figure) {
    const first = this.#history[0];
    return first ? Math.max(0, figure(this.#history.at(-1).now) - figure(first.now)) : 0;
  }

  #connect() {
    this.#source?.close();
    const source = new EventSource(EVENTS);
    this.#source = source;
    const heard = (event) => this.#hear(JSON.parse(event.data));
    source.addEventListener("board", heard);
    source.addEventListener("beat", heard);
  }

  #hear(now) {
    const restarted = this.now && now.intake.accepted_spans < this.now.intake.accepted_spans;
    if (restarted) this.#history = [];
    this.now = now;
    this.heardAt = Date.now();
    this.#history.push({at: this.heardAt, now});
    while (this.#history[0].at < this.heardAt - HISTORY_MS) this.#history.shift();
    const boards = `${now.at} ${now.learning} ${now.past_incidents} ${now.incidents.length}`;
    const isNew = boards !== this.#boards;
    this.#boards = boards;
    this.state = "live";
    this.#tell(isNew);
  }

  async #watch() {
    const silent = Date.now() - this.heardAt;
    if (silent < SILENCE_MS) return;
    if (this.state === "live") {
      this.state = "lost";
      this.#tell(false);
    }
    // The browser tries again by itself unless it was turned away.
    if (this.#source.readyState === EventSource.CLOSED) this.#connect();
    if (silent > SILENCE_MS + POLL_MS || !this.now) await this.#poll();
  }

  #polling = false;

  async #poll() {
    if (this.#polling) return;
    this.#polling = true;
    try {
      this.#hear(await get("now"));
    } catch {
      if (this.state === "connecting") this.state = "lost";
      this.#tell(false);
    }
    this.#polling = false;
  }

  #tell(isNew) {
    for (const listener of this.#listeners) listener(this, isNew);
  }
}
