#!/usr/bin/env bash
# Builds the OpenTelemetry Collector that the tests and the load bench run against, from manifest.yaml
# with the Collector's own builder, once: the binary is kept under the user's cache, named by a hash
# of the manifest and this script. Prints its path on standard output, everything else on standard
# error. It does NOT start it, and leaves nothing in the source tree.
set -euo pipefail
exec 3>&1 1>&2

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/laghound-ci
# The toolchain is used where the machine has no Go that is new enough.
go_toolchain=go1.25.5
go_minor_at_least=25

release=$(sed -n 's/^ *version: //p' "$here/manifest.yaml")
hash=$(cat "$here/manifest.yaml" "${BASH_SOURCE[0]}" | sha256sum | cut -c1-16)
collector=$cache/otelcol-$release-$hash
if [ -x "$collector/otelcol" ]; then
  echo "$collector/otelcol" >&3
  exit 0
fi

# Two that start at once wait for one build.
mkdir -p "$cache"
exec 9>"$cache/otelcol.lock"
flock 9
if [ -x "$collector/otelcol" ]; then
  echo "$collector/otelcol" >&3
  exit 0
fi

# Whether the go of the argument is 1.25 or later.
recent() {
  local minor
  minor=$("$1" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
  [ "${minor:-0}" -ge "$go_minor_at_least" ]
}

# Go's toolchains are Go modules, so any older go can download one; go 1.21 and later would also make it
# fit to run, which is done here for all: files become executable, and get back the name of go.mod.
toolchain_by_module() {
  local home=$cache/$go_toolchain
  if [ ! -e "$home/complete" ]; then
    if ! command -v go >/dev/null; then
      local as_root=()
      [ "$(id -u)" = 0 ] || as_root=(sudo -n)
      "${as_root[@]}" apt-get update -q
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends golang-go
    fi
    local module scratch
    # It is looked up from a module of its own: the file that it leaves says where things are.
    module=golang.org/toolchain@v0.0.1-$go_toolchain.$(go env GOOS)-$(go env GOARCH)
    scratch=$(mktemp -d)
    (cd "$scratch" && go mod init scratch && GOFLAGS=-mod=mod go mod download -json "$module" >where.json)
    rm -rf "$home"
    cp -r "$(sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p' "$scratch/where.json")" "$home"
    chmod -R u+w "$home"
    find "$home" -name _go.mod -execdir mv {} go.mod \;
    chmod -R u+x "$home/bin" "$home/pkg/tool"
    rm -rf "$scratch"
    touch "$home/complete"
  fi
  go=$home/bin/go
}

go=$(command -v go || true)
if [ -z "$go" ] || ! recent "$go"; then
  toolchain_by_module
fi
export PATH=${go%/*}:$PATH GOTOOLCHAIN=local CGO_ENABLED=0
unset GOFLAGS GOBIN GOROOT
go version

work=$(mktemp -d "$cache/otelcol.XXXXXX")
trap 'rm -rf "$work"' EXIT
GOBIN=$work go install "go.opentelemetry.io/collector/cmd/builder@v$release"
{
  echo "dist: {name: otelcol, description: OpenTelemetry Collector for laghound's tests, version: $release, output_path: $work/source}"
  sed '/^dist:/,/^$/d' "$here/manifest.yaml"
} >"$work/manifest.yaml"
"$work/builder" --config "$work/manifest.yaml"
"$work/source/otelcol" --version

# Whole or not at all, so that a build that was cut short is never taken for one.
mkdir "$work/whole"
mv "$work/source/otelcol" "$work/whole/otelcol"
rm -rf "$collector"
mv "$work/whole" "$collector"
echo "$collector/otelcol" >&3
