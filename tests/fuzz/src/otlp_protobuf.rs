//! The walk over the protobuf wire format.
#![no_main]

mod common;

use std::sync::Arc;

use laghound::otlp::{Batch, Decoder, count};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(checked) = count(bytes, &common::limits()) else { return };
    let (names, rules) = common::names();
    let mut batch = Batch::default();
    // What was counted can be walked, and holds as many spans as were counted.
    Decoder::new(Arc::clone(&names), rules).protobuf(&checked, &mut batch).expect("counted");
    let found = batch.spans.len() as u64 + batch.defects.total();
    assert_eq!(found, checked.cost.spans as u64);
    common::judge(&batch.spans, names);
});
