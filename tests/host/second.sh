# The machine was started again while VMs ran; then all of it is removed, and set up by 'volar setup'; see run.sh.
# shellcheck shell=bash
until_ok 60 systemctl is-active --quiet volantd
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] || fail "the host does not forward any more"
until_ok 300 is net ready true
is web status crashed || fail "a VM without a policy is $(get web status)"
[ "$(get web last_error | cut -d ';' -f 1)" = "the host was restarted" ] || fail "it crashed because: $(get web last_error)"
quietly volar vms start web --wait --timeout 5m
[ "$(volar vms exec net head -c 4 /dev/vda)" = kept ] || fail "the volume was lost"
answers web || fail "the guest does not answer"
say "after a reboot the service runs, the VM that should is there again, and both have what they had"

quietly volar vms delete web net
quietly volar volumes delete data
[ -z "$(find /sys/fs/cgroup/volant -mindepth 1 -type d)" ] || fail "control groups are left: $(find /sys/fs/cgroup/volant -type d)"
quietly dpkg --remove volant
systemctl is-active --quiet volantd && fail "the service outlived the package"
[ -s /var/lib/volant/state.db ] || fail "a removal took the data"
quietly dpkg --purge volant
for path in /var/lib/volant /etc/volant /run/volant /usr/lib/volant; do [ ! -e $path ] || fail "a purge left $path"; done
say "the package is removed, and nothing is left"

mkdir -p /usr/local/lib/volant
tar -C /usr/local/lib/volant --strip-components=1 -xzf one/volant-*-linux-x64.tar.gz
ln -sf ../lib/volant/volar ../lib/volant/fledge ../lib/volant/volantd /usr/local/bin/
hash -r
quietly volar setup
systemctl is-active --quiet volantd || fail "setup did not start the service"
systemctl is-enabled --quiet volantd || fail "setup did not enable the service"
cp -r kernel /var/lib/volant/
until_ok 30 volar plugins install hello.manifest.json
quietly volar vms create web --plugin hello --wait --timeout 5m
answers web || fail "the guest does not answer"
refused "delete the VMs first" volar setup --undo
quietly volar vms delete web
quietly volar plugins remove hello
quietly volar setup --undo
systemctl is-active --quiet volantd && fail "undo left the service"
for path in /etc/systemd/system/volantd.service /etc/volant; do [ ! -e $path ] || fail "undo left $path"; done
say "setup and undo did their work"
echo "host test ok"
