//! The JSON against a document written by hand from the contract; the text by what it must say.

use super::*;
use crate::engine::verdict::Reason;
use crate::publish::testing::{after, cart_incident, suspect};

fn report() -> ReplayReport {
    ReplayReport {
        spans: 261_034,
        traces: 6_900,
        from: Some(Timestamp::from_secs(1_790_000_000)),
        to: Some(Timestamp(1_790_000_891_250_000_000)),
        accounting: Accounting {
            accepted: 261_034,
            analyzed: 261_000,
            dropped: [("duplicate", 34), ("late", 0)].into(),
        },
        incidents: vec![cart_incident()],
        learning: false,
    }
}

/// Start is 14:20:00 + 5 s, detection 15 s later. 0.93 of 12.4 s is 11.532 s; the rest is 0.07.
const EXPECTED: &str = r#"{
  "spans": 261034,
  "traces": 6900,
  "from": "2026-09-21T14:13:20Z",
  "to": "2026-09-21T14:28:11.250Z",
  "accounting": {
    "accepted": 261034,
    "analyzed": 261000,
    "dropped": {
      "duplicate": 34,
      "late": 0
    }
  },
  "incidents": [
    {
      "id": 1,
      "start": "2026-09-21T14:20:05Z",
      "detected": "2026-09-21T14:20:20Z",
      "end": null,
      "excess_seconds": 12.4,
      "unexplained_share": 0.07,
      "confidence": 0.9,
      "entries": [
        {
          "service": "storefront",
          "operation": "GET /cart",
          "excess_seconds": 12.4,
          "baseline_seconds": 0.12,
          "recent_seconds": 0.41
        }
      ],
      "suspects": [
        {
          "rank": 1,
          "service": "cart",
          "kind": "service",
          "operation": "GET /items",
          "score": 0.93,
          "excess_seconds": 11.532,
          "reason": "self_time",
          "pattern": "sustained",
          "where": {
            "attribute": "k8s.pod.name",
            "value": "cart-2",
            "share": 0.97
          },
          "baseline_seconds": 0.004,
          "recent_seconds": 0.031,
          "calls": 812,
          "example_trace_ids": [
            "00000000000000000000000000000abc"
          ]
        }
      ],
      "impacted": [
        {
          "service": "storefront",
          "excess_seconds": 12.4
        }
      ]
    }
  ]
}
"#;

#[test]
fn the_json_is_the_document_of_the_contract() {
    assert_eq!(report().to_json(), EXPECTED);
}

#[test]
fn what_is_absent_is_null() {
    let mut report = report();
    report.incidents[0].suspects[0].where_ = None;
    report.incidents[0].end = Some(after(65));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert!(json["incidents"][0]["suspects"][0]["where"].is_null());
    assert_eq!(json["incidents"][0]["end"], "2026-09-21T14:21:05Z");
    let empty = ReplayReport { from: None, to: None, incidents: vec![], ..report };
    let json: serde_json::Value = serde_json::from_str(&empty.to_json()).unwrap();
    assert!(json["from"].is_null() && json["to"].is_null());
    assert_eq!(json["incidents"], serde_json::json!([]));
}

#[test]
fn names_and_numbers_survive_json_whatever_they_are() {
    let mut report = report();
    let name = "\u{202e}\"quo\\te\"\n\0🛒";
    report.incidents[0].suspects[0].service = name.into();
    report.incidents[0].suspects[0].score = f64::NAN;
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["incidents"][0]["suspects"][0]["service"], name);
    assert_eq!(json["incidents"][0]["suspects"][0]["score"], 0.0);
}

#[test]
fn the_text_tells_the_incident_with_its_evidence() {
    let mut report = report();
    let mut second = suspect(2, "orders", 0.05);
    second.reason = Reason::CallCount;
    report.incidents[0].suspects.push(second);
    report.incidents[0].end = Some(after(65));
    report.incidents[0].unexplained_share = 0.02;
    let text = report.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "261034 spans of 6900 traces, 2026-09-21 14:13:20 to 14:28:11 UTC");
    assert_eq!(lines[1], "261000 analyzed, not analyzed: 34 duplicate");
    assert_eq!(lines[3], "Incident 1, 2026-09-21 14:20:05 to 14:21:05 UTC, detected 14:20:20");
    assert!(lines[4].starts_with("  `cart` makes `GET /cart` of `storefront` 290 ms slower"));
    let cells = |line: &str| {
        line.split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let cart = "1|cart|service|GET /items|93 %|11.532 s|self_time|sustained|4.00 ms -> 31.00 ms\
                |k8s.pod.name=cart-2";
    assert_eq!(cells(lines[6]).join("|"), cart);
    assert!(lines[7].contains("call_count"));
    // 2 % of 12.4 s.
    assert_eq!(cells(lines[8]), ["(unexplained)", "2 %", "248 ms"]);
    let share = lines[5].find("share").unwrap();
    assert_eq!(lines[6].find("93 %"), Some(share));
    assert_eq!(lines[8].find("2 %"), Some(share));
    assert_eq!(lines[9], "  slower: GET /cart of storefront, 120 ms -> 410 ms, 12.400 s in all");
    assert!(lines[10].starts_with("  traces of cart: 000000000000000000"));
}

#[test]
fn without_an_incident_the_text_says_why_there_is_none() {
    let quiet = ReplayReport { incidents: vec![], ..report() };
    assert!(quiet.to_string().contains("\nNo incident: "));
    let short = ReplayReport { learning: true, ..quiet.clone() };
    assert!(short.to_string().contains("ended before enough was learned"));
    let empty = ReplayReport { spans: 0, traces: 0, from: None, to: None, ..quiet };
    assert!(empty.to_string().contains("there were no spans"));
    assert!(empty.to_string().starts_with("0 spans of 0 traces\n"));
}

#[test]
fn an_incident_over_midnight_names_both_dates() {
    let stretch = Stretch { from: after(0), to: Some(after(86_400)) };
    assert_eq!(stretch.to_string(), "2026-09-21 14:20:00 to 2026-09-22 14:20:00 UTC");
}
