//! Disk images. The file systems in them are made by [`super::images`].

use super::case::Case;

const IMAGE: &str = "--image={host}/{name}.raw";
/// How the root is mounted, and whether it can be written to.
const ROOT: &str = "findmnt -rno FSTYPE,VFS-OPTIONS /; echo new 2>/dev/null >/new && cat /new || echo no";
/// Where partitions are mounted and how.
const PARTS: &str = "for p in / /usr /home /srv /var /var/tmp /efi /boot; do \
                     findmnt -rno TARGET,FSTYPE,VFS-OPTIONS $p || true; cat $p/mark 2>/dev/null || true; done";
/// Which of several roots it is.
const WHICH: &str = "cat /which 2>/dev/null || echo first";
const OWNERS: &str = "stat -c '%n %u:%g' / /etc /etc/passwd /home/user; touch /new; stat -c '%u:%g' /new";
/// What is in the image afterwards.
const KEPT: &str = "mkdir m; mount -o loop,ro {name}.raw m; cat m/new 2>&1 | tail -c 27; stat -c '%n %u:%g' m/etc/passwd m/home/user; umount m";
/// The boot partition, if the kernel can mount it, is as it should be.
const EFI: &str = "findmnt -rno FSTYPE /; findmnt -rno FSTYPE,VFS-OPTIONS /efi | grep -v -x 'vfat rw,nosuid,nodev,noexec,relatime,nosymfollow' || true";
const ALL: &str = "table gpt $root@root.ext4 $home@home.ext4 $srv@srv.ext4 $tmp@tmp.ext4";
const SUM: &str = "cmp {name}.raw before && echo same";

