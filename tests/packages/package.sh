# Runs inside a clean Debian root; see scripts/package-test.sh.
# shellcheck shell=bash
fail() { echo "package: $*" >&2; exit 1; }
quietly() { "$@" >/tmp/log 2>&1 || { cat /tmp/log >&2; fail "'$*' failed"; }; }
# Everything that a package may leave, without what dpkg and the tools for accounts keep for themselves and what is this test's.
tree() { find / -xdev \( -path /proc -o -path /sys -o -path /packages -o -path /tmp -o -path /var/lib/dpkg -o -path /var/log/dpkg.log -o -path '/var/cache/*' \) -prune -o -printf '%p %y %m %u %g\n' | LC_ALL=C sort | grep -vE '^/etc/(passwd|shadow|group|gshadow|subuid|subgid)- '; }
accounts() { sed 's/:[^:]*$//' /etc/passwd; cat /etc/group /etc/gshadow; cut -d : -f 1 /etc/shadow; }
mode() { [ "$(stat -c '%a %U %G' "$1")" = "$2" ] || fail "$1 is '$(stat -c '%a %U %G' "$1")', not '$2'"; }
# What it depends on is no matter of this test; scripts/package-test.sh looks whether apt knows the names.
install_deb() { quietly dpkg --force-depends --install "$1"; }

groupadd --system kvm
tree >/tmp/tree.before
accounts >/tmp/accounts.before
one=$(echo /packages/volant_*_amd64.deb | tr ' ' '\n' | grep -v next)
two=$(echo /packages/volant_*next*.deb)
version=$(dpkg-deb --field "$one" Version)

install_deb "$one"
[ "$(volar version)" = "volar $version" ] || fail "volar says '$(volar version)'"
[ "$(volantd --version)" = "volantd $version" ] || fail "volantd says '$(volantd --version)'"
fledge --help >/dev/null || fail "fledge does not start"
mode /etc/volant "750 root volant"
mode /etc/volant/volantd.env "640 root volant"
mode /var/lib/volant "700 volant volant"
mode /var/log/volant "750 volant volant"
mode /usr/lib/volant/volantd "755 root root"
mode /usr/lib/systemd/system/volantd.service "644 root root"
getent passwd volant | grep -q ':/var/lib/volant:/usr/sbin/nologin$' || fail "the user is '$(getent passwd volant)'"
id -nG volant | grep -qw kvm || fail "volant is not in the group kvm"
[ -L /etc/systemd/system/multi-user.target.wants/volantd.service ] || fail "the unit is not enabled"
dpkg --verify volant >/tmp/verify 2>&1 || true
[ ! -s /tmp/verify ] || fail "dpkg finds changes: $(cat /tmp/verify)"
# shellcheck source=/dev/null
source /usr/share/bash-completion/completions/volar
complete -p volar >/dev/null || fail "there is no completion for bash"

# The service's user can start it, with what the unit gives it. It ends by itself when the settings are wrong, so it must stay.
start() {
    su -s /bin/bash volant -c "umask 077; $(sed -n 's/^Environment=//p' /usr/lib/systemd/system/volantd.service | tr '\n' ' ') VOLANT_RUNTIME_DIR=/run/volant VOLANT_API_LISTEN=unix:/run/volant/api.sock exec /usr/lib/volant/volantd" >/tmp/volantd.log 2>&1 &
    for _ in $(seq 100); do
        [ -S /run/volant/api.sock ] && volar --api unix:///run/volant/api.sock system info >/dev/null 2>&1 && return
        sleep 0.1
    done
    cat /tmp/volantd.log >&2
    fail "volantd does not answer"
}
install -d -o volant -g volant -m 0750 /run/volant
start
pkill_own() { for process in /proc/[0-9]*; do if [ "$(cat "$process/comm" 2>/dev/null)" = "$1" ]; then kill "${process#/proc/}"; fi; done; }
[ -s /var/lib/volant/state.db ] || fail "there is no database"
mode /var/lib/volant/state.db "600 volant volant"

# A second installation changes nothing; nor has 'volar setup' anything to do.
tree >/tmp/tree.one
install_deb "$one"
tree | diff /tmp/tree.one - || fail "a second installation changed what is above"
if volar setup --dry-run 2>/dev/null | grep would | grep -v ip_forward; then fail "volar setup has something to do besides the kernel's setting"; fi

# An upgrade keeps settings, data and processes.
echo 'VOLANT_API_KEY=of-the-administrator' >>/etc/volant/volantd.env
sleep 1000 &
vm=$!
install_deb "$two"
[ "$(dpkg-query -W -f '${Version}' volant)" = "$version+next" ] || fail "the upgrade did not arrive"
grep -q of-the-administrator /etc/volant/volantd.env || fail "the upgrade changed the settings"
mode /etc/volant/volantd.env "640 root volant"
kill -0 $vm || fail "the upgrade ended a process"
[ "$(volar --api unix:///run/volant/api.sock system info --output json | grep -c '"version"')" = 1 ] || fail "the upgrade ended the daemon"
kill $vm

# Nothing is removed while a VM runs.
su -s /bin/bash volant -c 'exec sleep 1000' &
for _ in $(seq 50); do ps_volant=$(grep -lx sleep /proc/[0-9]*/comm 2>/dev/null) && break; sleep 0.1; done
if dpkg --remove volant >/tmp/log 2>&1; then fail "the package was removed under a VM"; fi
grep -q "delete the VMs first" /tmp/log || { cat /tmp/log >&2; fail "the refusal does not say why"; }
[ -x /usr/lib/volant/volantd ] || fail "the refused removal removed programs"
[ -n "$ps_volant" ]
pkill_own sleep
for _ in $(seq 50); do grep -qx sleep /proc/[0-9]*/comm 2>/dev/null || break; sleep 0.1; done

# systemd is not here to stop it.
pkill_own volantd
for _ in $(seq 50); do grep -qx volantd /proc/[0-9]*/comm 2>/dev/null || break; sleep 0.1; done
quietly dpkg --remove volant
if [ -e /usr/lib/volant ] || [ -e /usr/bin/volar ]; then fail "a removal left programs"; fi
for kept in /var/lib/volant/state.db /etc/volant/volantd.env; do [ -s $kept ] || fail "a removal took $kept"; done
quietly dpkg --purge volant
tree | diff /tmp/tree.before - || fail "a purge left what is above"
accounts | diff /tmp/accounts.before - || fail "a purge left accounts"
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ] || fail "the package changed the kernel without systemd"
