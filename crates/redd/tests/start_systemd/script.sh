# Run by a service of the host that the test has booted, at both of its boots; see start_systemd.rs, which reads what it writes.
exec >>/work/log 2>&1
PATH=/work/bin:$PATH
unit=systemd-nspawn@inner.service
await() { for _ in $(seq 300); do [ "$(systemctl is-active $unit)" = "$1" ] && break; sleep 0.1; done; systemctl is-active $unit; }
runs() { redd list --no-legend | grep -c '^inner '; }

if [ ! -e /work/second ]; then
    echo "== start"
    machinectl start inner; echo "code $?"
    systemctl is-active $unit; runs
    systemctl show -p Slice -p ControlGroup $unit
    redd exec inner /bin/busybox cat /proc/self/uid_map
    machinectl start inner; echo "code $?"

    echo "== poweroff"
    machinectl poweroff inner; echo "code $?"
    await inactive
    systemctl show -p Result $unit

    echo "== stop"
    systemctl start $unit; echo "code $?"
    systemctl stop $unit; echo "code $?"
    systemctl show -p Result $unit; runs

    echo "== missing"
    redd start missing; echo "code $?"
    redd enable missing; echo "code $?"

    echo "== broken"
    redd start broken; echo "code $?"

    echo "== refused"
    redd start --restart=always inner; echo "code $?"
    redd enable --order=1 inner; echo "code $?"
    redd autostart; echo "code $?"

    echo "== enable"
    machinectl enable inner; echo "code $?"
    readlink /etc/systemd/system/machines.target.wants/$unit /etc/systemd/system/multi-user.target.wants/machines.target
    systemctl is-enabled $unit machines.target
    ls /etc/redd
    touch /work/second
    systemctl reboot
else
    echo "== booted"
    await active; runs
    redd disable --now inner; echo "code $?"
    await inactive; runs
    ls /etc/systemd/system/machines.target.wants
    systemctl is-enabled $unit
    redd enable --now inner; echo "code $?"
    systemctl is-active $unit; runs
    systemctl exit 7
fi
