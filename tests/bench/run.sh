#!/usr/bin/env bash
# The whole bench in one command; Markdown on standard output, progress on standard error.
#
#   tests/bench/run.sh                 everything (about an hour on two cores)
#   tests/bench/run.sh servers [...]   laghound beside the Collector and two servers that do nothing
#   tests/bench/run.sh memory          bytes of a buffered span and of a key
#   tests/bench/run.sh instructions    callgrind: instructions a span (needs valgrind)
#   tests/bench/run.sh footprint       idle memory and CPU, the time until ready, the size of the binary
#   tests/bench/run.sh replay          how fast recordings are replayed
#   tests/bench/run.sh scrapes [...]   cost of /metrics
#   tests/bench/run.sh api [...]       what readers of the API cost those who send
#   tests/bench/run.sh curves [...]    scaling curves; pictures go to tests/bench/
#   tests/bench/run.sh day [...]       24 hours in simulated time
#   tests/bench/run.sh smoke           a minute: that the bench works
#
# BENCH_PROFILE=fast measures what is built in a fraction of the time, without link-time optimisation.
#
# What follows the name goes to the bench program: `tests/bench/run.sh servers --help`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
profile=${BENCH_PROFILE:-release}
what=${1:-all}
[ $# = 0 ] || shift
# What is not measured need not be linked for an hour.
[ "$what" != smoke ] || profile=fast

# One after the other: together, the bench would lend its features to the product.
build() { cargo build --manifest-path "$root/Cargo.toml" --locked --all-features --profile "$profile" "$@" >&2; }
build --bin laghound
build --example bench
bench=$target/$profile/examples/bench
laghound=$target/$profile/laghound

servers() {
  local collector
  collector=$("$root/tests/e2e/collector/build.sh")
  "$bench" servers --laghound "$laghound" --collector "$collector" "$@"
}

case $what in
  servers) servers "$@" ;;
  smoke) servers --smoke "$@" ;;
  memory) "$bench" memory ;;
  instructions) "$here/callgrind.sh" "$bench" "$@" ;;
  footprint) "$bench" footprint --laghound "$laghound" ;;
  replay) "$bench" replay --laghound "$laghound" ;;
  scrapes) "$bench" scrapes --laghound "$laghound" "$@" ;;
  api) "$bench" api --laghound "$laghound" "$@" ;;
  curves) "$bench" curves --laghound "$laghound" --pictures "$here" "$@" ;;
  day) "$bench" day --pictures "$here" "$@" ;;
  all)
    servers
    "$bench" memory
    "$here/callgrind.sh" "$bench"
    "$bench" scrapes --laghound "$laghound"
    "$bench" api --laghound "$laghound"
    "$bench" curves --laghound "$laghound" --pictures "$here"
    "$bench" day --pictures "$here"
    "$bench" footprint --laghound "$laghound"
    "$bench" replay --laghound "$laghound"
    ;;
  *)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
