// Numbers, times and names as people read them; every number comes with its unit.

const integer = new Intl.NumberFormat("en-US", {maximumFractionDigits: 0});

/** Three significant digits, without an exponent. */
function three(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return value.toFixed(digits).replace(/\.0+$|(\.\d*[1-9])0+$/, "$1");
}

/** Seconds in the unit people would choose: "310 ms", "1.21 s", "4 min 10 s". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const size = Math.abs(seconds);
  if (size === 0) return "0 s";
  if (size < 1e-6) return `${three(seconds * 1e9)} ns`;
  if (size < 0.9995e-3) return `${three(seconds * 1e6)} µs`;
  if (size < 0.9995) return `${three(seconds * 1e3)} ms`;
  if (size < 119.5) return `${three(seconds)} s`;
  return span(seconds);
}

/** A rise with its sign. */
export const change = (seconds) => (seconds > 0 ? "+" : seconds < 0 ? "−" : "") + duration(Math.abs(seconds));

/** Long stretches of time in two units. */
export function span(seconds) {
  const sign = seconds < 0 ? "−" : "";
  let rest = Math.round(Math.abs(seconds));
  const parts = [];
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const count = Math.floor(rest / length);
    rest -= count * length;
    if (count > 0 || (unit === "s" && parts.length === 0)) parts.push(`${count} ${unit}`);
    if (parts.length === 2 || (parts.length === 1 && count === 0)) break;
  }
  return sign + parts.join(" ");
}

/** A share: "96 %", "0.4 %". */
export function percent(share) {
  if (!Number.isFinite(share)) return "–";
  const value = share * 100;
  if (value !== 0 && Math.abs(value) < 0.1) return value < 0 ? "> −0.1 %" : "< 0.1 %";
  if (value !== 0 && Math.abs(value) < 1) return `${value.toFixed(1)} %`;
  return `${Math.round(value)} %`;
}

/** A whole number with a word: "1 span", "5,210 spans". */
export const count = (value, one, many) => `${integer.format(value)} ${value === 1 ? one : many || one + "s"}`;

export const number = (value) => integer.format(value);

/** A rate: "12 spans/s". */
export function rate(perSecond, what) {
  if (perSecond === null || !Number.isFinite(perSecond)) return "–";
  return `${perSecond >= 10 ? integer.format(perSecond) : three(perSecond)} ${what}/s`;
}

export function bytes(value) {
  let size = value;
  for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) {
    if (size < 1024 || unit === "TiB") return `${unit === "B" ? size : three(size)} ${unit}`;
    size /= 1024;
  }
  return "";
}

const two = (value) => String(value).padStart(2, "0");

/** "14:03:05", UTC like every time here: teams and logs have no time zone in common but this one. */
export function clock(text) {
  const at = new Date(text);
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
}

export const minute = (text) => clock(text).slice(0, 5);

/** "2026-09-21 14:03:05", or the clock alone if it is of the same day as `now`. */
export function moment(text, now) {
  const day = new Date(text).toISOString().slice(0, 10);
  return now && new Date(now).toISOString().slice(0, 10) === day ? clock(text) : `${day} ${clock(text)}`;
}

/** The same moment where the reader is, for a tip. */
export const local = (text) => new Date(text).toLocaleString(undefined, {timeZoneName: "short"});

export const seconds = (from, to) => (new Date(to) - new Date(from)) / 1000;

const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** A stranger's name made fit to be shown: what is invisible or turns text around becomes an escape. */
export const safe = (text) =>
  String(text).replace(UNSAFE, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

/** The same, no longer than `most` characters. */
export function short(text, most = 80) {
  const characters = Array.from(String(text).slice(0, 4 * most));
  const cut = characters.length > most || String(text).length > 4 * most;
  return safe(characters.slice(0, most).join("")) + (cut ? "…" : "");
}

const REASONS = {
  self_time: ["each call got slower", "the service's own time in a call rose: its code, its CPU, what it waits for without a span"],
  call_gap: ["calls wait longer on the way", "the time between the caller's CLIENT and its SERVER span rose: network, proxy or accept queue"],
  call_count: ["more calls than before", "each call is as fast as ever, but a request makes more of them"],
  lost_parallelism: ["calls no longer run side by side", "calls that overlapped now run one after the other"],
  new_operation: ["a new operation", "there is no baseline for it yet, and its service got slower all the same"],
  improved: ["less time than before", "it takes less time than on the other side"],
};

export const reason = (text) => (REASONS[text] || [text])[0];
export const reasonMeans = (text) => (REASONS[text] || ["", ""])[1];

const PATTERNS = {
  sustained: "most calls are slow",
  intermittent: "a few calls are slow, by much",
};

export const patternMeans = (text) => PATTERNS[text] || "";

const KINDS = {
  service: "an instrumented service's own time",
  dependency: "something that sends no spans itself: a database, a cache, a broker, a third party",
  edge: "the way between two services: network, proxy or accept queue",
};

export const kindMeans = (text) => KINDS[text] || "";

/** SPAN_KIND_SERVER is server. */
export const spanKind = (text) => String(text).replace(/^SPAN_KIND_/, "").toLowerCase();
