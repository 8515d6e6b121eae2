#!/bin/bash
# Builds a Debian package and a tarball of the programs: package.sh [--suffix TEXT] [DIR]
# DIR defaults to dist/packages. The same programs, SOURCE_DATE_EPOCH and DIR give the same bytes. --suffix is appended to the version.
set -euo pipefail

usage() { echo "usage: ${0##*/} [--suffix TEXT] [DIR]" >&2; exit 2; }
suffix=
if [ "${1-}" = --suffix ]; then
    [ $# -ge 2 ] || usage
    suffix=$2
    shift 2
fi
if [ $# -gt 1 ] || [[ "${1-}" == -* ]]; then usage; fi
[[ "$suffix" =~ ^[0-9A-Za-z.+~]*$ ]] || { echo "package: --suffix may hold letters, digits, '.', '+' and '~' only" >&2; exit 2; }
here=$(cd "$(dirname "$0")/.." && pwd)
out=$(realpath -m "${1-$here/dist/packages}")
cd "$here"
die() { echo "package: $*" >&2; exit 1; }
for tool in dpkg-deb tar gzip readelf; do
    command -v $tool >/dev/null || die "no $tool; install the packages dpkg, tar, gzip and binutils"
done

programs=(volantd volar kestrel fledge openapi-export)
for name in "${programs[@]}"; do
    [ -x "dist/bin/$name" ] || die "dist/bin/$name is missing; build it first: scripts/build.sh"
done
version=$(dist/bin/volar version | sed -n 's/^volar \([0-9][0-9A-Za-z.+~-]*\)$/\1/p')
[ -n "$version" ] || die "'dist/bin/volar version' did not say a version"
version+=$suffix
# The newest symbol version that a program needs is the oldest C library that it runs with.
glibc=$(for file in volantd volar fledge openapi-export libe_sqlite3.so; do readelf -W --version-info "dist/bin/$file"; done | grep -o 'GLIBC_[0-9.]*[0-9]' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
[ -n "$glibc" ] || die "cannot tell which C library the programs need"
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1)}
export SOURCE_DATE_EPOCH=$epoch

mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
umask 022
fill() { sed -e "s/@VERSION@/$version/g" -e "s/@GLIBC@/$glibc/g" -e "s/@SIZE@/${size-0}/g" "$1"; }
put() { install -D -m "$1" "$2" "$3"; }
made() { install -D -m 0644 /dev/stdin "$1"; }
volar() { dist/bin/volar "$@"; }

# The programs look for each other beside themselves.
programs_to() {
    for name in "${programs[@]}"; do put 0755 "dist/bin/$name" "$1/$name"; done
    put 0644 dist/bin/libe_sqlite3.so "$1/libe_sqlite3.so"
    put 0755 scripts/kernel.sh "$1/kernel.sh"
}

tree=$work/volant-$version-linux-x64
programs_to "$tree"
put 0644 LICENSE "$tree/LICENSE"
fill eng/INSTALL.md | made "$tree/INSTALL.md"
volar completion bash | made "$tree/completions/volar.bash"
volar completion zsh | made "$tree/completions/_volar"
volar completion fish | made "$tree/completions/volar.fish"

deb=$work/deb
programs_to "$deb/usr/lib/volant"
mkdir -p "$deb/usr/bin"
for name in volantd volar fledge openapi-export; do ln -s "../lib/volant/$name" "$deb/usr/bin/$name"; done
volar setup --print unit --volantd /usr/lib/volant/volantd | made "$deb/usr/lib/systemd/system/volantd.service"
volar setup --print environment --volantd /usr/lib/volant/volantd | made "$deb/etc/volant/volantd.env"
chmod 0640 "$deb/etc/volant/volantd.env"
volar setup --print sysctl --volantd /usr/lib/volant/volantd | made "$deb/etc/sysctl.d/60-volant.conf"
volar completion bash | made "$deb/usr/share/bash-completion/completions/volar"
volar completion zsh | made "$deb/usr/share/zsh/vendor-completions/_volar"
volar completion fish | made "$deb/usr/share/fish/vendor_completions.d/volar.fish"
put 0644 LICENSE "$deb/usr/share/doc/volant/copyright"
put 0644 docs/guides/install.md "$deb/usr/share/doc/volant/install.md"
size=$(du -sk --apparent-size "$deb" | cut -f 1)
fill eng/debian/control | made "$deb/DEBIAN/control"
printf '%s\n' /etc/sysctl.d/60-volant.conf /etc/volant/volantd.env | made "$deb/DEBIAN/conffiles"
for script in postinst prerm postrm; do put 0755 "eng/debian/$script" "$deb/DEBIAN/$script"; done
(cd "$deb" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) | made "$deb/DEBIAN/md5sums"
find "$deb" "$tree" -exec touch --no-dereference --date="@$epoch" {} +

package=volant_${version}_amd64.deb
tarball=volant-$version-linux-x64.tar.gz
# One thread: the number of them would show in the bytes.
dpkg-deb --root-owner-group -Zxz "-z${VOLANT_PACKAGE_LEVEL:-6}" --threads-max=1 --build "$deb" "$work/$package" >/dev/null
tar -C "$work" --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --format=gnu -cf - "${tree##*/}" | gzip -n "-${VOLANT_PACKAGE_LEVEL:-9}" >"$work/$tarball"
mv -f "$work/$package" "$work/$tarball" "$out/"
stat -c '%10s  %n' "$out/$package" "$out/$tarball"
