# What a program sees in its container, section by section. Run by bash inside.
echo '## environment'
env | sort
echo '## mounts'
findmnt -rn -o TARGET,SOURCE,FSTYPE,OPTIONS
echo '## dev'
cd /dev && stat -c '%A %u:%g %t:%T %N' char char/* fd full fuse mqueue net net/* null ptmx pts random shm stderr stdin stdout tty urandom zero
ls /dev | sort
echo '## run'
find /run/host -printf '%M %U:%G %p\n' 2>/dev/null | sort -k 3
echo '## status'
grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/self/status
echo '## oom'
cat /proc/self/oom_score_adj
echo '## cgroup'
cat /proc/self/cgroup
echo '## links'
ls /sys/class/net
echo '## uid_map'
cat /proc/self/uid_map
echo '## sysctl'
cat /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start
echo '## names'
hostname
stat -c '%A %u:%g %N' /etc/localtime
echo '## masked'
stat -c '%A %n' /proc/kallsyms /proc/keys /proc/timer_list /proc/acpi /proc/bus /proc/fs /proc/irq /proc/sys /proc/sys/net /proc/sys/kernel /sys