const DRIVER: &str = "what the driver of ext4 mounts is taken";
const BOOT: &str = "boot partitions are mounted as vfat, which this kernel lacks; a container needs none";
const PROTECTED: &str = "nothing is run unprotected that is meant to be protected";
const PASSPHRASE: &str = "it asks for a passphrase";
/// The original waits for a passphrase as long as a case may take; one case shows that.
const NEVER: u32 = u32::MAX;
const SUID: &str = "its place for temporary files may hold programs with privileges";
const MIXED: &str = "a root and /usr for two processors do not fit together";
pub(crate) const CASES: &[Case] = &[
    Case::refused("no image", &["--image={host}/nonexistent"]),
    // One file system.
    Case::inside("ext4", &[IMAGE], ROOT).image("bare root.ext4").after(KEPT),
    Case::inside("ext3", &[IMAGE], ROOT).image("bare root.ext3").after(KEPT).prints("ext4 rw,nodev,relatime\nnew\n").leaves("new\nm/etc/passwd 0:0\nm/home/user 1000:1000\n").differs(DRIVER),
    Case::inside("ext2", &[IMAGE], ROOT).image("bare root.ext2").after(KEPT).prints("ext4 rw,nodev,relatime\nnew\n").leaves("new\nm/etc/passwd 0:0\nm/home/user 1000:1000\n").differs(DRIVER),
    Case::inside("xfs", &[IMAGE], ROOT).image("bare root.xfs").after(KEPT),
    Case::inside("btrfs", &[IMAGE], ROOT).image("bare root.btrfs").after(KEPT),
    Case::inside("squashfs", &[IMAGE], ROOT).image("bare root.squashfs"),
    Case::inside("erofs", &[IMAGE], ROOT).image("bare root.erofs"),
    Case::inside("the short form", &["-i", "{host}/{name}.raw"], ROOT).image("bare root.ext4"),
    Case::inside("a relative path", &["-i", "{name}.raw"], ROOT).image("bare root.ext4"),
    Case::inside("a link to it", &["-i", "{host}/link", "-M", "{name}"], ROOT).image("bare root.ext4; ln -s {name}.raw link"),
    Case::inside("a name without the ending", &["-i", "{host}/{name}"], ROOT).image("bare root.ext4; mv {name}.raw {name}"),
    Case::inside("the machine is called like the file", &[IMAGE], "hostname").image("bare root.ext4").prints("{name}\n"),
    Case::inside("another name", &[IMAGE, "-M", "{name}x", "--hostname=other"], "hostname; echo $container").image("bare root.ext4"),
    Case::inside("an exit code", &[IMAGE], "exit 7").image("bare root.ext4").code(7),
    Case::inside("settings beside it", &[IMAGE], "echo $WORD").image("bare root.ext4; printf '[Exec]\\nEnvironment=WORD=here\\n' > {name}.nspawn").prints("here\n"),
    Case::inside("what is mounted beside it", &[IMAGE], "cut -d' ' -f5,6 /proc/self/mountinfo | grep -v -e /proc -e /sys -e /run/host/ | sort").image("bare root.ext4"),
    // Read-only.
    Case::inside("read-only", &[IMAGE, "--read-only"], ROOT).image("bare root.ext4; cp {name}.raw before").after(SUM),
    Case::inside("read-only xfs", &[IMAGE, "--read-only"], ROOT).image("bare root.xfs"),
    Case::inside("read-only btrfs", &[IMAGE, "--read-only"], ROOT).image("bare root.btrfs"),
    Case::inside("read-only parts", &[IMAGE, "--read-only"], PARTS).image(ALL).differs_until(254, SUID),
    Case::inside("a file that is marked read-only", &[IMAGE], ROOT).image("bare root.ext4; chmod 444 {name}.raw"),
    Case::inside("a file on a read-only file system", &["-i", "{host}/ro/{name}.raw"], ROOT).image("bare root.ext4; mkdir ro; mount --bind . ro; mount -o remount,bind,ro ro").after("umount ro").prints("ext4 ro,nodev,relatime\nno\n").differs("it wants to write a lock beside the image"),
    Case::inside("a directory of its own for a bind", &[IMAGE, "--bind={host}/from:/new/deep"], "cat /new/deep/data").image("bare root.ext4; mkdir from; echo data > from/data").after("mkdir m; mount -o loop,ro {name}.raw m; ls m/new m/new/deep; umount m"),
    Case::refused("no place for a bind in what is read-only", &[IMAGE, "--read-only", "--bind={host}/from:/new/deep"]).image("bare root.ext4; mkdir from"),
    Case::inside("a bind over a read-only place", &[IMAGE, "--read-only", "--bind={host}/from:/srv"], "echo x > /srv/x && echo written").image("bare root.ext4; mkdir from").prints("written\n"),
    Case::inside("a bind from the image", &[IMAGE, "--bind-ro=+/home:/mnt/home"], "cat /mnt/home/mark; findmnt -rno VFS-OPTIONS /mnt/home").image(ALL),
    Case::inside("memory over a partition", &[IMAGE, "--tmpfs=/home"], "ls -A /home; stat -f -c %T /home").image(ALL).prints("tmpfs\n"),
    Case::inside("something over a directory that has a partition", &[IMAGE, "--bind={host}/from:/home/here"], "ls /home; cat /home/here/data").image("table gpt $root@root.ext4 $home@home.ext4; mkdir from; echo data > from/data"),
    // Copies.
    Case::inside("an ephemeral copy", &[IMAGE, "-x"], "echo new > /new; cat /new; rm /etc/passwd; ls /etc/passwd 2>/dev/null || echo gone").image("bare root.ext4; cp {name}.raw before").after(SUM).prints("new\ngone\n"),
    Case::inside("nothing is left of an ephemeral copy", &[IMAGE, "-x"], "echo ran").image("bare root.ext4").after("ls -A | grep -v {name}.raw$; echo end"),
    Case::inside("ephemeral and read-only", &[IMAGE, "-x", "--read-only"], "echo new 2>/dev/null >/new && cat /new || echo no").image("bare root.ext4").prints("no\n"),
    Case::inside("an ephemeral copy of squashfs", &[IMAGE, "-x"], "echo new 2>/dev/null >/new && cat /new || echo no").image("bare root.squashfs").prints("new\n").differs("the copy is as read-only as the file system"),
    Case::inside("an ephemeral copy of parts", &[IMAGE, "-x"], "cat /home/mark; echo new > /home/mark; cat /home/mark").image("table gpt $root@root.ext4 $home@home.ext4; cp {name}.raw before").after(SUM).prints("home\nnew\n"),
    Case::inside("volatile overlay", &[IMAGE, "--volatile=overlay"], ROOT).image("bare root.ext4; cp {name}.raw before").after(SUM),
    Case::inside("volatile state", &[IMAGE, "--volatile=state"], "findmnt -rno FSTYPE /var; echo x > /var/x && echo var; echo x 2>/dev/null > /x || echo no; cat /etc/passwd | wc -l").image("bare root.ext4; cp {name}.raw before").after(SUM),
    Case::inside("volatile yes", &[IMAGE, "--volatile=yes"], "findmnt -rno FSTYPE /; ls /etc; echo x > /x && echo root; echo x 2>/dev/null > /usr/x || echo no").image("bare root.ext4; cp {name}.raw before").after(SUM),
    Case::inside("volatile yes, squashfs", &[IMAGE, "--volatile=yes"], "findmnt -rno FSTYPE,VFS-OPTIONS / /usr; echo x > /x && echo root").image("bare root.squashfs"),
    Case::inside("volatile overlay, erofs", &[IMAGE, "--volatile=overlay"], ROOT).image("bare root.erofs"),
    Case::inside("volatile overlay, parts", &[IMAGE, "--volatile=overlay"], "cat /home/mark /srv/mark; findmnt -rno FSTYPE /").image(ALL),
    // Users.
    Case::inside("users are picked", &[IMAGE, "-U"], OWNERS).image("bare root.ext4").after(KEPT),
    Case::inside("users of btrfs", &[IMAGE, "-U"], OWNERS).image("bare root.btrfs").after(KEPT),
    Case::inside("users of xfs", &[IMAGE, "-U"], OWNERS).image("bare root.xfs").after(KEPT),
    Case::inside("users of squashfs", &[IMAGE, "-U"], "stat -c '%n %u:%g' / /etc /home/user").image("bare root.squashfs"),
    Case::inside("users of erofs", &[IMAGE, "-U"], "stat -c '%n %u:%g' / /etc /home/user").image("bare root.erofs"),
    Case::inside("users by map", &[IMAGE, "--private-users=pick", "--private-users-ownership=map"], OWNERS).image("bare root.ext4").after(KEPT),
    Case::inside("users by number", &[IMAGE, "--private-users=524288:65536", "--private-users-ownership=map"], OWNERS).image("bare root.ext4").after(KEPT),
    Case::inside("users, and their files stay", &[IMAGE, "--private-users=524288:65536", "--private-users-ownership=off"], "stat -c '%n %u:%g' / /etc /home/user; cut -c1-40 /proc/self/uid_map").image("bare root.ext4").after(KEPT),
    Case::inside("users, and their files change", &[IMAGE, "--private-users=524288:65536", "--private-users-ownership=chown"], OWNERS).image("bare root.ext4").after(KEPT),
    Case::inside("users of parts", &[IMAGE, "-U"], "stat -c '%n %u:%g' /home/mark /srv /var/tmp/mark; touch /home/x; stat -c '%u:%g' /home/x").image(ALL),
    Case::inside("users of what is read-only", &[IMAGE, "-U", "--read-only"], "stat -c '%n %u:%g' / /etc /home/user; findmnt -rno VFS-OPTIONS /").image("bare root.ext4"),
    Case::inside("users of an ephemeral copy", &[IMAGE, "-U", "-x"], OWNERS).image("bare root.ext4; cp {name}.raw before").after(SUM),
    Case::inside("users of a volatile overlay", &[IMAGE, "-U", "--volatile=overlay"], OWNERS).image("bare root.ext4; cp {name}.raw before").after(SUM),
    // Old tables.
    Case::inside("mbr", &[IMAGE], ROOT).image("table dos 83,bootable@root.ext4"),
    Case::inside("mbr, the bootable one", &[IMAGE], WHICH).image("table dos 83@root.ext4 83,bootable@second.ext4").prints("second\n"),
    Case::inside("mbr, another type beside it", &[IMAGE], WHICH).image("table dos 82@nothing 83,bootable@second.ext4").prints("second\n"),
    Case::refused("mbr, none is bootable", &[IMAGE]).image("table dos 83@root.ext4"),
    Case::refused("mbr, two are bootable", &[IMAGE]).image("table dos 83,bootable@root.ext4 83,bootable@second.ext4"),
    Case::refused("mbr, another type", &[IMAGE]).image("table dos 82,bootable@root.ext4"),
    Case::refused("mbr, empty", &[IMAGE]).image("truncate -s 8M {name}.raw; echo 'label: dos' | sfdisk -q {name}.raw"),
    // New tables.
    Case::inside("gpt", &[IMAGE], ROOT).image("table gpt $root@root.ext4"),
    Case::inside("gpt xfs", &[IMAGE], ROOT).image("table gpt $root@root.xfs"),
    Case::inside("gpt btrfs", &[IMAGE], ROOT).image("table gpt $root@root.btrfs"),
    Case::inside("gpt squashfs", &[IMAGE], ROOT).image("table gpt $root@root.squashfs"),
    Case::inside("gpt erofs", &[IMAGE], ROOT).image("table gpt $root@root.erofs"),
    Case::inside("home, srv and tmp", &[IMAGE], PARTS).image(ALL).differs_until(254, SUID),
    Case::inside("files of parts", &[IMAGE], "stat -c '%n %a %u:%g' /home/mark /srv/mark /var/tmp/mark; echo new > /home/mark; cat /home/mark; mknod /home/dev c 1 3; head -c 1 /home/dev 2>/dev/null || echo no device").image(ALL),
    Case::inside("parts in another order", &[IMAGE], PARTS).image("table gpt $tmp@tmp.ext4 $home@home.ext4 $root@root.ext4").differs_until(254, SUID),
    Case::inside("usr", &[IMAGE], "findmnt -rno TARGET,FSTYPE,VFS-OPTIONS /usr; cat /which; echo x 2>/dev/null > /usr/x && echo written").image("table gpt $usr@usr.ext4 $root@bare.ext4"),
    Case::inside("xbootldr", &[IMAGE], PARTS).image("table gpt $root@root.ext4 $boot@boot.ext4").prints("/ ext4 rw,nodev,relatime\n/boot ext4 rw,nosuid,nodev,noexec,relatime,nosymfollow\nboot\n").differs(BOOT),
    Case::inside("a boot partition of another kind", &[IMAGE], PARTS).image("table gpt $root@root.ext4 $esp@esp.ext4").prints("/ ext4 rw,nodev,relatime\n/efi ext4 rw,nosuid,nodev,noexec,relatime,nosymfollow\nesp\n").differs(BOOT),
    Case::inside("a boot partition", &[IMAGE], EFI).image("table gpt $root@root.ext4 $esp@fat").prints("ext4\n").differs(BOOT),
    Case::inside("swap and others are left alone", &[IMAGE], PARTS).image("table gpt $swap@nothing $root@root.ext4 ebd0a0a2-b9e5-4433-87c0-68b6b72699c7@other.ext4"),
    Case::inside("a place that is not there", &[IMAGE], PARTS).image("table gpt $root@nosrv.ext4 $srv@srv.ext4"),
    Case::inside("a place that cannot be made", &[IMAGE, "--read-only"], PARTS).image("table gpt $root@nosrv.ext4 $srv@srv.ext4").prints("/ ext4 ro,nodev,relatime\n").differs("it fails; the container may do without"),
    Case::refused("a home without a file system", &[IMAGE]).image("table gpt $root@root.ext4 $home@nothing"),
    // Marks.
    Case::inside("the root is marked read-only", &[IMAGE], ROOT).image("table gpt $root,attrs=\\\"GUID:60\\\"@root.ext4"),
    Case::inside("home is marked read-only", &[IMAGE], PARTS).image("table gpt $root@root.ext4 $home,attrs=\\\"GUID:60\\\"@home.ext4"),
    Case::inside("home is not to be mounted", &[IMAGE], PARTS).image("table gpt $root@root.ext4 $home,attrs=\\\"GUID:63\\\"@home.ext4"),
    Case::refused("the root is not to be mounted", &[IMAGE]).image("table gpt $root,attrs=\\\"GUID:63\\\"@root.ext4"),
    Case::inside("the first root is not to be mounted", &[IMAGE], WHICH).image("table gpt $root,attrs=\\\"GUID:63\\\"@root.ext4 $root@second.ext4").prints("second\n"),
    Case::inside("a file system that grows", &[IMAGE], "test $(df -k / | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2) -gt 110000 && echo grown || echo not").image("table gpt $root,attrs=\\\"GUID:59\\\"@small.ext4"),
    Case::inside("a file system that does not grow", &[IMAGE], "test $(df -k / | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2) -gt 110000 && echo grown || echo not").image("table gpt $root@small.ext4"),
    Case::inside("a machine by its name", &["-M", "{name}"], ROOT).image("bare root.ext4; mount -t tmpfs tmpfs /var/lib; mkdir /var/lib/machines; ln -s $PWD/{name}.raw /var/lib/machines/").after("umount /var/lib"),
    Case::inside("a machine whose file is marked read-only", &["-M", "{name}"], "echo new 2>/dev/null >/new && cat /new || echo no").image("bare root.ext4; cp {name}.raw before; chmod 444 {name}.raw; mount -t tmpfs tmpfs /var/lib; mkdir /var/lib/machines; ln -s $PWD/{name}.raw /var/lib/machines/").after("umount /var/lib; cmp {name}.raw before && echo same").prints("no\n"),
    Case::inside("a copy of a machine whose file is marked read-only", &["-M", "{name}", "-x"], "echo new 2>/dev/null >/new && cat /new || echo no").image("bare root.ext4; cp {name}.raw before; chmod 444 {name}.raw; mount -t tmpfs tmpfs /var/lib; mkdir /var/lib/machines; ln -s $PWD/{name}.raw /var/lib/machines/").after("umount /var/lib; cmp {name}.raw before && echo same").prints("new\n"),
    Case::inside("a marked file by its path", &[IMAGE], ROOT).image("bare root.ext4; chmod 444 {name}.raw"),
    // Several.
    Case::inside("two roots", &[IMAGE], WHICH).image("table gpt $root@root.ext4 $root@second.ext4"),
    Case::inside("two roots, the other way round", &[IMAGE], WHICH).image("table gpt $root@second.ext4 $root@root.ext4"),
    Case::inside("two roots of versions", &[IMAGE], WHICH).image("table gpt $root,name=os_1@root.ext4 $root,name=os_2@second.ext4").prints("second\n"),
    Case::inside("two roots, the newer one first", &[IMAGE], WHICH).image("table gpt $root,name=os_10@second.ext4 $root,name=os_9@root.ext4").prints("second\n"),
    Case::inside("two roots, one is empty", &[IMAGE], WHICH).image("table gpt $root,name=_empty@root.ext4 $root,name=os_9@second.ext4").prints("second\n"),
    Case::inside("two roots, versions of letters", &[IMAGE], WHICH).image("table gpt $root,name=os_1.0~rc1@root.ext4 $root,name=os_1.0@second.ext4"),
    Case::inside("two homes", &[IMAGE], PARTS).image("table gpt $root@root.ext4 $home@home.ext4 $home@other.ext4"),
    Case::inside("a root for the processor's other mode", &[IMAGE], WHICH).image("table gpt $root32@second.ext4").prints("second\n"),
    Case::inside("roots for both modes", &[IMAGE], WHICH).image("table gpt $root32@root.ext4 $root@second.ext4").prints("second\n"),
    Case::inside("roots for several processors", &[IMAGE], WHICH).image("table gpt $arm@root.ext4 $root@second.ext4").prints("second\n"),
    Case::inside("a root for another processor", &[IMAGE], WHICH).image("table gpt $arm@second.ext4"),
    Case::refused("a root for another processor, and /usr for this one", &[IMAGE]).image("table gpt $arm@root.ext4 $usr@usr.ext4").differs_until(257, MIXED),
    Case::refused("a root for another mode, and /usr for this one", &[IMAGE]).image("table gpt $root32@root.ext4 $usr@usr.ext4").differs_until(257, MIXED),
    Case::refused("a root for this processor, and /usr for another mode", &[IMAGE]).image("table gpt $usr32@usr.ext4 $root@root.ext4").differs_until(257, MIXED),
    Case::inside("a root for another processor beside one without a purpose", &[IMAGE], WHICH).image("table gpt $linux@root.ext4 $arm@second.ext4"),
    Case::inside("one partition without a purpose", &[IMAGE], WHICH).image("table gpt $linux@second.ext4").prints("second\n"),
    Case::inside("one partition without a purpose, read-only", &[IMAGE], ROOT).image("table gpt $linux,attrs=\\\"GUID:60\\\"@root.ext4"),
    Case::inside("one partition without a purpose beside others", &[IMAGE], PARTS).image("table gpt $swap@nothing $linux@root.ext4 $home@home.ext4"),
    Case::inside("one partition without a purpose beside a root", &[IMAGE], WHICH).image("table gpt $linux@root.ext4 $root@second.ext4").prints("second\n"),
    Case::refused("two partitions without a purpose", &[IMAGE]).image("table gpt $linux@root.ext4 $linux@second.ext4"),
    Case::refused("no root", &[IMAGE]).image("table gpt $home@home.ext4 $srv@srv.ext4"),
    Case::refused("an empty table", &[IMAGE]).image("truncate -s 8M {name}.raw; echo 'label: gpt' | sfdisk -q {name}.raw"),
    // Damaged.
    Case::refused("an empty file", &[IMAGE]).image("touch {name}.raw"),
    Case::refused("nothing that is known", &[IMAGE]).image("bare nothing"),
    Case::refused("a short file", &[IMAGE]).image("echo hello > {name}.raw"),
    Case::refused("ext4 that is cut off", &[IMAGE]).image("bare root.ext4; truncate -s 20M {name}.raw"),
    Case::refused("squashfs that is cut off", &[IMAGE]).image("bare root.squashfs; truncate -s 1M {name}.raw"),
    Case::refused("a table that is cut off", &[IMAGE]).image("table gpt $root@root.ext4; truncate -s 20M {name}.raw"),
    Case::inside("a table whose first copy is damaged", &[IMAGE], WHICH).image("table gpt $root@second.ext4; dd if=/dev/zero of={name}.raw bs=512 seek=1 count=1 conv=notrunc status=none").prints("second\n"),
    Case::inside("a table whose second copy is gone", &[IMAGE], WHICH).image("table gpt $root@second.ext4; truncate -s -1M {name}.raw; truncate -s +1M {name}.raw").prints("second\n"),
    Case::refused("a table with both copies damaged", &[IMAGE]).image("table gpt $root@second.ext4; truncate -s -1M {name}.raw; truncate -s +1M {name}.raw; dd if=/dev/zero of={name}.raw bs=512 seek=1 count=1 conv=notrunc status=none"),
    Case::refused("a root without a file system", &[IMAGE]).image("table gpt $root@nothing"),
    // Other things than images.
    Case::refused("a directory", &["-i", "{host}/dir.raw"]).before("mkdir dir.raw"),
    Case::refused("a fifo", &["-i", "{host}/fifo.raw"]).before("mkfifo fifo.raw"),
    Case::refused("a device of another kind", &["-i", "/dev/null"]),
    Case::refused("a socket", &["-i", "/run/systemd/journal/dev-log"]).on_systemd(),
    Case::refused("an empty path", &["--image="]),
    Case::refused("an image and a directory", &[IMAGE, "-D", "{tree}"]).image("bare root.ext4"),
    Case::refused("an image and a template", &[IMAGE, "--template={tree}"]).image("bare root.ext4"),
    Case::inside("a block device", &["-i", "{host}/disk", "-M", "{name}"], ROOT).image("bare root.ext4; ln -s $(losetup -f --show {name}.raw) disk").after("losetup -d $(readlink disk)"),
    Case::inside("a block device that is read-only", &["-i", "{host}/disk", "-M", "{name}"], ROOT).image("bare root.ext4; ln -s $(losetup -r -f --show {name}.raw) disk").after("losetup -d $(readlink disk)").prints("ext4 ro,nodev,relatime\nno\n").differs("it mounts it as one that can be written to, which fails"),
    Case::inside("a block device with a table", &["-i", "{host}/disk", "-M", "{name}"], PARTS).image("table gpt $root@root.ext4 $home@home.ext4; ln -s $(losetup -P -f --show {name}.raw) disk").after("losetup -d $(readlink disk)"),
    // Encrypted and protected ones.
    Case::refused("luks", &[IMAGE]).image("bare luks").differs(PASSPHRASE),
    Case::refused("a root with luks", &[IMAGE]).image("table gpt $root@luks").since(NEVER),
    Case::refused("a home with luks", &[IMAGE]).image("table gpt $root@root.ext4 $home@luks").since(NEVER),
    Case::refused("a root hash, and nothing that has it", &[IMAGE, "--root-hash=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]).image("bare root.ext4").differs(PROTECTED),
    Case::refused("a root hash, and no such partition", &[IMAGE, "--root-hash=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]).image("table gpt $root@root.ext4"),
    Case::refused("a root hash that is none", &[IMAGE, "--root-hash=xyz"]).image("bare root.ext4"),
    Case::refused("a root hash that is too short", &[IMAGE, "--root-hash=0123"]).image("bare root.ext4"),
    Case::refused("an empty root hash", &[IMAGE, "--root-hash="]).image("bare root.ext4"),
    Case::inside("a root hash in a file", &[IMAGE], WHICH).image("bare root.ext4; echo 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef > {name}.roothash"),
    Case::refused("a root hash and its data in files", &[IMAGE]).image("bare root.ext4; echo 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef > {name}.roothash; cp {images}/nothing {name}.verity"),
    Case::inside("data in a file, and no root hash", &[IMAGE], WHICH).image("bare root.ext4; cp {images}/nothing {name}.verity"),
    Case::refused("verity data that is not there", &[IMAGE, "--verity-data={host}/none"]).image("bare root.ext4").differs(PROTECTED),
    Case::refused("a signature without a hash", &[IMAGE, "--root-hash-sig={host}/none"]).image("bare root.ext4"),
    Case::refused("hashes that nobody asks for", &[IMAGE]).image("table gpt $root@second.ext4 $verity@nothing").differs_until(257, PROTECTED),
];
