//! The walk over OTLP/JSON.
#![no_main]

mod common;

use std::sync::Arc;

use laghound::otlp::{Batch, Decoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (names, rules) = common::names();
    let mut batch = Batch::default();
    let mut decoder = Decoder::new(Arc::clone(&names), rules);
    if decoder.json(bytes, &common::limits(), &mut batch).is_ok() {
        common::judge(&batch.spans, names);
    }
});
