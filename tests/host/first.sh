# The package is installed and its service used; see run.sh.
# shellcheck shell=bash
systemctl is-active --quiet volantd 2>/dev/null && fail "there is a volantd already"
quietly dpkg --install one/volant_*.deb
systemctl is-active --quiet volantd || fail "the package did not start the service"
systemctl is-enabled --quiet volantd || fail "the package did not enable the service"
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] || fail "the host does not forward"
cp -r kernel /var/lib/volant/
volar doctor >/tmp/log 2>&1 || { cat /tmp/log; fail "doctor finds faults"; }
say "installed, and doctor is content"

# A VM, by the service: a real guest that answers.
quietly volar plugins install hello.manifest.json
quietly volar vms create web --plugin hello --wait --timeout 300
answers web || fail "the guest does not answer"
say "a VM is ready after $(get web boot_ms) ms, by $(get web hypervisor)"

# Its hypervisor: a user of its own without any right, with files, devices and a control group of its own.
pid=$(get web pid)
uid=$(get web uid)
user=$(stat -c %u "/proc/$pid")
if [ "$user" -lt 200000 ] || [ "$user" -gt 265535 ]; then fail "the hypervisor is user $user"; fi
for line in "CapInh:	0000000000000000" "CapPrm:	0000000000000000" "CapEff:	0000000000000000" "CapAmb:	0000000000000000" "NoNewPrivs:	1" "Seccomp:	2"; do
    grep -qxF "$line" "/proc/$pid/status" || { cat "/proc/$pid/status"; fail "the hypervisor's status lacks '$line'"; }
done
[ "$(cat "/proc/$pid/cgroup")" = "0::/volant/$uid" ] || fail "its control group is $(cat "/proc/$pid/cgroup")"
limit() { [ "$(cat "/sys/fs/cgroup/volant/$uid/$1")" = "$2" ] || fail "$1 is $(cat "/sys/fs/cgroup/volant/$uid/$1"), not $2"; }
memory=$(cat "/sys/fs/cgroup/volant/$uid/memory.max")
if [ "$memory" -le $((128 << 20)) ] || [ "$memory" -ge $((512 << 20)) ]; then fail "memory.max is $memory"; fi
limit memory.swap.max 0
limit memory.oom.group 1
limit pids.max 129
limit cpu.max '200000 100000'
for path in /proc /etc/shadow /var/lib/volant/state.db; do [ ! -e "/proc/$pid/root$path" ] || fail "the hypervisor sees $path"; done
[ "$(sed -n 's/^Seccomp_filters:	//p' "/proc/$pid/status")" -ge 2 ] || fail "it may make any socket"
refused "Permission denied" setpriv --reuid="$user" --regid="$user" --clear-groups cat /var/lib/volant/state.db
daemon=$(systemctl show --property MainPID --value volantd)
[ "$(stat -c %U "/proc/$daemon")" = volant ] || fail "the daemon is user $(stat -c %U "/proc/$daemon")"
grep -q '^CapAmb:	0*$' "/proc/$daemon/status" && fail "the daemon has no rights"
say "its hypervisor is user $user, in /volant/$uid with $((memory >> 20)) MiB, and sees only its files"

# Restarting or killing the service, and an upgrade, touch no VM.
quietly systemctl restart volantd
until_ok 60 is web ready true
is web pid "$pid" || fail "the VM was started anew: $(get web pid) instead of $pid"
if [ -e short ]; then
    quietly volar vms delete web
    say "the VM has outlived a restart of the service, and is deleted"
    echo "host test ok"
    exit 0
fi
kill -KILL "$(systemctl show --property MainPID --value volantd)"
until_ok 60 answers web
quietly dpkg --install volant_*next*.deb
[ "$(dpkg-query -W -f '${Version}' volant)" = "$(dpkg-deb --field volant_*next*.deb Version)" ] || fail "the upgrade did not arrive"
until_ok 60 answers web
is web pid "$pid" || fail "the VM was started anew: $(get web pid) instead of $pid"
refused "delete the VMs first" dpkg --remove volant
say "the VM has outlived a restart and a kill of the service, and an upgrade"

# A network, which the service makes itself; an initramfs of this host, which nobody uploads; and a disk, of which only so much may be written in a second.
echo 'VOLANT_IO_MAX=wbps=10M' >>/etc/volant/volantd.env
quietly systemctl restart volantd
install -D -m 0644 hello.cpio.gz /var/lib/volant/images/hello.cpio.gz
sed 's/"mode": "vsock"/"mode": "bridged"/; s/"name": "hello"/"name": "bridged"/; s#file:///payload/#file:///var/lib/volant/images/#' hello.manifest.json >/tmp/bridged.manifest.json
quietly curl -fsS -H 'Content-Type: application/json' --data-binary @/tmp/bridged.manifest.json http://127.0.0.1:7777/api/v1/plugins
quietly volar volumes create data --size 64
echo '{"volumes": [{"name": "data", "target": "vda"}]}' >/tmp/config.json
quietly volar vms create net --plugin bridged --restart always --config /tmp/config.json --wait --timeout 300
address=$(get net ip_address)
refused "Connection refused" timeout 20 bash -c "</dev/tcp/$address/9"
quietly volar vms exec net sh -c 'echo kept | dd of=/dev/vda bs=512 conv=sync,fsync'
limits=$(cat "/sys/fs/cgroup/volant/$(get net uid)/io.max")
[[ "$limits" == *" wbps=10485760 "* ]] || fail "io.max is '$limits'"
say "a second VM has the address $address and a volume, and the limit $limits"

# Memory beyond the limit ends the VM alone, and is told.
echo 1M >"/sys/fs/cgroup/volant/$uid/memory.max"
until_ok 60 is web status crashed
get web last_error | grep -q "used up the memory" || fail "the VM crashed because: $(get web last_error)"
quietly volar vms start web --wait --timeout 300
say "a hypervisor that took too much memory was ended, and started again"
echo second >/var/stage
sync
systemctl reboot
sleep 600
