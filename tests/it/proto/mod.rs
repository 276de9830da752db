//! The query service's interface: the code is what `proto/` says, and nobody's client breaks.
//!
//! The code is committed, so that building needs neither protoc nor a generator; `BLESS=1` writes it anew. What
//! the service answers is tested beside it, in `src/publish/grpc`.

mod compatible;

use std::path::{Path, PathBuf};

use prost::Message as _;
use prost_types::FileDescriptorSet;

const PROTO: &str = "laghound/v1/query.proto";

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What the file says, by a compiler written in Rust. With its comments, or as little as others need to know.
fn compiled(comments: bool) -> FileDescriptorSet {
    let mut compiler = protox::Compiler::new([at("proto")]).unwrap();
    compiler.include_source_info(comments).include_imports(true).open_file(PROTO).unwrap();
    compiler.file_descriptor_set()
}

/// The file that was last released, as clients know it.
fn released() -> FileDescriptorSet {
    let bytes = std::fs::read(at("tests/fixtures/proto/laghound.v1.bin")).unwrap();
    FileDescriptorSet::decode(&bytes[..]).unwrap()
}

fn generated() -> String {
    let folder = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .bytes(".laghound.v1.Recording.content")
        .out_dir(folder.path())
        .compile_fds(compiled(true))
        .unwrap();
    std::fs::read_to_string(folder.path().join("laghound.v1.rs")).unwrap()
}

#[test]
fn the_committed_code_is_what_the_proto_file_generates() {
    let (code, descriptors) =
        (at("proto/generated/laghound.v1.rs"), at("proto/generated/laghound.v1.bin"));
    let expected = (generated().into_bytes(), compiled(false).encode_to_vec());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&code, &expected.0).unwrap();
        std::fs::write(&descriptors, &expected.1).unwrap();
    }
    let hint = "BLESS=1 cargo test --test it the_committed_code";
    assert!(std::fs::read(code).unwrap_or_default() == expected.0, "the code is stale: {hint}");
    let descriptors = std::fs::read(descriptors).unwrap_or_default();
    assert!(descriptors == expected.1, "the descriptors are stale: {hint}");
}

#[test]
fn clients_of_the_last_release_are_still_understood() {
    let broken = compatible::broken(&released(), &compiled(false));
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
