# Run by a service of the host that the test has booted; see systemd_service.rs, which reads what it writes.
exec >/work/log 2>&1
mkdir -p /tmp/proc && mount -t proc proc /tmp/proc
show() { systemctl show "$@"; }
# A condition that comes true in a moment.
await() {
    for _ in $(seq 200); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    echo "never: $*"
}
# unit NAME SECTION-LINES COMMAND: a service that runs a container.
unit() {
    printf '[Service]\nType=notify\nDelegate=yes\nStandardInput=null\nStandardOutput=append:/work/out-%s\nTimeoutSec=30\n%b\nExecStart=/work/redd-spawn -q --keep-unit --pipe -D /srv/tree -M %s --bind-ro=/work/probe:/probe %s\n' \
        "$1" "$2" "$1" "$3" >/run/systemd/system/$1.service
}
unit store 'FileDescriptorStoreMax=8\nFileDescriptorStorePreserve=yes' \
    "--notify-ready=yes --volatile=overlay /bin/sh -c 'echo \"got \$\$LISTEN_FDS \$\$LISTEN_FDNAMES\"; test -n \"\$\$LISTEN_FDS\" \&\& head -c 20 <\&3; exec 4</etc/hostname; exec /probe store READY=1/FDSTORE=1/FDNAME=kept 4'"
unit dog 'WatchdogSec=1s\nWatchdogSignal=KILL' "--volatile=overlay /bin/sleep 300"
unit rebooter '' "-x /bin/sh -c 'test -e /again \&\& exec sleep 300; touch /again; sleep 1; exec /probe restart'"
unit answer '' "--volatile=overlay /bin/sh -c 'echo \"got \$\$LISTEN_FDS \$\$LISTEN_PID \$\$LISTEN_FDNAMES\"; exec /probe answer'"
printf '[Socket]\nListenStream=/run/answer.sock\nFileDescriptorName=door\n' >/run/systemd/system/answer.socket
sed -i 's/\\&/\&/g' /run/systemd/system/*.service
# As long as this is active nobody forgets the other one, and what it has stored.
printf '[Unit]\nWants=store.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n' >/run/systemd/system/hold.service
systemctl daemon-reload

echo "== store"
systemctl start hold store; echo "code $?"
await test "$(show --value -p ActiveState store)" = inactive
sleep 1
show -p Result -p NFileDescriptorStore store
systemctl start store; echo "code $?"
sleep 1
show -p Result -p NFileDescriptorStore store
cat /work/out-store

echo "== dog"
systemctl start dog; echo "code $?"
sleep 4
show -p ActiveState -p Result -p NRestarts dog
kill -STOP "$(show --value -p MainPID dog)"
sleep 3
show -p ActiveState -p Result dog

echo "== rebooter"
systemctl start rebooter; echo "code $?"
first=$(show --value -p MainPID rebooter)
sleep 4
show -p ActiveState -p SubState -p StatusText rebooter
[ "$first" = "$(show --value -p MainPID rebooter)" ] && echo same
systemctl stop rebooter; echo "code $?"

echo "== answer"
systemctl start answer.socket
/work/probe call /run/answer.sock
sleep 1
show -p Result answer
cat /work/out-answer
systemctl stop answer.socket

echo "== state"
systemd-run -q --unit=plain -p Type=notify -p Delegate=yes -p NotifyAccess=main \
    /work/redd-spawn -q --keep-unit --pipe --volatile=overlay -D /srv/tree -M plain /bin/sleep 300; echo "code $?"
show -p ActiveState -p StatusText plain
systemctl stop plain
show -p Result plain

echo "== end"
systemctl exit 7
