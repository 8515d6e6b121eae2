#!/bin/bash
# Boots one real microVM and fetches a page from inside it. demo.sh [--keep]
set -euo pipefail
cd "$(dirname "$0")/.."
keep=
case "${1-}" in
    "") ;;
    --keep) keep=yes ;;
    *) echo "usage: ${0##*/} [--keep]     --keep leaves the daemon and the VM running" >&2; exit 2 ;;
esac

say() { printf '\n== %s\n' "$*"; }
vm=demo
kernel=$PWD/.cache/kernel
tmp=

cleanup() {
    status=$?
    # The only background process is volantd; a signal may come before its number is kept.
    daemon=${daemon-${!-}}
    trap - EXIT
    trap '' INT TERM HUP
    if [ -n "$daemon" ] && { [ -z "$keep" ] || [ $status -ne 0 ]; }; then
        [ $status -eq 0 ] || { echo "demo: failed; the daemon said:" >&2; tail -n 20 "$tmp/volantd.log" >&2; tail -qn 20 "$tmp"/logs/*/*.log 2>/dev/null >&2 || true; }
        bin/volar vms delete --ignore-not-found $vm >/dev/null 2>&1 || true
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    if [ -n "$tmp" ] && { [ -z "$keep" ] || [ $status -ne 0 ]; }; then
        rm -rf "$tmp"
    fi
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say "programs, hypervisor and guest kernel"
scripts/deps.sh run
scripts/build.sh
scripts/kernel.sh "$kernel"
tmp=$(mktemp -d)
cd dist

say "volantd on a free loopback port, state in $tmp"
: >"$tmp/volantd.log" # read below, perhaps before the daemon's shell has opened it
# Its own session: Ctrl-C ends the demo, and the demo then ends the daemon.
env VOLANT_DB_PATH="$tmp/state.db" VOLANT_RUNTIME_DIR="$tmp/run" VOLANT_LOG_DIR="$tmp/logs" VOLANT_API_LISTEN=127.0.0.1:0 \
    VOLANT_KERNEL_BZIMAGE="$kernel/bzImage" VOLANT_KERNEL_VMLINUX="$kernel/vmlinux" \
    setsid bin/volantd >"$tmp/volantd.log" 2>&1 &
daemon=$!
api=
for _ in $(seq 200); do
    api=$(sed -n 's/.*Now listening on: \(http:[^ ]*\).*/\1/p' "$tmp/volantd.log")
    [ -z "$api" ] || break
    kill -0 "$daemon" 2>/dev/null || { echo "demo: volantd did not start" >&2; exit 1; }
    sleep 0.05
done
[ -n "$api" ] || { echo "demo: volantd does not listen" >&2; exit 1; }
export VOLANT_API_BASE=$api
echo "$api"

say "fledge builds samples/hello, volar installs it"
bin/fledge build ../samples/hello --output "$tmp/"
bin/volar plugins install "$tmp/hello.manifest.json"

say "one microVM"
bin/volar vms create $vm --plugin hello --wait
facts=$(bin/volar vms get $vm --output json)
fact() { sed -n "s/^ *\"$1\": *\"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" <<<"$facts"; }
accelerator=$(curl -sf "$api/api/v1/system/info" | grep -q '"kvm":true' && echo kvm || echo tcg)

say "its page, from inside the guest, through the control plane"
curl -sf "$api/api/v1/vms/$vm/agent/" >"$tmp/page"
cat "$tmp/page"
bytes=$(wc -c <"$tmp/page")
result="demo ok: $bytes bytes from $vm in $(fact boot_ms) ms ($(fact hypervisor), $accelerator)"

if [ -n "$keep" ]; then
    say "the VM stays up; try"
    cat <<TXT
export VOLANT_API_BASE=$api
$PWD/bin/volar vms list
$PWD/bin/volar vms logs $vm --follow
curl $api/api/v1/vms/$vm/agent/
curl -N $api/api/v1/events/vms
$PWD/bin/volar vms stop $vm && $PWD/bin/volar vms start $vm --wait
# kill -9 $daemon touches no VM; this ends everything:
$PWD/bin/volar vms delete $vm; kill $daemon; rm -r $tmp
TXT
    echo "$result"
    exit 0
fi

say "delete the VM, stop volantd"
bin/volar vms delete $vm
[ -z "$(ls "$tmp/run")" ] || { echo "demo: something is left in $tmp/run" >&2; exit 1; }
kill "$daemon"
wait "$daemon" || true
daemon=
echo "$result"
