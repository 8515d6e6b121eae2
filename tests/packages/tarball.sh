# Runs inside a clean Debian root; see scripts/package-test.sh.
# shellcheck shell=bash
fail() { echo "tarball: $*" >&2; exit 1; }
tree() { find / -xdev \( -path /proc -o -path /sys -o -path /packages -o -path /tmp \) -prune -o -printf '%p %y %m %u %g %s\n' | LC_ALL=C sort | grep -vE '^/(etc|etc/(passwd|shadow|group|gshadow)-?|etc/subuid-?|etc/subgid-?|etc/\.pwd\.lock|run|var/lib|var/log) '; }
accounts() { cat /etc/passwd /etc/group /etc/gshadow; cut -d : -f 1 /etc/shadow; }

# As the install note says.
mkdir -p /usr/local/lib/volant
tar -C /usr/local/lib/volant --strip-components=1 -xzf /packages/volant-*-linux-x64.tar.gz
ln -sf ../lib/volant/volar ../lib/volant/fledge ../lib/volant/volantd /usr/local/bin/
grep -q "$(volar version | cut -d ' ' -f 2)" /usr/local/lib/volant/INSTALL.md || fail "the install note names another version"

groupadd --system kvm
# Another one was there before.
mkdir -p /etc/sysctl.d
echo 'net.ipv4.ip_forward = 0' >/etc/sysctl.d/60-volant.conf
tree >/tmp/tree.before
accounts >/tmp/accounts.before
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ] || fail "the name space forwards already"

su -s /bin/bash nobody -c '/usr/local/bin/volar setup' >/tmp/log 2>&1 && fail "nobody could set the host up"
grep -q "must run as root" /tmp/log || { cat /tmp/log >&2; fail "the refusal does not say why"; }
volar setup --dry-run >/tmp/log 2>&1 || { cat /tmp/log >&2; fail "the trial run failed"; }
tree | diff /tmp/tree.before - || fail "a trial run changed what is above"

# Broken off at any moment, it goes on the next time.
for delay in 0.02 0.05 0.1 0.2; do timeout --signal=KILL $delay volar setup >/dev/null 2>&1 || true; done
sleep 0.5 # a useradd that was under way holds its lock
volar setup >/tmp/log 2>&1 || { cat /tmp/log >&2; fail "setup failed"; }
grep -q "systemd does not run here" /tmp/log || { cat /tmp/log >&2; fail "it does not say that systemd is not there"; }
[ "$(stat -c '%a %U %G' /var/lib/volant /var/log/volant /etc/volant /etc/volant/volantd.env /etc/systemd/system/volantd.service | tr '\n' ,)" = "700 volant volant,750 volant volant,750 root volant,640 root volant,644 root root," ] ||
    { stat -c '%n %a %U %G' /var/lib/volant /var/log/volant /etc/volant /etc/volant/volantd.env; fail "modes or owners"; }
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] || fail "the host does not forward"
id -nG volant | grep -qw kvm || fail "volant is not in the group kvm"
grep -qx 'ExecStart=/usr/local/lib/volant/volantd' /etc/systemd/system/volantd.service || fail "the unit starts something else"
tree >/tmp/tree.one
volar setup --output json >/tmp/log 2>/tmp/talk
grep -E '"result": "(created|updated|replaced)"' /tmp/log && fail "a second run changed something"
tree | diff /tmp/tree.one - || fail "a second run changed what is above"

# Settings that the daemon refuses change nothing.
volar setup --subnet 10.0.0.0/31 >/tmp/log 2>&1 && fail "a bad subnet was taken"
volar setup --subnet 10.0.0.0/24 --host-ip 10.1.0.1 >/tmp/log 2>&1 && fail "an address outside of the subnet was taken"
grep -q VOLANT_HOST_IP /tmp/log || { cat /tmp/log >&2; fail "the refusal does not name the setting"; }
tree | diff /tmp/tree.one - || fail "a refused run changed what is above"
volar setup --subnet 10.20.0.0/24 >/dev/null 2>&1
grep -qx 'VOLANT_HOST_IP=10.20.0.1' /etc/volant/volantd.env || fail "the subnet was not taken"

volar setup --undo >/tmp/log 2>&1 || { cat /tmp/log >&2; fail "undo failed"; }
tree | diff /tmp/tree.before - || { cat /tmp/log >&2; fail "undo left what is above"; }
accounts | diff /tmp/accounts.before - || fail "undo left accounts"
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ] || fail "the host still forwards"
[ "$(cat /etc/sysctl.d/60-volant.conf)" = 'net.ipv4.ip_forward = 0' ] || fail "the replaced file is not back"
