#!/usr/bin/env bash
# Runs every fuzz target, or those named, for so many seconds each: FUZZ_SECONDS=3600 tests/fuzz/run.sh otlp_json
# Coverage-guided by libFuzzer, on the stable toolchain: only the sanitizers would need another one, and
# there is no unsafe code here to sanitize. A crash ends it, with the input kept under tests/fuzz/artifacts.
# Begins with the seeds in the tree and whatever corpus/ holds; what coverage finds new is kept in corpus/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
seconds=${FUZZ_SECONDS:-60}
[ $# -gt 0 ] || set -- otlp_protobuf otlp_json recording jaeger zipkin engine snapshot
# Fuzzed code is built apart: its flags would rebuild everything else.
export CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-$PWD/target}
coverage='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4'
coverage+=' -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table'
coverage+=' -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing'
# With a target named, build scripts and macros are built without the flags.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="$coverage" cargo build --release --target "$host" --bins
for target in "$@"; do
  printf -- '-- %s, %s s\n' "$target" "$seconds"
  mkdir -p "corpus/$target" "artifacts"
  "$CARGO_TARGET_DIR/$host/release/$target" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="artifacts/$target-" "corpus/$target" "seeds/$target" 2>&1 | grep -vE '^#|NEW|REDUCE|pulse' | tail -n 20
  test "${PIPESTATUS[0]}" = 0
done
