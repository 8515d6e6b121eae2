#!/bin/bash
# Installs the Debian package on a machine with systemd and control groups of version 2, and uses it there: a virtual one, whose emulated processor
# has virtualisation, so that VMs run by KVM. Nothing on this host is touched. Only as root, on Debian; three minutes. host-test.sh [--short]
#   --short  install, one VM, its confinement, and a restart of the service; not the upgrade, networks, memory, a reboot, removal and setup
set -euo pipefail
short=
[ "${1-}" != --short ] || { short=yes; shift; }
if [ $# -ne 0 ]; then
    echo "usage: ${0##*/} [--short]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")/.." && pwd)
die() { echo "host-test: $*" >&2; exit 1; }
PATH=$PATH:/usr/sbin:/sbin
for tool in mke2fs qemu-system-x86_64 setpriv; do
    command -v $tool >/dev/null || die "no $tool; run scripts/deps.sh test"
done
dir=$here/.cache/debian
"$here/scripts/debian-root.sh" "$dir/root.img" >/dev/null
work=$(mktemp -d)
machine=
trap '[ -z "$machine" ] || kill -KILL "$machine" 2>/dev/null; rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM HUP

# What the machine gets: two versions of the package, a guest kernel, a plugin, and what to do with them.
kernel=$here/.cache/kernel
"$here/scripts/kernel.sh" "$kernel" >/dev/null
mkdir -p "$work/payload/kernel"
export VOLANT_PACKAGE_LEVEL=1 SOURCE_DATE_EPOCH=1700000000
"$here/scripts/package.sh" "$work/payload/one" >/dev/null
if [ -n "$short" ]; then
    touch "$work/payload/short"
else
    "$here/scripts/package.sh" --suffix +next "$work/two" >/dev/null
    mv "$work"/two/*.deb "$work/payload/"
fi
cp "$kernel"/* "$work/payload/kernel/"
"$here/dist/bin/fledge" build "$here/samples/hello" --output "$work/payload/" >"$work/log" 2>&1 || { cat "$work/log" >&2; die "fledge could not build the sample"; }
sed -i "s#$work##" "$work/payload/hello.manifest.json"
cp "$here"/tests/host/* "$work/payload/"
truncate -s 512M "$work/payload.img"
mke2fs -q -t ext4 -L payload -d "$work/payload" "$work/payload.img"

: >"$work/out"
# It writes to a copy of its disk that is gone afterwards.
setpriv --pdeathsig KILL qemu-system-x86_64 -nodefaults -display none -machine q35,usb=off -accel tcg,thread=multi -cpu max -smp 2 -m 2048 \
    -kernel "$dir/vmlinuz" -initrd "$dir/initrd" -append 'root=LABEL=debian rw console=ttyS0 quiet' \
    -drive file="$dir/root.img",format=raw,if=virtio,snapshot=on -drive file="$work/payload.img",format=raw,if=virtio,readonly=on \
    -serial file:"$work/console" -serial file:"$work/out" >"$work/qemu.log" 2>&1 &
machine=$!
tail --pid=$machine -n +1 -f "$work/out" &
follower=$!
for ((second = 0; second < ${VOLANT_HOST_TEST_SECONDS:-600}; second++)); do
    kill -0 $machine 2>/dev/null || break
    sleep 1
done
! kill -KILL $machine 2>/dev/null || echo "host-test: the machine was still running" >&2
wait $machine || true
machine=
wait $follower || true
grep -q '^host test ok' "$work/out" || { tail -n 40 "$work/console" "$work/qemu.log" >&2; die "failed; what the machine said is above"; }
