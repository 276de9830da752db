#!/usr/bin/env bash
# Installs what the end-to-end test runs against: Debian's Prometheus, Alertmanager and PostgreSQL, the Collector, a
# Python environment with the pinned OpenTelemetry SDK, what the market's services in Node and Go are made of, and Apache
# Kafka from Maven Central.
# Prints on standard output the environment in which run.py runs, as lines `NAME=value` for env(1) and then the path of
# that environment's python; everything else on standard error. A peer that cannot be had is a failure: a
# test against nothing proves nothing. It does NOT start anything, and leaves nothing in the source tree.
set -euo pipefail
exec 3>&1 1>&2

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../install.sh"

packages prometheus prometheus-alertmanager postgresql
prometheus --version 2>&1 | head -n 1
promtool --version 2>&1 | head -n 1
prometheus-alertmanager --version 2>&1 | head -n 1

environment "$here/requirements.txt"
"$venv/bin/python" -c 'import opentelemetry.sdk.version as v; print("opentelemetry-sdk", v.__version__)'

collector=$("$here/collector/build.sh")

node_modules market "$here/market"

# The jars of Kafka's broker and tools, at the version of pom.xml; what that depends on is pinned by it.
command -v java >/dev/null || packages openjdk-17-jre-headless
kafka=$cache/kafka-$(sha256sum "$here/kafka/pom.xml" | cut -c1-16)
if [ ! -e "$kafka/complete" ]; then
  command -v mvn >/dev/null || packages maven
  rm -rf "$kafka"
  mvn --batch-mode --quiet --file "$here/kafka/pom.xml" \
    dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$kafka"
  touch "$kafka/complete"
fi

stock=$cache/market-stock-$(cat "$here/market/stock"/* | sha256sum | cut -c1-16)
if [ ! -x "$stock" ]; then
  recent_go 26
  (cd "$here/market/stock" && go build -trimpath -o "$stock.part" .)
  mv "$stock.part" "$stock"
fi

cat >&3 <<END
COLLECTOR=$collector
KAFKA_JARS=$kafka
MARKET_NODE_MODULES=$modules/node_modules
MARKET_STOCK=$stock
$venv/bin/python
END
