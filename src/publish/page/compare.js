// Two recordings dropped here, or two kept traces: what made the second one slow?

import {compareFiles, get} from "./api.js";
import {comparison} from "./comparison.js";
import {announce, fill, h} from "./dom.js";
import * as f from "./format.js";
import * as part from "./parts.js";

export function compare(root, params) {
  const files = {baseline: null, spiked: null};
  const result = h("div", {id: "comparison", "aria-live": "off"});
  const go = h("button", {type: "button", class: "button", disabled: true, id: "go", onclick: () => run()}, "Compare");
  let under = null;

  const zone = (side, title, hint) => {
    const shown = h("p", {class: "drop-name"}, hint);
    const input = h("input", {type: "file", id: `file-${side}`, class: "unseen", onchange: () => take(input.files[0])});
    const take = (file) => {
      if (!file) return;
      files[side] = file;
      fill(shown, part.name(file.name, 60), ` ${f.bytes(file.size)}`);
      go.disabled = !(files.baseline && files.spiked);
      announce(`${title} ${f.short(file.name, 60)}`);
    };
    const over = (on) => (event) => { event.preventDefault(); box.classList.toggle("over", on); };
    const box = h("label", {class: "drop", for: `file-${side}`, "data-side": side, ondragenter: over(true), ondragover: over(true), ondragleave: over(false),
      ondrop: (event) => {
        over(false)(event);
        const dropped = [...event.dataTransfer.files];
        if (dropped.length > 1) { document.dispatchEvent(new CustomEvent("both", {detail: dropped})); return; }
        take(dropped[0]);
      }}, h("span", {class: "drop-title"}, title), input, shown);
    return {box, take};
  };
  const normal = zone("baseline", "Normal", "Drop a file here, or press to choose one");
  const slow = zone("spiked", "Slow", "Drop a file here, or press to choose one");
  const both = (event) => { normal.take(event.detail[0]); slow.take(event.detail[1]); };
  document.addEventListener("both", both);

  const run = async (ids) => {
    under?.abort();
    under = new AbortController();
    fill(result, part.loading("Comparing"));
    go.disabled = true;
    try {
      const doc = ids ? await get("compare", ids, under.signal) : await compareFiles(files.baseline, files.spiked, under.signal);
      fill(result, comparison(doc));
      announce(f.safe(doc.headline || doc.verdict));
    } catch (error) {
      if (error.name !== "AbortError") fill(result, part.failure(error));
    }
    go.disabled = !(files.baseline && files.spiked);
  };

  const kept = h("div");
  fill(root, h("h1", {tabindex: "-1"}, "Compare"),
    h("p", {class: "lead"}, "What made the second one slow? One trace against one trace, span by span; or, where a file holds many, one population against the other."),
    h("div", {class: "drops"}, normal.box, slow.box),
    h("p", {class: "actions"}, go, h("span", {class: "note"}, " OTLP (JSON or protobuf), Jaeger JSON, Zipkin JSON; plain, gzip or zstd. What a file is, is told by its content; it is not kept.")),
    h("details", {ontoggle: (event) => { if (event.target.open && !kept.childNodes.length) pick(kept, run); }}, h("summary", {}, "or two traces that laghound kept"), kept),
    result);
  if (params.query.baseline && params.query.spiked) run({baseline: params.query.baseline, spiked: params.query.spiked});
  return {title: "compare", end: () => { under?.abort(); document.removeEventListener("both", both); }};
}

async function pick(place, run) {
  fill(place, part.loading());
  try {
    const {traces, total} = await get("traces", {limit: 500});
    if (!traces.length) {
      fill(place, part.note("No trace is kept yet."));
      return;
    }
    const option = (one) => h("option", {value: one.trace_id}, `${one.incident ? `incident ${one.incident}, ` : ""}${one.role}: ${f.duration(one.duration_seconds)}, ${f.short(one.operation, 40)} of ${f.short(one.service, 30)} (${one.trace_id.slice(0, 8)})`);
    const chooser = (id, text, first) => h("label", {class: "picker"}, text, h("select", {id}, [...first, ...traces.filter((one) => !first.includes(one))].map(option)));
    const baseline = chooser("kept-baseline", "Normal ", traces.filter((one) => one.role === "typical"));
    const spiked = chooser("kept-spiked", "Slow ", traces.filter((one) => one.role !== "typical"));
    const value = (label) => label.querySelector("select").value;
    fill(place, h("div", {class: "pickers"}, baseline, spiked, h("button", {type: "button", class: "button", onclick: () => run({baseline: value(baseline), spiked: value(spiked)})}, "Compare these")),
      total > traces.length ? part.note(`${f.number(traces.length)} of ${f.count(total, "kept trace")}.`) : null);
  } catch (error) {
    fill(place, part.failure(error, () => pick(place, run)));
  }
}
