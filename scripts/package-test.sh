#!/bin/bash
# Installs, upgrades, removes and purges the Debian package, and uses 'volar setup' from the tarball, each in a clean Debian root with name
# spaces of its own: nothing on this host is touched. Only as root, on Debian. package-test.sh [ROOT.tar]   ROOT.tar is made when absent.
set -euo pipefail
if [ $# -gt 1 ] || [[ "${1-}" == -* ]]; then
    echo "usage: ${0##*/} [ROOT.tar]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")/.." && pwd)
base=$(realpath -m "${1-$here/.cache/debian/minbase.tar}")
die() { echo "package-test: $*" >&2; exit 1; }
PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" -eq 0 ] || die "only root can make and enter a root"
for tool in mmdebstrap unshare dpkg-deb; do
    command -v $tool >/dev/null || die "no $tool; run scripts/deps.sh test"
done

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM HUP
if [ ! -s "$base" ]; then
    # shellcheck source=/dev/null
    suite=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME") || die "this host is not Debian; its package sources are needed"
    mapfile -t sources < <(grep -ls "$suite" /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null)
    [ ${#sources[@]} -gt 0 ] || die "apt has no sources for $suite in /etc/apt"
    mkdir -p "$(dirname "$base")"
    echo "== a clean Debian root, with the library that the daemon loads at its start"
    mmdebstrap --quiet --mode=root --variant=minbase --include=libssl3 "$suite" "$work/base.tar" "${sources[@]}" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; die "mmdebstrap failed; the log is above"; }
    mv -f "$work/base.tar" "$base"
fi

echo "== packages: two versions, and the first once more"
export VOLANT_PACKAGE_LEVEL=1 SOURCE_DATE_EPOCH=1700000000
"$here/scripts/package.sh" "$work/one"
"$here/scripts/package.sh" "$work/again" >/dev/null
"$here/scripts/package.sh" --suffix +next "$work/two" >/dev/null
(cd "$work/one" && sha256sum -- *) | (cd "$work/again" && sha256sum --quiet --check) || die "the same programs gave other bytes"
dpkg-deb --field "$work"/one/*.deb Depends | tr ',|' '\n' | sed 's/(.*//' | while read -r name; do
    apt-cache show "$name" >/dev/null 2>&1 || echo "$name"
done >"$work/unknown"
# Of the two names of OpenSSL's library each release of Debian has one; Cloud Hypervisor comes from elsewhere.
grep -vxE 'libssl3|libssl3t64|cloud-hypervisor' "$work/unknown" && die "these packages are depended on, but unknown to apt"

enter() { # Runs a script in the root: no network, no processes of this host.
    # shellcheck disable=SC2016 # the inner shell has the root as its $0
    unshare --mount --pid --fork --net --ipc --uts bash -euc 'mount -t proc proc "$0/proc"; mount -t sysfs sysfs "$0/sys" -o ro; exec chroot "$0" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive bash -eu -o pipefail -s' "$root" <"$here/$1"
}
fresh() {
    root=$work/$1
    mkdir "$root"
    tar -C "$root" --numeric-owner -xf "$base"
    mkdir "$root/packages"
    cp "$work/one/"* "$work"/two/*.deb "$root/packages/"
}

echo "== install, upgrade, remove, purge"
fresh package
enter tests/packages/package.sh
echo "== the tarball, and volar setup"
fresh tarball
enter tests/packages/tarball.sh
echo "package test ok"
