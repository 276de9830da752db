#!/usr/bin/env bash
# Instructions a span, by callgrind: of the walk, of the path and of everything. The difference of two
# runs of different length, so that what happens once is not in it. Prints a Markdown table; the argument
# is the bench program. Needs valgrind; figures of two commits compare if the compiler is the same.
set -euo pipefail

bench=$1
less=${2:-400}
more=${3:-800}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# Instructions of one run.
instructions() {
  valgrind --tool=callgrind --callgrind-out-file="$out/callgrind.out" \
    "$bench" count "$1" "$2" 2>&1 >/dev/null | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

# Instructions a span, of the argument.
per_span() {
  local few many
  few=$(instructions "$1" "$less")
  many=$(instructions "$1" "$more")
  echo $(((many - few) / ((more - less) * 512)))
}

nothing=$(per_span nothing)
echo '| piece | instructions a span |'
echo '|---|---|'
for piece in count walk path whole; do
  echo "| $piece | $(($(per_span "$piece") - nothing)) |"
done
