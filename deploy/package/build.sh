#!/usr/bin/env bash
# Makes a Debian package and a tarball of a built laghound.
#
#   deploy/package/build.sh path/to/laghound FOLDER [amd64|arm64]
#
# The package has the program, the unit, its configuration (kept over upgrades) and the rest of deploy/ to take over. It starts
# nothing: systemctl enable --now laghound. The same input gives the same bytes; SOURCE_DATE_EPOCH sets the time in them.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
binary=$(realpath -e "${1:?the laghound binary}")
mkdir -p "${2:?the folder to write to}"
out=$(cd "$2" && pwd)
arch=${3:-$(dpkg --print-architecture)}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What both hold besides the program. The manifests and the image are made from the sources, not from a host.
share() {
  local from
  for from in alertmanager collector grafana prometheus runbooks; do
    mkdir -p "$1/$from"
    find "$root/deploy/$from" -maxdepth 1 -type f -exec install -m 0644 -t "$1/$from" {} +
  done
}

package=$work/package
install -D -m 0755 "$binary" "$package/usr/bin/laghound"
install -D -m 0644 "$root/deploy/systemd/laghound.service" "$package/usr/lib/systemd/system/laghound.service"
install -D -m 0644 "$root/deploy/systemd/laghound.yaml" "$package/etc/laghound/laghound.yaml"
doc=$package/usr/share/doc/laghound
install -D -m 0644 -t "$doc" "$root/README.md" "$root/deploy/laghound.yaml"
gzip -9n <"$root/CHANGELOG.md" >"$doc/changelog.gz"
{
  printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\n'
  printf 'Copyright: the authors of laghound\nLicense: Apache-2.0\n On Debian systems: /usr/share/common-licenses/Apache-2.0\n'
} >"$doc/copyright"
share "$package/usr/share/laghound"
mkdir "$package/DEBIAN"
echo /etc/laghound/laghound.yaml >"$package/DEBIAN/conffiles"
cat >"$package/DEBIAN/control" <<CONTROL
Package: laghound
Version: $version
Architecture: $arch
Maintainer: The authors of laghound <laghound@example.com>
Installed-Size: $(du -sk --exclude=DEBIAN "$package" | cut -f1)
Section: net
Priority: optional
Description: says which service made requests slow
 An OTLP sidecar that stands next to the OpenTelemetry Collector, learns what
 every operation of every service normally costs, and names who made requests
 slow: as Prometheus metrics that Alertmanager can page on.
CONTROL
(cd "$package" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
find "$package" -type d -exec chmod 0755 {} +
find "$package" -type f -path '*/doc/*' -exec chmod 0644 {} +
dpkg-deb --root-owner-group --build "$package" "$out/laghound_${version}_$arch.deb" >/dev/null

name=laghound-$version-linux-$arch
install -D -m 0755 "$binary" "$work/$name/laghound"
install -m 0644 -t "$work/$name" "$root/README.md" "$root/LICENSE" "$root/CHANGELOG.md"
install -D -m 0644 -t "$work/$name/deploy" "$root/deploy/README.md" "$root/deploy/laghound.yaml"
share "$work/$name/deploy"
install -D -m 0644 -t "$work/$name/deploy/systemd" "$root/deploy/systemd/laghound.service" "$root/deploy/systemd/laghound.yaml"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$work" -c "$name" | gzip -9n >"$out/$name.tar.gz"

printf '%s\n' "$out/laghound_${version}_$arch.deb" "$out/$name.tar.gz"
