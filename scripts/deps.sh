#!/bin/bash
# Installs what is missing, and only that: deps.sh build|run|test|kernel
set -euo pipefail

usage() { echo "usage: ${0##*/} build|run|test|kernel" >&2; exit 2; }
[ $# -eq 1 ] || usage

# What is looked for: a command, the path of a file, or a library; and the Debian package that brings it.
build=(gcc:gcc /usr/include/zlib.h:zlib1g-dev objcopy:binutils /usr/include/stdlib.h:libc6-dev)
run=(qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils busybox:busybox-static depmod:kmod ip:iproute2 curl:curl libnftables.so.1:libnftables1)
test=(shellcheck:shellcheck cpio:cpio jq:jq socat:socat xz:xz-utils zstd:zstd node:nodejs npm:npm tmux:tmux zsh:zsh fish:fish mke2fs:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs mksquashfs:squashfs-tools
    docker-registry:docker-registry buildah:buildah skopeo:skopeo umoci:umoci mcopy:mtools fsck.fat:dosfstools cloud-localds:cloud-image-utils mmdebstrap:mmdebstrap chromium:chromium dnsmasq:dnsmasq-base)
# For scripts/build-kernel.sh alone.
kernel=(gcc:gcc make:make flex:flex bison:bison bc:bc objcopy:binutils xz:xz-utils /usr/include/libelf.h:libelf-dev /usr/include/openssl/ssl.h:libssl-dev /usr/include/stdlib.h:libc6-dev)
case $1 in
    build) wanted=("${build[@]}") ;;
    run) wanted=("${run[@]}") ;;
    test) wanted=("${build[@]}" "${run[@]}" "${kernel[@]}" "${test[@]}") ;;
    kernel) wanted=("${kernel[@]}") ;;
    *) usage ;;
esac

# depmod and ip live in sbin, which a user's path may lack.
PATH=$PATH:/usr/sbin:/sbin

present() {
    case $1 in
        /*) [ -e "$1" ] ;;
        *.so.*) ldconfig -p | grep -F "$1" >/dev/null ;;
        # The distribution also has a dynamically linked busybox, which cannot run in a guest.
        busybox) command -v busybox >/dev/null && ! grep -aqF /ld-linux "$(command -v busybox)" ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

missing=()
for item in "${wanted[@]}"; do
    present "${item%%:*}" || missing+=("${item#*:}")
done

need_sdk=
if [ "$1" != run ] && [ "$1" != kernel ] && ! dotnet --list-sdks 2>/dev/null | grep -q '^10\.'; then
    need_sdk=yes
    missing+=(dotnet-sdk-10.0)
fi

[ ${#missing[@]} -gt 0 ] || exit 0
echo "deps: missing: ${missing[*]}" >&2
if ! command -v apt-get >/dev/null; then
    echo "deps: no apt-get here; install with this system's own tools what these Debian packages bring: ${missing[*]}" >&2
    exit 1
fi

if [ "$(id -u)" -ne 0 ]; then
    echo "deps: not root; run once: sudo $0 $1" >&2
    exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 || {
    cat "$log" >&2
    [ -z "$need_sdk" ] || echo "deps: this distribution may have no dotnet-sdk-10.0; install the .NET 10 SDK and put 'dotnet' on PATH." >&2
    echo "deps: could not install: ${missing[*]}" >&2
    exit 1
}

for item in "${wanted[@]}"; do
    present "${item%%:*}" || { echo "deps: '${item%%:*}' is still missing after installing ${item#*:}" >&2; exit 1; }
done
echo "deps: installed ${missing[*]}" >&2
