#!/bin/bash
# Makes the distribution's kernel for virtual machines usable for guests: DIR/bzImage, DIR/bzImage.modules.cpio and, for guests with a
# root disk, DIR/bzImage.disks.cpio in its place.
# kernel.sh [--update] [DIR]      DIR defaults to /var/lib/volant/kernel. Nothing is installed on this host.
set -euo pipefail

update=
[ "${1-}" != --update ] || { update=yes; shift; }
if [ $# -gt 1 ] || [[ "${1-}" == -* ]]; then
    echo "usage: ${0##*/} [--update] [DIR]" >&2
    exit 2
fi
dir=${1:-/var/lib/volant/kernel}
die() { echo "kernel: $*" >&2; exit 1; }

PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)
fledge=${FLEDGE:-$here/../dist/bin/fledge}
[ -x "$fledge" ] || fledge=$(command -v fledge) || die "no fledge program; build it first: scripts/build.sh"

# kernel.release is written last, so it stands for a complete set; a newer fledge may want more modules than were packed.
wanted=$("$fledge" modules --list) || die "'$fledge modules --list' failed; build it anew: scripts/build.sh"
if [ -z "$update" ] && [ -s "$dir/bzImage" ] && [ -s "$dir/bzImage.modules.cpio" ] && [ -s "$dir/bzImage.disks.cpio" ] && [ -s "$dir/kernel.release" ] &&
    [ "$(cat "$dir/kernel.modules" 2>/dev/null)" = "$wanted" ]; then
    echo "$dir/bzImage  $(cat "$dir/kernel.release") (present)"
    exit 0
fi

for tool in apt-get apt-cache dpkg dpkg-deb; do
    command -v $tool >/dev/null || die "no $tool: this needs Debian or Ubuntu. Elsewhere set VOLANT_KERNEL_BZIMAGE to a kernel with virtio built in."
done
command -v depmod >/dev/null || die "no depmod; install the package kmod: scripts/deps.sh run"
mkdir -p "$dir" 2>/dev/null || true
[ -w "$dir/." ] || die "cannot write to $dir; run as root, or give another DIR and set VOLANT_KERNEL_BZIMAGE to its bzImage."
dir=$(cd "$dir" && pwd)

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
quietly() { "$@" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; return 1; }; }

# The newest image that a meta package of the distribution stands for; Debian's first, then Ubuntu's.
newest() {
    local arch meta image
    arch=$(dpkg --print-architecture)
    for meta in "linux-image-cloud-$arch" linux-image-kvm linux-image-virtual; do
        image=$(apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
        [ -z "$image" ] || { echo "$image"; return; }
    done
}

image=$(newest)
if [ -z "$image" ] && [ "$(id -u)" -eq 0 ]; then
    quietly apt-get update -q || die "apt-get update failed; check the network and the package sources."
    image=$(newest)
fi
[ -n "$image" ] || die "apt knows no kernel for virtual machines (linux-image-cloud-*, -kvm, -virtual); run: apt-get update"
release=${image#linux-image-}

# On Ubuntu the modules are packages of their own.
mapfile -t packages < <(apt-cache depends "$image" | sed -n "s/^ *Depends: \(linux-modules-$release\)\$/\1/p")
packages=("$image" "${packages[@]}")
cd "$tmp"
quietly apt-get download -q -o APT::Sandbox::User=root "${packages[@]}" || die "could not download ${packages[*]}; run apt-get update, and check the network and free space in $tmp."
for package in ./*.deb; do
    quietly dpkg-deb -x "$package" root || die "could not unpack $package; is there space in $tmp?"
done

vmlinuz=$tmp/root/boot/vmlinuz-$release
[ -s "$vmlinuz" ] || die "the package $image has no /boot/vmlinuz-$release"
# depmod looks in lib/modules only; newer packages use usr/lib/modules.
[ -d root/lib/modules ] || { mkdir -p root/lib && ln -s ../usr/lib/modules root/lib/modules; }
quietly depmod -b "$tmp/root" "$release" || die "depmod failed for $release"
rm -f "$dir/kernel.release"
signatures=
grep -qsx CONFIG_MODULE_SIG_FORCE=y "$tmp/root/boot/config-$release" && signatures=--keep-signatures
pack() { quietly "$fledge" modules --root "$tmp/root" --release "$release" $signatures "$@" || die "fledge could not pack the modules of $release"; }
pack --output "$dir/bzImage.modules.cpio"
pack --root-disk --output "$dir/bzImage.disks.cpio"
install -m 0644 "$vmlinuz" "$dir/.bzImage.$$"
trap 'rm -rf "$tmp" "$dir/.bzImage.$$"' EXIT
mv -f "$dir/.bzImage.$$" "$dir/bzImage"
echo "$wanted" >"$dir/kernel.modules"
echo "$release" >"$dir/kernel.release"
echo "$dir/bzImage  $release"
