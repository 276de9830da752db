//! Zipkin v2 JSON: whatever comes after a beginning that is recognised.
#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;

const BEGINNING: &[u8] = b"[{\"traceId\":\"1e223ff1f80f1c69\",";

fuzz_target!(|bytes: &[u8]| {
    common::read(bytes);
    common::read(&[BEGINNING, bytes].concat());
});
