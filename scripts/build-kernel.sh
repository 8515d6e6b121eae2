#!/bin/bash
# Builds our own guest kernel from the distribution's source: DIR/vmlinux, DIR/bzImage and DIR/kernel.release. Everything that a guest needs to
# reach its agent is built in (eng/microvm.config), so there are no modules beside it. 20 to 35 minutes of processor time.
# build-kernel.sh [--print-config] DIR     --print-config stops after the configuration, checks it and prints it.
# What was broken off goes on where it stopped; what was built of the same configuration and source is left alone. Missing tools are installed, the kernel is not.
set -euo pipefail
print=
[ "${1-}" != --print-config ] || { print=yes; shift; }
if [ $# -ne 1 ] || [[ "$1" == -* ]]; then
    echo "usage: ${0##*/} [--print-config] DIR" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")/.." && pwd)
dir=$(realpath -m "$1")
fragment=${VOLANT_KERNEL_CONFIG:-$here/eng/microvm.config}
die() { echo "build-kernel: $*" >&2; exit 1; }
[ -r "$fragment" ] || die "no configuration at $fragment"
[ "$(uname -m)" = x86_64 ] || die "the configuration is for x86-64, and this host is $(uname -m)"
for tool in apt-cache apt-get dpkg-deb; do
    command -v $tool >/dev/null || die "no $tool: this needs the source package of Debian or Ubuntu"
done

newest() { apt-cache depends linux-source 2>/dev/null | sed -n 's/^ *Depends: \(linux-source-[0-9].*\)/\1/p' | head -n 1; }
package=$(newest)
if [ -z "$package" ] && [ "$(id -u)" -eq 0 ]; then
    apt-get update -q >/dev/null || die "apt-get update failed; check the network and the package sources."
    package=$(newest)
fi
[ -n "$package" ] || die "apt knows no linux-source; run: apt-get update"
source=$(apt-cache show --no-all-versions "$package" | sed -n 's/^Version: //p' | head -n 1)
[ -n "$source" ] || die "apt does not say which version $package has"
key=$({ echo "$package $source"; cat "$fragment"; } | sha256sum | cut -c 1-16)

# kernel.build is written last, so it stands for a complete set.
present() { [ -s "$dir/vmlinux" ] && [ -s "$dir/bzImage" ] && [ -s "$dir/kernel.release" ] && [ "$(cat "$dir/kernel.build" 2>/dev/null)" = "$key" ]; }
done_already() { echo "$dir/vmlinux  $(cat "$dir/kernel.release") (present)"; exit 0; }
[ -n "$print" ] || ! present || done_already

"$here/scripts/deps.sh" kernel
mkdir -p "$dir"
exec {lock}>"$dir/.build.lock"
flock "$lock"
[ -n "$print" ] || ! present || done_already

# A tree of another configuration or source is of no use any more.
work=$dir/.build-$key
find "$dir" -maxdepth 1 -name '.build-*' ! -name ".build-$key" -exec rm -rf {} +
mkdir -p "$work"
trap 'exit 130' INT TERM HUP
quietly() { "$@" >"$work/log" 2>&1 {lock}>&- || { tail -n 40 "$work/log" >&2; die "'$*' failed; the end of its log is above. $work holds what was built until then."; }; }

if [ ! -e "$work/unpacked" ]; then
    rm -rf "$work/package" "$work/tree" "$work"/*.deb
    (cd "$work" && quietly apt-get download -q -o APT::Sandbox::User=root "$package")
    quietly dpkg-deb -x "$work"/*.deb "$work/package"
    mkdir "$work/tree"
    quietly tar -C "$work/tree" --strip-components=1 -xf "$work/package/usr/src/$package.tar.xz"
    rm -rf "$work/package" "$work"/*.deb
    touch "$work/unpacked"
fi

# The same names and time in every build.
export KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC' KBUILD_BUILD_USER=volant KBUILD_BUILD_HOST=volant
kernel_make() { quietly make -C "$work/tree" O="$work/out" "$@"; }
if [ ! -e "$work/configured" ]; then
    mkdir -p "$work/out"
    kernel_make KCONFIG_ALLCONFIG="$fragment" allnoconfig
    touch "$work/configured"
fi

# allnoconfig drops a wish whose conditions are not met, and says nothing.
missing=$(sed -n 's/^\(CONFIG_[A-Z0-9_]*\)=\(.*\)$/\1 \2/p' "$fragment" | while read -r name value; do
    if [ "$value" = n ]; then
        ! grep -q "^$name=" "$work/out/.config" || echo "$name is set, but must not be"
    else
        grep -qxF "$name=$value" "$work/out/.config" || echo "$name=$value is not in it"
    fi
done)
if [ -n "$missing" ]; then
    rm -f "$work/configured"
    echo "$missing" >&2
    die "the configuration of $package $source is not what $fragment asks for; the differences are above"
fi
if [ -n "$print" ]; then
    cat "$work/out/.config"
    exit 0
fi

kernel_make -j"$(nproc)" bzImage vmlinux
release=$(cat "$work/out/include/config/kernel.release")
objcopy -S -R '.rela.*' -R .comment "$work/out/vmlinux" "$work/vmlinux"
rm -f "$dir/kernel.build"
# Modules of a kernel that was here before would be put in front of this one.
rm -f "$dir"/bzImage.{modules,disks}.cpio "$dir"/vmlinux.{modules,disks}.cpio "$dir/kernel.modules"
put() { install -m 0644 "$1" "$dir/.$2.new" && mv -f "$dir/.$2.new" "$dir/$2"; }
put "$work/out/arch/x86/boot/bzImage" bzImage
put "$work/vmlinux" vmlinux
echo "$release" >"$dir/kernel.release"
echo "$key" >"$dir/kernel.build"
rm -rf "$work"
echo "$dir/vmlinux  $release"
