use std::io::Read;
use std::sync::Arc;
use laghound::engine::EngineParams;
use laghound::live::replay::Replay;
use laghound::model::*;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as Req;

fn load(path: &std::path::Path, names: &Interner) -> Vec<Vec<SpanRecord>> {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let mut cache = InternCache::default();
    let mut out = Vec::new();
    for line in text.lines() {
        let req: Req = serde_json::from_str(line).unwrap();
        let mut batch = Vec::new();
        for rs in &req.resource_spans {
            let svc = rs.resource.as_ref().unwrap().attributes.iter().find(|a| a.key == "service.name").map(|a| match a.value.as_ref().unwrap().value.as_ref().unwrap() {
                opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(s) => s.clone(), _ => panic!() }).unwrap();
            let r = cache.resource(names, svc.as_bytes(), AttrSetId::EMPTY);
            for ss in &rs.scope_spans { for s in &ss.spans {
                let kind = SpanKind::from_number(s.kind as u64);
                let key = cache.key(names, r, s.name.as_bytes(), kind);
                batch.push(SpanParts { trace_id: &s.trace_id, span_id: &s.span_id, parent_span_id: &s.parent_span_id, start: s.start_time_unix_nano, end: s.end_time_unix_nano, key, peer: None, attrs: AttrSetId::EMPTY, failed: false }.check().unwrap());
            } }
        }
        out.push(batch);
    }
    out
}

fn main() {
    let dir = std::path::PathBuf::from(std::env::args().nth(1).unwrap_or("../shared/data/rca".into()));
    let labels: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(dir.join("labels.json")).unwrap()).unwrap();
    let mut files: Vec<_> = labels.as_object().unwrap().keys().cloned().collect();
    files.sort();
    let filter = std::env::args().nth(2).unwrap_or_default();
    for file in files.iter().filter(|f| !f.starts_with("siq") && f.contains(&filter)) {
        let l = &labels[file];
        let (fs, fe) = (l["fault_start"].as_f64().unwrap(), l["fault_end"].as_f64().unwrap());
        let cause = l["root_cause"].as_str().unwrap();
        let names = Arc::new(Interner::new(InternLimits::default()));
        let data = load(&dir.join(file), &names);
        let mut replay = Replay::new(EngineParams::default(), names, 1);
        let mut events = Vec::new();
        for m in &data { events.extend(replay.message(m)); }
        events.extend(replay.finish());
        let acc = replay.account();
        assert!(acc.balances());
        let mut first = None;
        let mut falses = 0;
        for e in &events {
            if let laghound::engine::verdict::Event::Opened(i) = e {
                let at = i.detected.as_secs_f64();
                if at < fs { falses += 1; }
                if i.end.is_none() && at >= fs && first.is_none() { first = Some((at - fs, i.suspects[0].service.to_string())); }
            }
        }
        println!("{file} cause={cause} falses={falses} first={first:?} dropped={:?}", acc.dropped);
        for i in replay.incidents() {
            let s: Vec<_> = i.suspects.iter().take(3).map(|s| format!("{}/{} {:.2} {} {} {}", s.service, s.operation, s.score, s.kind.as_str(), s.reason.as_str(), s.pattern.as_str())).collect();
            println!("   [{:.0} det {:.0} end {:.0}] ex={:.1} un={:.2} {}", i.start.as_secs_f64()-fs, i.detected.as_secs_f64()-fs, i.end.map_or(f64::NAN, |e| e.as_secs_f64()-fs), i.excess_seconds, i.unexplained_share, s.join(" | "));
        }
        let _ = fe;
    }
}
