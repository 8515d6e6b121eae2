#!/bin/bash
# Makes the distribution's full kernel usable as a host for tests of device passthrough: DIR/vmlinuz and DIR/modules/NN-name.ko in the
# order in which they are loaded. host-kernel.sh DIR      Nothing is installed on this host.
set -euo pipefail
if [ $# -ne 1 ] || [[ "$1" == -* ]]; then
    echo "usage: ${0##*/} DIR" >&2
    exit 2
fi
dir=$(realpath -m "$1")
die() { echo "host-kernel: $*" >&2; exit 1; }

# kernel.release is written last, so it stands for a complete set.
if [ -s "$dir/kernel.release" ]; then
    echo "$dir/vmlinuz  $(cat "$dir/kernel.release") (present)"
    exit 0
fi

PATH=$PATH:/usr/sbin:/sbin
for tool in apt-get apt-cache dpkg dpkg-deb depmod modprobe; do
    command -v $tool >/dev/null || die "no $tool: this needs Debian and the package kmod."
done
mkdir -p "$dir"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
quietly() { "$@" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; return 1; }; }

newest() { apt-cache depends "linux-image-$(dpkg --print-architecture)" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1; }
image=$(newest)
if [ -z "$image" ] && [ "$(id -u)" -eq 0 ]; then
    quietly apt-get update -q || die "apt-get update failed; check the network and the package sources."
    image=$(newest)
fi
[ -n "$image" ] || die "apt knows no linux-image-$(dpkg --print-architecture); run: apt-get update"
release=${image#linux-image-}
cd "$tmp"
quietly apt-get download -q -o APT::Sandbox::User=root "$image" || die "could not download $image; run apt-get update, and check the network and free space in $tmp."
quietly dpkg-deb -x ./*.deb root || die "could not unpack $image; is there space in $tmp?"
[ -d root/lib/modules ] || { mkdir -p root/lib && ln -s ../usr/lib/modules root/lib/modules; }
quietly depmod -b root "$release" || die "depmod failed for $release"

# Two network cards, a disk, and what gives them to a VM.
rm -rf "$dir/modules" && mkdir "$dir/modules"
for module in e1000e nvme vfio_iommu_type1 vfio-pci; do
    modprobe -d root -S "$release" --show-depends $module || die "$image has no module $module"
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++ { printf "%02d %s\n", ++count, $0 }' | while read -r number file; do
    name=$(basename "$file") && name=${name%%.ko*}
    case $file in
        *.xz) xz -dc "$file" ;;
        *.zst) zstd -qdc "$file" ;;
        *) cat "$file" ;;
    esac >"$dir/modules/$number-$name.ko"
done
install -m 0644 "root/boot/vmlinuz-$release" "$dir/vmlinuz"
echo "$release" >"$dir/kernel.release"
echo "$dir/vmlinuz  $release"
