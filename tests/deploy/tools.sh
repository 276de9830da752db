#!/usr/bin/env bash
# Installs the programs that read what is in deploy/: Debian's Prometheus, Alertmanager, buildah and musl, pinned
# Python packages, and pinned Go programs built through the Go module proxy, once; the Collector among them. Prints what has to
# come first in PATH, everything else on standard error. It does NOT check anything.
set -euo pipefail
exec 3>&1 1>&2

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../install.sh"

# NAME=MODULE@VERSION. The recent amtool stands beside Debian's, which is four years older.
programs=(
  helm=helm.sh/helm/v3/cmd/helm@v3.22.0
  kustomize=sigs.k8s.io/kustomize/kustomize/v5@v5.8.2
  kubeconform=github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
  amtool-recent=github.com/prometheus/alertmanager/cmd/amtool@v0.34.2
  compose-spec=github.com/compose-spec/compose-go/v2/cmd@v2.16.2
)
# Files of a Go module, as they were released.
data=(
  github.com/prometheus-operator/prometheus-operator@v0.85.0
)

# The program is in the cache already, or is built into it.
program() {
  local name=${1%%=*} module=${1#*=}
  local home=$cache/go/$name-${module##*@}
  if [ ! -x "$home/$name" ]; then
    local scratch
    scratch=$(mktemp -d)
    GOBIN=$scratch go install "$module"
    mkdir -p "$home"
    mv "$scratch"/* "$home/$name"
    rmdir "$scratch"
  fi
  ln -sf "$home/$name" "$bin/$name"
}

packages prometheus prometheus-alertmanager buildah musl-tools rsync systemd
rustup target add x86_64-unknown-linux-musl
environment "$here/requirements.txt"
recent_go 26

bin=$cache/deploy-tools
mkdir -p "$bin"
for one in "${programs[@]}"; do
  program "$one"
done
ln -sf "$("$here/../e2e/collector/build.sh")" "$bin/otelcol"
for one in "${data[@]}"; do
  (cd / && go mod download "$one")
done
echo "$bin:$venv/bin" >&3
