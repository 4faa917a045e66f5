//! File systems that disk images are put together from, made once for a group.

use std::path::Path;
use std::process::Command;

use testkit::disk::run;
use testkit::fixture;

use super::bench::Bench;

/// Makes `root.TYPE` of the tree `$1` in the current directory, and `NAME.ext4` of a few MiB with a file each.
const MAKE: &str = r#"
size() { rm -f "$1"; truncate -s "$2" "$1"; }
size root.ext4 128M; mkfs.ext4 -q -d "$1" root.ext4
size small.ext4 128M; mkfs.ext4 -q -d "$1" small.ext4 96M
for kind in ext2 ext3; do size root.$kind 128M; mkfs.$kind -q -d "$1" root.$kind; done
size root.btrfs 256M; mkfs.btrfs -q --mixed --rootdir "$1" root.btrfs
mksquashfs "$1" root.squashfs -quiet -noappend -no-progress >/dev/null
mkfs.erofs --quiet root.erofs "$1" >/dev/null
size root.xfs 320M; mkfs.xfs -q root.xfs
mkdir mounted; mount -o loop root.xfs mounted; cp -a "$1"/. mounted/; umount mounted; rmdir mounted
for name in home srv var tmp usr boot esp other; do
    mkdir part; echo "$name" > part/mark; chown 1000:1000 part/mark; chmod 640 part/mark
    size $name.ext4 8M; mkfs.ext4 -q -d part $name.ext4; rm -r part
done
# A root that says which it is.
mkdir second; cp -a "$1"/. second/; echo second > second/which; size second.ext4 128M; mkfs.ext4 -q -d second second.ext4
# /usr for itself, and a root without.
size usr.ext4 128M; mkfs.ext4 -q -d second/usr usr.ext4
rmdir second/srv; size nosrv.ext4 128M; mkfs.ext4 -q -d second nosrv.ext4
rm -r second/usr/*; size bare.ext4 16M; mkfs.ext4 -q -d second bare.ext4; rm -r second
size fat 8M; mkfs.vfat fat >/dev/null
size luks 8M; printf 'LUKS\272\276\0\001aes' | dd of=luks conv=notrunc status=none
size nothing 8M
"#;

/// Words for the scripts of cases: types of partitions, and `table LABEL TYPE[,MORE]@FILE...`, which puts a disk image
/// `{name}.raw` together; `bare FILE` is one without a table.
pub(crate) const WORDS: &str = r#"
root=4f68bce3-e8cd-4db1-96e7-fbcaf984b709 usr=8484680c-9521-48c6-9c11-b0720656f69e
usr32=75250d76-8cc6-458e-bd66-bd47cc81a812
root32=44479540-f297-41b2-9af7-d131d5f0458a arm=b921b045-1df0-41c3-af44-4c6f280d3fae
home=933ac7e1-2eb4-4f13-b844-0e14e2aef915 srv=3b8f8425-20e0-4f3b-907f-1a25a76f98e8
var=4d21b016-b534-45c2-a9fb-5c16e091fd2d tmp=7ec6f557-3bc5-4aca-b293-16ef5df639d1
esp=c12a7328-f81f-11d2-ba4b-00a0c93ec93b boot=bc13c2ff-59e6-4262-a352-b275fd6f7172
linux=0fc63daf-8483-4772-8e79-3d69d8477de4 swap=0657fd6d-a4ab-43c4-84e5-0933c84b4f4f
verity=2c7357ed-ebd2-46d9-aec1-23d437ec2bf5
bare() { cp --sparse=always {images}/"$1" {name}.raw; }
table() {
    label=$1 total=1 script="label: $1"; shift
    for part; do
        bytes=$(stat -c %s {images}/"${part##*@}") mib=$(( (bytes + 1048575) / 1048576 )) total=$((total + mib))
        script="$script
size=${mib}M, type=${part%@*}"
    done
    truncate -s $((total + 1))M {name}.raw
    echo "$script" | sfdisk -q --no-reread --no-tell-kernel {name}.raw
    at=1
    for part; do
        bytes=$(stat -c %s {images}/"${part##*@}")
        dd if={images}/"${part##*@}" of={name}.raw bs=1M seek=$at conv=notrunc,sparse status=none
        at=$((at + (bytes + 1048575) / 1048576))
    done
}
"#;

/// The directory with them, which goes away with the value.
pub(crate) struct Images(tempfile::TempDir);

impl Images {
    /// Makes all.
    pub(crate) fn make() -> Self {
        let directory = tempfile::tempdir_in(fixture::place()).expect("a directory");
        let tree = fixture::tree();
        for place in ["efi", "boot", "srv", "var/lib"] {
            std::fs::create_dir_all(tree.join(place)).expect("directory");
        }
        run(Command::new("sh").args(["-euc", MAKE, "sh"]).arg(tree.path()).current_dir(directory.path()));
        Self(directory)
    }

    /// Where they are.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The loop devices of files in these places, which nobody has given back.
    pub(crate) fn loop_devices(&self, benches: &[&Bench]) -> Vec<String> {
        let all = run(Command::new("losetup").args(["--list", "--noheadings", "--output", "NAME,BACK-FILE"]));
        let places: Vec<_> = benches.iter().map(|bench| bench.place()).chain([self.path()]).collect();
        let ours = |line: &&str| places.iter().any(|place| line.contains(&*place.to_string_lossy()));
        all.lines().filter(ours).map(str::to_owned).collect()
    }
}
