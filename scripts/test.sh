#!/bin/bash
# Installs what the tests need and runs all of them; the last line is "N passed, N failed, N skipped". Arguments go to the test runner.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
step() {
    printf '\n== %s\n' "$*"
    "$@" || { echo "test: '$*' failed"; echo "0 passed, 1 failed, 0 skipped"; exit 1; }
}

step scripts/deps.sh test

# The clients that the tests run against the daemon, unless the packages of a lock file are there already: npm leaves a copy of it.
for client in tests/clients/*/; do
    [ "$client/node_modules/.package-lock.json" -nt "$client/package-lock.json" ] || step npm ci --prefix "$client" --ignore-scripts --no-audit --no-fund
done
# Beside the build, for it waits for packages. Where it cannot be made, the tests that need it say that they are skipped.
root=
if [ "$(id -u)" -eq 0 ] && grep -qx 'ID=debian' /etc/os-release; then
    scripts/debian-root.sh "$PWD/.cache/debian/root.img" >"$log" 2>&1 &
    root=$!
fi
step scripts/build.sh
[ -z "$root" ] || wait "$root" || { cat "$log"; echo "test: there is no root image of Debian; the tests that need it are skipped"; }
step scripts/kernel.sh "$PWD/.cache/kernel"
# A compiler that is started anew for every project and compiles its analyzers on the way: once and well takes two thirds of the time.
step env DOTNET_TieredCompilation=0 dotnet build Volant.slnx -c Release -v quiet -nologo
step scripts/test-programs.sh
step scripts/lint.sh

printf '\n== tests\n'
dotnet test --solution Volant.slnx -c Release --no-build --max-parallel-test-modules 1 "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
# What failed once more at the end, where a reader of a long log looks: each with the beginning of what it says.
awk '/^failed /{left=16; print ""} /^(passed|skipped) |^  from /{left=0} left-- > 0' "$log"
awk '/^ *failed: /{f+=$2} /^ *succeeded: /{s+=$2} /^ *skipped: /{k+=$2} END{printf "%d passed, %d failed, %d skipped\n", s, f, k}' "$log"
exit "$status"
