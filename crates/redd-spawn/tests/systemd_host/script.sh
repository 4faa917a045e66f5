# Run by a service of the host that the test has booted; see systemd_host.rs, which reads what it writes.
exec >/work/log 2>&1
run() { /work/redd-spawn -q -D /srv/tree --volatile=overlay --console=pipe "$@"; }
# For the background: the process is the supervisor itself.
start() { exec /work/redd-spawn -q -D /srv/tree --volatile=overlay --console=pipe "$@"; }
# The system inside is up: what has started it may stop it now.
await_boot() {
    for _ in $(seq 300); do
        [ -n "$(find /sys/fs/cgroup -path '*/payload/system.slice/console-getty.service')" ] && break
        sleep 0.1
    done
    sleep 0.5
}
scopes() { systemctl list-units --all --plain --no-legend '*.scope' | grep -cv '^init[.]scope'; }
group_of() { grep '^0::' "/proc/$1/cgroup"; }
# A proc without anything on top, as every host has.
mkdir -p /tmp/proc && mount -t proc proc /tmp/proc

echo "== command"
run sh -c 'grep ^0:: /proc/self/cgroup; exit 3'; echo "code $?"

echo "== again"
codes=
for _ in 1 2 3 4; do run true; codes="$codes $?"; done
echo $codes

echo "== users"
run -U sh -c 'mkdir /sys/fs/cgroup/own && echo $$ >/sys/fs/cgroup/own/cgroup.procs && grep ^0:: /proc/self/cgroup'; echo "code $?"

echo "== scope"
start -M my-name.x sleep 300 & supervisor=$!
sleep 1
systemctl show my-name.x.scope -p Delegate -p Slice -p Description -p ControlGroup -p CollectMode
echo "supervisor $(group_of $supervisor)"
echo "payload $(group_of "$(pgrep -P $supervisor)")"
kill $supervisor; wait $supervisor

echo "== killed"
start -M killed sleep 300 & supervisor=$!
sleep 1
kill -9 $supervisor; wait $supervisor 2>/dev/null
sleep 1
echo "left $(scopes)"
run -M killed true; echo "again $?"

echo "== foreign"
systemd-run -q --scope --unit foreign.scope sleep 300 &
sleep 1
run -M foreign true; echo "code $?"
systemctl stop foreign.scope

echo "== bus"
mv /run/systemd/private /run/systemd/private.away
run true; echo "code $?"
mv /run/systemd/private.away /run/systemd/private

echo "== stopped"
start -M booted -b --console=read-only --private-network </dev/null >/work/booted 2>&1 & supervisor=$!
await_boot
systemctl stop booted.scope
wait $supervisor; echo "code $?"
echo "left $(scopes)"

for unit in keep keep-sub; do
    echo "== $unit"
    systemctl start $unit
    await_boot
    systemctl is-active $unit
    supervisor=$(systemctl show --value -p MainPID $unit)
    echo "supervisor $(group_of $supervisor)"
    echo "payload $(group_of "$(pgrep -P $supervisor)")"
    systemctl stop $unit
    systemctl show -p Result $unit
done

echo "== plain"
systemd-run -q --wait --pipe /work/redd-spawn -q -D /srv/tree --volatile=overlay --console=pipe --keep-unit true
echo "code $?"

echo "== left"
ls /sys/fs/cgroup/machine.slice 2>/dev/null | grep '[.]scope$'
find /sys/fs/cgroup -name payload -o -name redd -o -name supervisor
systemctl exit 7
