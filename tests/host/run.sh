# Runs in the machine of scripts/host-test.sh, once after each of its boots; its output goes to the host.
# shellcheck shell=bash
exec 2>&1
cd /payload || exit 1
export DEBIAN_FRONTEND=noninteractive HOME=/root LC_ALL=C.UTF-8
say() { echo "$(cut -d ' ' -f 1 /proc/uptime) $*"; }
fail() {
    say "FAILED: $*"
    journalctl --no-pager --boot --unit volantd --lines 30
    volar vms list
    exit 1
}
quietly() { "$@" >/tmp/log 2>&1 || { cat /tmp/log; fail "'$*' failed"; }; }
refused() { # WORDS COMMAND…
    local words=$1
    shift
    if "$@" >/tmp/log 2>&1; then fail "'$*' was not refused"; fi
    grep -qF -- "$words" /tmp/log || { cat /tmp/log; fail "the refusal of '$*' does not say '$words'"; }
}
get() { volar vms get "$1" --output json | sed -n "s/^  \"$2\": \"\\{0,1\\}\\([^\",]*\\)\"\\{0,1\\},\\{0,1\\}\$/\\1/p"; }
until_ok() { # SECONDS COMMAND…
    local left=$1
    shift
    until "$@" >/tmp/log 2>&1; do
        [ $((left--)) -gt 0 ] || { cat /tmp/log; fail "'$*' did not come true"; }
        sleep 1
    done
}
is() { [ "$(get "$1" "$2")" = "$3" ]; }
answers() { [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:7777/api/v1/vms/$1/agent/")" = 200 ]; }
stage=$(cat /var/stage 2>/dev/null || echo first)
say "the $stage boot; $(systemctl --version | head -n 1); control groups: $(stat -f -c %T /sys/fs/cgroup); KVM: $([ -e /dev/kvm ] && echo yes || echo no)"
# shellcheck source=/dev/null
. "./$stage.sh"
