#!/bin/bash
# Makes a root image of the running Debian release: debian-root.sh [--update] FILE      and beside it 'vmlinuz' and 'initrd', its kernel.
# It has cloud-init, and what the Debian package of Volant depends on. As a machine of its own it runs 'run.sh' of a disk with the label 'payload', with its
# output on the second serial port, and switches itself off. Made once, with the host's own package sources, and only by root, because its files belong to several users.
set -euo pipefail

update=
[ "${1-}" != --update ] || { update=yes; shift; }
if [ $# -ne 1 ] || [[ "$1" == -* ]]; then
    echo "usage: ${0##*/} [--update] FILE" >&2
    exit 2
fi
die() { echo "debian-root: $*" >&2; exit 1; }

PATH=$PATH:/usr/sbin:/sbin
image=$(realpath -m "$1")
# The image is made last, so it stands for all of them.
if [ -z "$update" ] && [ -s "$image" ]; then
    echo "$image (present)"
    exit 0
fi
[ "$(id -u)" -eq 0 ] || die "only root can give the files in it to their users"
for tool in mmdebstrap mke2fs; do
    command -v $tool >/dev/null || die "no $tool; run scripts/deps.sh test"
done
# shellcheck source=/dev/null
suite=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME") || die "this host is not Debian; its package sources are needed"
sources=()
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    if grep -qs "$suite" "$file"; then
        sources+=("$file")
    fi
done
[ ${#sources[@]} -gt 0 ] || die "apt has no sources for $suite in /etc/apt"

mkdir -p "$(dirname "$image")"
exec {lock}>"$image.lock"
flock "$lock"
[ -n "$update" ] || [ ! -s "$image" ] || { echo "$image (present)"; exit 0; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp" "$image.new"' EXIT
trap 'exit 130' INT TERM HUP
packages=(cloud-init ifupdown iproute2 openssh-client passwd procps udev)
packages+=(systemd-sysv dbus kmod curl linux-image-cloud-amd64 libssl3 qemu-system-x86 qemu-utils libnftables1 dnsmasq-base)
mmdebstrap --quiet --mode=root --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$tmp/root" "${sources[@]}" >"$tmp/log" 2>&1 || { tail -n 20 "$tmp/log" >&2; die "mmdebstrap failed; the log is above"; }
rm -rf "$tmp"/root/var/cache/apt/* "$tmp"/root/var/lib/apt/lists/*
printf '%s\n' 'LABEL=debian / ext4 rw 0 1' 'LABEL=payload /payload ext4 ro,nofail,x-systemd.device-timeout=120 0 0' >"$tmp/root/etc/fstab"
mkdir -p "$tmp/root/payload" "$tmp/root/etc/systemd/system/multi-user.target.wants"
cat >"$tmp/root/etc/systemd/system/payload.service" <<'UNIT'
[Unit]
RequiresMountsFor=/payload
After=network.target
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
ExecStart=/bin/bash /payload/run.sh
StandardOutput=file:/dev/ttyS1
StandardError=inherit
TimeoutStartSec=infinity
UNIT
ln -s ../payload.service "$tmp/root/etc/systemd/system/multi-user.target.wants/"
cp "$tmp"/root/boot/vmlinuz-* "$(dirname "$image")/vmlinuz"
cp "$tmp"/root/boot/initrd.img-* "$(dirname "$image")/initrd"
truncate -s 2G "$image.new"
mke2fs -q -t ext4 -L debian -d "$tmp/root" "$image.new"
mv -f "$image.new" "$image"
echo "$image"
