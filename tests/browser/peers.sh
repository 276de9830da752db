#!/usr/bin/env bash
# Installs what the browser tests run against: Debian's chromium and node, and puppeteer-core and axe-core at
# the versions of package-lock.json. Prints the folder they lie in on standard output, everything else on
# standard error. What cannot be had is a failure: a test without a browser proves nothing. It does NOT start
# anything, and leaves nothing in the source tree.
set -euo pipefail
exec 3>&1 1>&2

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/laghound-ci
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n)

packages=()
command -v chromium >/dev/null || packages+=(chromium)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
# Names in other scripts and right-to-left ones are drawn, too.
fc-list 2>/dev/null | grep -q DejaVu || packages+=(fontconfig fonts-dejavu-core)
if [ "${#packages[@]}" -gt 0 ]; then
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}"
fi
chromium --version 2>/dev/null
node --version

# Named by what is in it; marked when it is whole, so that an install that was cut short is never taken for one.
hash=$(sha256sum "$here/package-lock.json" | cut -c1-16)
folder=$cache/browser-$(node --version)-$hash
if [ ! -e "$folder/complete" ]; then
  rm -rf "$folder"
  mkdir -p "$folder"
  cp "$here/package.json" "$here/package-lock.json" "$folder/"
  (cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
  touch "$folder/complete"
fi
echo "$folder" >&3
