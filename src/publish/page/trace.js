// One kept trace: its spans in time, and a way to hold it against a normal one.

import {get} from "./api.js";
import {fill, h} from "./dom.js";
import * as f from "./format.js";
import * as part from "./parts.js";
import {traceWaterfall} from "./waterfall.js";

export function trace(root, params) {
  const id = params.path[0] || "";
  fill(root, part.loading("Loading the trace"));
  const load = async () => {
    try {
      const doc = await get(`traces/${encodeURIComponent(id)}`);
      const one = doc.trace;
      const entry = one.spans[one.entry];
      fill(root, h("h1", {tabindex: "-1"}, "Trace ", h("span", {class: "mono"}, one.trace_id.slice(0, 8))),
        h("p", {class: "lead"}, part.name(entry.operation), " of ", part.name(entry.service), " took ", part.figure(f.duration(one.duration_seconds), "Duration of the entry, from its first to its last moment."), "."),
        h("dl", {class: "facts"},
          h("div", {}, h("dt", {}, "began"), h("dd", {}, h("time", {datetime: one.start}, `${f.moment(one.start, null)} UTC`))),
          h("div", {}, h("dt", {}, "spans"), h("dd", {}, part.figure(f.count(one.spans.length, "span"), "All spans of the trace that came in before it was closed."))),
          one.skewed_spans ? h("div", {}, h("dt", {}, "clocks"), h("dd", {}, part.figure(f.count(one.skewed_spans, "span"), "Spans moved because their host's clock disagreed with their caller's."), " moved")) : null,
          h("div", {}, h("dt", {}, "id"), h("dd", {class: "mono"}, one.trace_id))),
        h("p", {class: "actions"}, doc.normal ? h("a", {class: "button", href: `#/compare?baseline=${doc.normal}&spiked=${one.trace_id}`}, "Hold against a normal one") : null, " ", part.outside(doc.url, "Show in the trace backend ↗")),
        h("section", {}, part.heading("In time"), traceWaterfall(one)));
    } catch (error) {
      fill(root, h("h1", {tabindex: "-1"}, "Trace"), part.failure(error, load));
    }
  };
  load();
  return {title: "trace"};
}
