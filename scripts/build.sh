#!/bin/bash
# Publishes the five programs to dist/bin. What has not changed since the last time is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -eq 0 ] || { echo "usage: ${0##*/}" >&2; exit 2; }

# Program, its project, and the projects that it is made of.
programs=(
    "volantd Volant.Daemon Volant.Contracts Volant.Linux"
    "volar Volant.Cli Volant.Contracts Volant.Linux"
    "kestrel Volant.Agent Volant.Contracts Volant.Linux"
    "fledge Volant.Fledge Volant.Contracts Volant.Linux"
    "openapi-export Volant.OpenApiExport Volant.Daemon Volant.Contracts Volant.Linux"
)

command -v dotnet >/dev/null || scripts/deps.sh build
sdk=$(dotnet --version)
stamps=dist/.stamps
mkdir -p dist/bin $stamps
exec {lock}>dist/.lock
flock "$lock" # two builds at once would write the same files; dotnet leaves a compiler server behind, which must not hold this
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# Every input with its hash. Outside a git checkout everything below the directories counts.
roots=(src eng Directory.Build.props Directory.Packages.props global.json .editorconfig scripts/build.sh)
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard -- "${roots[@]}"
else
    find "${roots[@]}" -type f -print0
fi | LC_ALL=C sort -z -u | xargs -0 sha256sum >"$work/inputs" 2>/dev/null || true # git also lists files that are deleted

stale=()
for entry in "${programs[@]}"; do
    read -r -a words <<<"$entry"
    pattern=$(printf '|  src/%s/' "${words[@]:1}")
    stamp=$({ echo "$sdk"; grep -E "  (eng|scripts)/|  [^/]*\$$pattern" "$work/inputs"; } | sha256sum)
    if [ ! -x "dist/bin/${words[0]}" ] || [ "$(cat "$stamps/${words[0]}" 2>/dev/null)" != "$stamp" ]; then
        stale+=("${words[0]}:${words[1]}")
        echo "$stamp" >"$work/${words[0]}.stamp"
    fi
done

if [ ${#stale[@]} -eq 0 ]; then
    echo "dist/bin is up to date."
    exit 0
fi

scripts/deps.sh build
echo "building ${stale[*]%%:*}"
projects=$(IFS=';' && echo "${stale[*]#*:}")
if ! DOTNET_TieredCompilation=0 dotnet msbuild eng/Publish.proj -nologo -m:2 -nodeReuse:false -v:minimal "-p:Programs=\"$projects\"" >"$work/log" 2>&1 {lock}>&-; then
    cat "$work/log" >&2
    echo "build: failed; the log is above" >&2
    exit 1
fi

# Renaming into place works while the old program runs.
put() { install -m "$1" "$2" "dist/bin/.$3.new" && mv -f "dist/bin/.$3.new" "dist/bin/$3"; }
for entry in "${stale[@]}"; do
    from=artifacts/publish/${entry#*:}/release_linux-x64
    name=${entry%%:*}
    rm -f "$stamps/$name"
    [ "$name" != volantd ] || put 0644 "$from/libe_sqlite3.so" libe_sqlite3.so
    put 0755 "$from/$name" "$name"
    mv "$work/$name.stamp" "$stamps/$name"
done
(cd dist/bin && stat -c '%10s  dist/bin/%n' -- *)
