# Run by a service of the host that the test has booted; see systemd_properties.rs, which reads what it writes.
exec >/work/log 2>&1
redd() { /work/redd-spawn -q -D /srv/tree --volatile=overlay --console=pipe "$@"; }
# For the background: the process is the supervisor itself.
start() { exec /work/redd-spawn -q -D /srv/tree --volatile=overlay --console=pipe "$@"; }
until_active() {
    for _ in $(seq 200); do
        [ "$(systemctl $2 is-active "$1")" = active ] && return
        sleep 0.02
    done
}
until_listed() {
    for _ in $(seq 200); do
        machinectl show "$1" >/dev/null 2>&1 && return
        sleep 0.02
    done
}
listed() { machinectl list --no-legend --no-pager | awk '{print $1, $2, $3}'; }

# Each assignment by systemd's own client and by redd: who takes it, and what the unit then says about it.
while read -r name assignment; do
    systemd-run -q --scope --unit=theirs.scope --property="$assignment" \
        systemctl show theirs.scope -p "$name" >/tmp/theirs 2>/tmp/complaint </dev/null || echo refused >/tmp/theirs
    start --register=no -M ours --property="$assignment" sleep 60 </dev/null >/tmp/started 2>&1 & supervisor=$!
    for _ in $(seq 200); do
        [ "$(systemctl is-active ours.scope)" = active ] && break
        kill -0 $supervisor 2>/dev/null || break
        sleep 0.02
    done
    if kill -0 $supervisor 2>/dev/null; then
        systemctl show ours.scope -p "$name" >/tmp/ours
        kill $supervisor
    else
        echo refused >/tmp/ours
    fi
    wait $supervisor 2>/dev/null
    if cmp -s /tmp/theirs /tmp/ours; then
        echo "same $assignment: $(cat /tmp/ours)"
    else
        echo "OTHER $assignment: $(cat /tmp/theirs /tmp/ours /tmp/complaint /tmp/started | tr '\n' ' ')"
    fi
done </work/assignments >/work/compared

echo "== scope"
start -M props -S redd-test --property=Description='A b' --memory=300M --cpus=0.5 --pids=99 sleep 300 & supervisor=$!
until_listed props
systemctl show props.scope -p Slice -p Description -p MemoryMax -p CPUQuotaPerSecUSec -p TasksMax -p ControlGroup
echo "listed $(listed)"
machinectl show props -p Class -p Service -p Unit -p RootDirectory -p State
echo "leader $(machinectl show props -p Leader --value) is $(pgrep -P $supervisor)"
machinectl show props -p Id --value | tr -d '\n' | wc -c
kill $supervisor; wait $supervisor
echo "afterwards $(listed)"

echo "== devices"
redd --property=DeviceAllow='/dev/zero r' --property=DeviceAllow=char-mem sh -c ': </dev/null && echo fine; tty; mknod /k c 10 237 || echo none'
echo "code $?"

echo "== bundle"
bundle() { exec /work/redd-spawn -q --oci-bundle=/work/bundle --volatile=overlay --register=no -M bundle "$@"; }
bundle sleep 300 & supervisor=$!
until_active bundle.scope
systemctl show bundle.scope -p Slice -p MemoryMax -p MemorySwapMax -p MemoryLow -p CPUWeight -p CPUQuotaPerSecUSec \
    -p CPUQuotaPeriodUSec -p AllowedCPUs -p TasksMax -p IOWeight -p IODeviceWeight -p IOReadBandwidthMax -p IOWriteIOPSMax \
    -p DevicePolicy -p DeviceAllow
kill $supervisor; wait $supervisor
(bundle); echo "code $?"

echo "== booted"
start -M booted -b --console=read-only --private-network </dev/null >/work/booted 2>&1 & supervisor=$!
until_listed booted
for _ in $(seq 300); do
    [ -n "$(find /sys/fs/cgroup -path '*/payload/system.slice/console-getty.service')" ] && break
    sleep 0.1
done
sleep 0.5
first=$(machinectl show booted -p Leader --value)
now=$first
# A system that is not up yet may miss what it is asked for.
for _ in $(seq 20); do
    machinectl reboot booted
    for _ in $(seq 20); do
        now=$(machinectl show booted -p Leader --value 2>/dev/null)
        [ -n "$now" ] && [ "$now" != "$first" ] && break 2
        sleep 0.1
    done
done
[ "$now" != "$first" ] && echo "listed again"
for _ in $(seq 20); do
    machinectl poweroff booted
    for _ in $(seq 20); do
        kill -0 $supervisor 2>/dev/null || break 2
        sleep 0.1
    done
done 2>/dev/null
wait $supervisor; echo "code $?"
echo "afterwards $(listed)"

echo "== kept"
systemd-run -q --unit=kept.service -p Delegate=yes /work/redd-spawn -q -D /srv/tree --volatile=overlay -M kept --console=pipe \
    --keep-unit --register=yes --slice=nonsense sleep 300
until_listed kept
machinectl show kept -p Unit
systemctl stop kept.service
echo "afterwards $(listed)"

echo "== killed"
start -M killed sleep 300 & supervisor=$!
until_listed killed
kill -9 $supervisor; wait $supervisor 2>/dev/null
for _ in $(seq 100); do [ -z "$(listed)" ] && break; sleep 0.05; done
echo "afterwards $(listed)"

echo "== unlisted"
redd --register=no -M unlisted sh -c 'echo inside' & sleep 0.3; echo "listed $(listed)"; wait $!; echo "code $?"

echo "== without"
systemctl mask --runtime --now -q systemd-machined.service
redd -M without true; echo "auto $?"
redd -M without --register=yes echo started; echo "yes $?"
systemctl unmask --runtime -q systemd-machined.service

echo "== user"
redd --user true -- 2>/dev/null; echo "name $?"
redd --user --register=no -M mine -- 2>&1 | head -1
systemctl start user@0.service
export XDG_RUNTIME_DIR=/run/user/0
start --user --register=no -M mine --memory=200M -- sleep 300 & supervisor=$!
until_active mine.scope --user
systemctl --user show mine.scope -p MemoryMax -p Slice -p ControlGroup
kill $supervisor; wait $supervisor
scopes_of_user() { systemctl --user list-units --all --plain --no-legend '*.scope' | grep -cv '^init[.]scope'; }
# The manager hears of an empty group in its own time.
for _ in $(seq 100); do [ "$(scopes_of_user)" = 0 ] && break; sleep 0.05; done
echo "left $(scopes_of_user)"
systemctl stop user@0.service

echo "== left"
find /sys/fs/cgroup -name payload -o -name redd -o -name supervisor
systemctl list-units --all --plain --no-legend '*.scope' | grep -v '^init[.]scope'
systemctl exit 7
