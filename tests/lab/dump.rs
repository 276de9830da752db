//! A case as a recording: OTLP/JSON, one message a line, in the order of arrival, for `laghound replay`.

use std::io::Write;

use serde_json::{Value, json};

use crate::records::{attributes, kind, trace_id};
use crate::sim::classes::Case;
use crate::sim::delivery::{Batch, RawSpan};
use crate::sim::scenario::{Scenario, Variant};
use crate::sim::world::World;

const SECOND: u64 = 1_000_000_000;

/// Writes the case; says how many spans.
pub(crate) fn dump(case: Case, out: &mut impl Write) -> std::io::Result<u64> {
    let scenario = case.build().scenario;
    let mut world = World::new(&scenario, Variant::Faulty, 0, true);
    let mut spans = 0;
    for second in 1..=scenario.length / SECOND + 30 {
        world.run_until(second * SECOND);
        while let Some(batch) = world.batch() {
            spans += batch.spans.len() as u64;
            serde_json::to_writer(&mut *out, &message(&scenario, &batch))?;
            out.write_all(b"\n")?;
        }
    }
    Ok(spans)
}

/// One exporter's batch; a process that was restarted meanwhile has spans of two resources in it.
fn message(scenario: &Scenario, batch: &Batch) -> Value {
    let one = |spans: &[RawSpan]| {
        let version = scenario.lives[batch.instance][usize::from(spans[0].life)].version;
        let system = &scenario.system;
        let (mut resource, _) = attributes(system, version, &spans[0]);
        let service = system.service_name(system.instances[batch.instance].service);
        resource.insert(0, ("service.name", service.to_owned()));
        let spans: Vec<Value> = spans.iter().map(|raw| span(scenario, version, raw)).collect();
        json!({"resource": {"attributes": list(&resource)}, "scopeSpans": [{"spans": spans}]})
    };
    let resources = batch.spans.chunk_by(|one, two| one.life == two.life).map(one);
    json!({"resourceSpans": resources.collect::<Vec<_>>()})
}

fn span(scenario: &Scenario, version: usize, raw: &RawSpan) -> Value {
    let label = &scenario.system.labels[raw.label as usize];
    let (_, own) = attributes(&scenario.system, version, raw);
    let parent = if raw.parent == 0 { String::new() } else { format!("{:016x}", raw.parent) };
    json!({
        "traceId": format!("{:032x}", trace_id(raw.trace)),
        "spanId": format!("{:016x}", raw.id),
        "parentSpanId": parent,
        "name": label.name,
        "kind": kind(label.kind) as u8,
        "startTimeUnixNano": raw.start.to_string(),
        "endTimeUnixNano": raw.end.to_string(),
        "attributes": list(&own),
        "status": if raw.failed { json!({"code": 2}) } else { json!({}) },
    })
}

fn list(attributes: &[(&'static str, String)]) -> Value {
    let one = |(name, value): &(&'static str, String)| json!({"key": name, "value": {"stringValue": value}});
    attributes.iter().map(one).collect()
}
