#!/usr/bin/env bash
# Installs what the end-to-end test runs against: Debian's prometheus (with promtool) and a Python
# environment with the pinned OpenTelemetry SDK. Prints the path of that environment's python on
# standard output, everything else on standard error. A peer that cannot be had is a failure: a test
# against nothing proves nothing. It does NOT start anything, and leaves nothing in the source tree.
set -euo pipefail
exec 3>&1 1>&2

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../install.sh"

packages prometheus
prometheus --version 2>&1 | head -n 1
promtool --version 2>&1 | head -n 1

environment "$here/requirements.txt"
"$venv/bin/python" -c 'import opentelemetry.sdk.version as v; print("opentelemetry-sdk", v.__version__)'
echo "$venv/bin/python" >&3
