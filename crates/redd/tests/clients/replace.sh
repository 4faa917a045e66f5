# Run on the host: redd, as it was installed below /work/dest, takes the place of systemd-nspawn and systemd-machined. All else of
# systemd stays as it is.
set -e
cp -a /work/dest/usr/local/. /usr/local/
cd /usr
rm -f bin/systemd-nspawn lib/systemd/systemd-machined
(cd lib/systemd/system; rm -f systemd-nspawn@.service systemd-machined.service systemd-machined.socket \
    dbus-org.freedesktop.machine1.service sockets.target.wants/systemd-machined.socket)
cd share
rm -f dbus-1/system.d/org.freedesktop.machine1.conf dbus-1/system-services/org.freedesktop.machine1.service \
    polkit-1/actions/org.freedesktop.machine1.policy
cp /usr/local/share/redd/dbus/org.freedesktop.machine1.conf dbus-1/system.d/
cp /usr/local/share/redd/dbus/org.freedesktop.machine1.service dbus-1/system-services/
cp /usr/local/share/redd/polkit/org.freedesktop.machine1.policy polkit-1/actions/
systemctl daemon-reload
systemctl stop systemd-machined.socket systemd-machined.service 2>/dev/null || true
rm -rf /run/systemd/machine /run/systemd/machines
systemctl reload dbus.service
systemctl enable -q --now systemd-machined.socket

# The machines: a Debian, and one of nothing but BusyBox that is kept elsewhere.
cp -a /srv/tree /var/lib/machines/deb
mkdir /work/elsewhere
cp -a /work/box /work/elsewhere/box
ln -s /work/elsewhere/box /var/lib/machines/box

# Two users that are not root: to one of them polkit permits something: a signal, and sessions in one machine, shells there of one user.
useradd -u 1500 refused
useradd -u 1501 granted
mkdir -p /etc/polkit-1/rules.d
cat > /etc/polkit-1/rules.d/10-granted.rules <<'RULE'
polkit.addRule(function(action, subject) {
    if (action.id == "org.freedesktop.machine1.manage-machines" && action.lookup("verb") == "kill" && subject.user == "granted")
        return polkit.Result.YES;
    if (subject.user == "granted" && action.lookup("machine") == "deb" && (
            action.id == "org.freedesktop.machine1.open-pty" || action.id == "org.freedesktop.machine1.login" ||
            action.id == "org.freedesktop.machine1.shell" && action.lookup("user") == "www-data"))
        return polkit.Result.YES;
});
RULE
chmod 644 /etc/polkit-1/rules.d/10-granted.rules
systemctl restart polkit.service
