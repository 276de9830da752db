# How tests get what they run against: sourced, not run. Everything lands in the system's packages or in the
# user's cache, nothing in the source tree. What cannot be had is a failure: a test against nothing proves
# nothing. All output goes to standard error, so that a script can print a path on standard output.

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

# Debian packages, those that are missing.
packages() {
  local -a wanted
  mapfile -t wanted < <(missing "$@")
  [ "${#wanted[@]}" -gt 0 ] || return 0
  "${as_root[@]}" apt-get update -q
  install_quietly "${wanted[@]}"
}

# environment REQUIREMENTS: sets `venv` to a Python environment with exactly these. Named by what is in it and
# by whose python it is; marked when it is whole, so that an install that was cut short is never taken for one.
environment() {
  local version hash
  python3 -c 'import ensurepip, venv' 2>/dev/null || packages python3 python3-venv
  version=$(python3 -c 'import sys; print(".".join(map(str, sys.version_info[:3])))')
  hash=$(sha256sum "$1" | cut -c1-16)
  venv=$cache/venv-$version-$hash
  [ ! -e "$venv/complete" ] || return 0
  rm -rf "$venv"
  mkdir -p "$cache"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$1"
  touch "$venv/complete"
}

# recent_go MINOR: puts a Go of at least 1.MINOR first in PATH, of a machine that has one or of Go's own
# toolchain module, which any older go can download; go 1.21 and later would also make it fit to run, which is
# done here for all: files become executable, and get back the name of go.mod.
recent_go() {
  local minor toolchain=go1.26.4
  unset GOFLAGS GOBIN GOROOT
  export GOTOOLCHAIN=local CGO_ENABLED=0
  minor=$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p' || true)
  if [ "${minor:-0}" -lt "$1" ]; then
    local home=$cache/$toolchain
    if [ ! -e "$home/complete" ]; then
      command -v go >/dev/null || packages golang-go
      local module scratch
      # It is looked up from a module of its own: the file that it leaves says where things are.
      module=golang.org/toolchain@v0.0.1-$toolchain.$(go env GOOS)-$(go env GOARCH)
      scratch=$(mktemp -d)
      (cd "$scratch" && go mod init scratch && GOFLAGS=-mod=mod go mod download -json "$module" >where.json)
      rm -rf "$home"
      mkdir -p "$cache"
      cp -r "$(sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p' "$scratch/where.json")" "$home"
      chmod -R u+w "$home"
      find "$home" -name _go.mod -execdir mv {} go.mod \;
      chmod -R u+x "$home/bin" "$home/pkg/tool"
      rm -rf "$scratch"
      touch "$home/complete"
    fi
    export PATH=$home/bin:$PATH
  fi
  go version
}

# node_modules NAME FOLDER: sets `modules` to a folder with exactly what the package-lock.json of FOLDER says, and installs node
# if the machine has none. Marked when it is whole, as above.
node_modules() {
  command -v node >/dev/null || packages nodejs
  command -v npm >/dev/null || packages npm
  modules=$cache/$1-$(node --version)-$(sha256sum "$2/package-lock.json" | cut -c1-16)
  [ ! -e "$modules/complete" ] || return 0
  rm -rf "$modules"
  mkdir -p "$modules"
  cp "$2/package.json" "$2/package-lock.json" "$modules/"
  (cd "$modules" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
  touch "$modules/complete"
}
