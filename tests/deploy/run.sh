#!/usr/bin/env bash
# Hands every file of deploy/ to the program that it is for, or to that program's schema, offline.
#
#   tests/deploy/run.sh path/to/laghound [TEST]...      # a TEST is a module, class or method: test_alertmanager.Files
#
# Installs what it needs (tools.sh). Exit code 0 only if nothing is wrong; what cannot be checked here is said in
# deploy/README.md.
set -euo pipefail
exec </dev/null

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAGHOUND_BINARY=$(realpath -e "${1:?the laghound binary}")
shift
[ -x "$LAGHOUND_BINARY" ]
tools=$("$here/tools.sh")
export LAGHOUND_BINARY PATH=$tools:$PATH PYTHONPATH=$here:$here/../e2e PYTHONDONTWRITEBYTECODE=1
cd "$here"
if [ "$#" -gt 0 ]; then
  exec python -m unittest -v "$@"
fi
exec python -m unittest discover -v -s "$here"
