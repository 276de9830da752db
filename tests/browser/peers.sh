#!/usr/bin/env bash
# Installs what the browser tests run against: Debian's chromium and node, and puppeteer-core and axe-core at
# the versions of package-lock.json. Prints the folder they lie in on standard output, everything else on
# standard error. What cannot be had is a failure: a test without a browser proves nothing. It does NOT start
# anything, and leaves nothing in the source tree.
set -euo pipefail
exec 3>&1 1>&2

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../install.sh"

command -v chromium >/dev/null || packages chromium
# Names in other scripts and right-to-left ones are drawn, too.
fc-list 2>/dev/null | grep -q DejaVu || packages fontconfig fonts-dejavu-core
chromium --version 2>/dev/null
node_modules browser "$here"
node --version
echo "$modules" >&3
