# Run by a service of the host that the test has booted; see systemd_races.rs, which reads what it writes. Each line but the
# last says how many of how many rounds went wrong, after what they said.
exec >/work/log 2>&1
read -r rounds </work/rounds
# For the background: the process is the supervisor itself.
start() { exec /work/redd-spawn -q -D /srv/tree --volatile=overlay --console=pipe --register=yes -M same "$@" </dev/null; }
# A proc and a sysfs without anything on top, as every host has.
mkdir -p /tmp/proc /tmp/sys && mount -t proc proc /tmp/proc && mount -t sysfs sysfs /tmp/sys

# expect CODE ROUND COMMAND...: which also says nothing.
expect() {
    local wanted=$1 round=$2 said code
    shift 2
    said=$("$@" 2>&1); code=$?
    [ "$code" = "$wanted" ] && [ -z "$said" ] && return
    failed=$((failed + 1))
    echo "round $round: code $code: $said"
}
# times SHARE NAME COMMAND...: a share of all rounds, in percent.
times() {
    local count=$(($1 * rounds / 100)) name=$2 failed=0 round
    shift 2
    for round in $(seq "$count"); do "$@"; done
    echo "$name: $failed of $count"
}
ended() { expect 0 "$round" start "$@" true; }
# Another start right after the supervisor was killed.
killed() {
    start "$@" sleep 300 >/dev/null 2>&1 & local supervisor=$!
    for _ in $(seq 500); do machinectl show same >/dev/null 2>&1 && break; done
    kill -9 $supervisor; wait $supervisor 2>/dev/null
    ended "$@"
}
# Reboots itself twenty times.
rebooted() {
    rm -f /tmp/count/*
    expect 42 "$round" start --bind=/tmp/count:/count:idmap --bind-ro=/work/probe:/probe --bind-ro=/work/count.sh:/count.sh "$@" bash /count.sh
    [ "$(ls /tmp/count | wc -l)" = 21 ] || { failed=$((failed + 1)); echo "round $round: $(ls /tmp/count | wc -l) starts"; }
}
# As a unit of systemd's own for containers would: the same unit again and again.
kept() { expect 0 "$round" systemctl restart kept; }
kept_killed() {
    expect 0 "$round" systemctl start kept-long
    for _ in $(seq 500); do machinectl show kept-long >/dev/null 2>&1 && break; done
    systemctl kill -s KILL --kill-whom=main kept-long
    expect 0 "$round" systemctl restart kept-long
    [ "$(machinectl show kept-long -p Unit --value 2>&1)" = kept-long.service ] || { failed=$((failed + 1)); echo "round $round: unlisted"; }
    systemctl stop kept-long
}

mkdir -p /tmp/count
times 100 ended ended
times 20 properties ended --slice=redd-race.slice --property=CPUWeight=50
times 20 users ended -U
times 20 killed killed
times 5 killed-properties killed --slice=redd-race.slice --property=CPUWeight=50
times 5 rebooted rebooted
times 2 rebooted-users rebooted -U
times 20 kept kept
times 5 kept-killed kept_killed
# A stop of the unit is no such signal as machined's: it ends a container that only reboots, at whatever moment it comes.
for _ in 1 2 3; do
    start --bind-ro=/work/probe:/probe /probe restart >/tmp/endless 2>&1 & supervisor=$!
    sleep 0.5
    timeout 20 systemctl stop same.scope || echo "not stopped"
    wait $supervisor
    case $? in
        # Interrupted while it was started, killed, or between two starts.
        1 | 137 | 0) ;;
        *) cat /tmp/endless ;;
    esac
done
echo "left $(machinectl list --no-legend | wc -l) $(systemctl list-units --all --plain --no-legend '*same*.scope' | wc -l)"
systemctl exit 7
