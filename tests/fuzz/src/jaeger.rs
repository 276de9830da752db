//! Jaeger JSON: whatever comes after a beginning that is recognised.
#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;

const BEGINNING: &[u8] = b"{\"data\":[{\"traceID\":\"a\",\"spans\":[";

fuzz_target!(|bytes: &[u8]| {
    common::read(bytes);
    common::read(&[BEGINNING, bytes].concat());
});
