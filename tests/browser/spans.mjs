// Spans for the browser tests: many operations, names that want to be more than names, and recordings of which
// the right answer is known.

import {randomBytes} from "node:crypto";

/** Names that strangers could send. */
export const HOSTILE = [
  "<script>window.pwned = 1</script>",
  "<img src=x onerror=\"window.pwned = 1\">",
  "\"><svg onload=window.pwned=1>",
  "javascript:window.pwned=1",
  "\u202egnorw si siht\u202c \u2066",
  "a\u0000b\u0007c\u001b[31m",
  "`backticks` and {{braces}} and ${dollars}",
  "x".repeat(10000),
  "日本語 العربية עברית 🐕",
  "../../%2e%2e%2f?a=b&c=d#e",
];

const attribute = (key, value) => ({key, value: {stringValue: value}});

const span = (service, name, at, seconds) => ({
  resource: {attributes: [attribute("service.name", service)]},
  scopeSpans: [{spans: [{traceId: randomBytes(16).toString("hex"), spanId: randomBytes(8).toString("hex"), name, kind: 2, startTimeUnixNano: String(BigInt(Math.round(at)) * 1000000n), endTimeUnixNano: String(BigInt(Math.round(at + 1000 * seconds)) * 1000000n)}]}],
});

/** One request of each operation of each service. */
export const requests = (services, operations, now) =>
  services.flatMap((service) => operations.map((operation) => span(service, operation, now - 2000, 0.02)));

/** A Jaeger file: web calls cart, which takes `milliseconds`. */
export function jaeger(milliseconds) {
  const cart = milliseconds * 1000;
  const one = (spanID, parent, processID, operationName, startTime, duration) => ({traceID: "abcdef0123456789", spanID, operationName, processID, startTime, duration, references: parent ? [{refType: "CHILD_OF", traceID: "abcdef0123456789", spanID: parent}] : [], tags: [], logs: []});
  const start = 1758463200000000;
  const spans = [one("a1", null, "p1", "GET /", start, cart + 10000), one("b2", "a1", "p2", "GET /cart", start + 5000, cart)];
  const processes = {p1: {serviceName: "web", tags: []}, p2: {serviceName: "cart", tags: []}};
  return JSON.stringify({data: [{traceID: "abcdef0123456789", spans, processes}]});
}
