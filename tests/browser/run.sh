#!/usr/bin/env bash
# The page in a real browser: run.sh BINARY [FILE...] runs the tests, run.sh BINARY --pictures FOLDER draws every
# view. Installs what is missing (see peers.sh); all servers are on free ports of 127.0.0.1.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAGHOUND=$(realpath "$1")
shift
BROWSER_PEERS=$("$here/peers.sh")
export LAGHOUND BROWSER_PEERS

if [ "${1:-}" = --pictures ]; then
  mkdir -p "$2"
  exec node "$here/pictures.mjs" "$(realpath "$2")"
fi
[ $# -gt 0 ] || set -- "$here"/*.test.mjs
exec node --test --test-concurrency=2 --test-timeout=300000 "$@"
