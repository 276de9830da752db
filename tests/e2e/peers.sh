#!/usr/bin/env bash
# Installs what the end-to-end test runs against: Debian's prometheus (with promtool) and a Python
# environment with the pinned OpenTelemetry SDK. Prints the path of that environment's python on
# standard output, everything else on standard error. A peer that cannot be had is a failure: a test
# against nothing proves nothing. It does NOT start anything, and leaves nothing in the source tree.
set -euo pipefail
exec 3>&1 1>&2

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/laghound-ci
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n)

# The packages of the arguments that are not installed yet.
missing() {
  local package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

# Debian starts a service as soon as its package is installed, unless this file says no.
policy=/usr/sbin/policy-rc.d
install_quietly() {
  local ours=no
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    ours=yes
  fi
  local status=0
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "$@" || status=$?
  [ "$ours" = no ] || "${as_root[@]}" rm -f "$policy"
  return "$status"
}

wanted=(prometheus)
python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3 python3-venv)
mapfile -t packages < <(missing "${wanted[@]}")
if [ "${#packages[@]}" -gt 0 ]; then
  "${as_root[@]}" apt-get update -q
  install_quietly "${packages[@]}"
fi
prometheus --version 2>&1 | head -n 1
promtool --version 2>&1 | head -n 1

# Named by what is in it and by whose python it is; marked when it is whole, so that an
# install that was cut short is never taken for one.
version=$(python3 -c 'import sys; print(".".join(map(str, sys.version_info[:3])))')
hash=$(sha256sum "$here/requirements.txt" | cut -c1-16)
venv=$cache/venv-$version-$hash
if [ ! -e "$venv/complete" ]; then
  rm -rf "$venv"
  mkdir -p "$cache"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$here/requirements.txt"
  touch "$venv/complete"
fi
"$venv/bin/python" -c 'import opentelemetry.sdk.version as v; print("opentelemetry-sdk", v.__version__)'
echo "$venv/bin/python" >&3
