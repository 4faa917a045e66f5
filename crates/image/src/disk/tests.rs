//! Images as they are meant to be, and all that can be wrong with one.

use super::layout::{Error, Layout, dissect};
use super::role::Role;

fn seed(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/gpt").join(name);
    std::fs::read(path).expect("a seed")
}

fn of(image: &[u8]) -> Result<Layout, Error> {
    dissect(image, &["x86-64", "x86"])
}

/// Numbers, roles and places of what is used.
fn parts(layout: &Layout) -> Vec<(Option<u32>, Role, u64, u64)> {
    layout.parts.iter().map(|part| (part.number, part.role, part.offset, part.size)).collect()
}

fn refusal(image: &[u8]) -> String {
    of(image).map(|layout| panic!("{layout:?}")).unwrap_or_else(|error| error.to_string())
}

/// Changes an entry of the first table and mends the checksums.
fn with_entry(name: &str, slot: usize, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    with_entries(name, |entries| change(&mut entries[128 * slot..128 * (slot + 1)]))
}

fn with_entries(name: &str, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut image = seed(name);
    change(&mut image[1024..1536]);
    let entries = super::gpt::crc32(&image[1024..1536]);
    image[512 + 88..512 + 92].copy_from_slice(&entries.to_le_bytes());
    image[512 + 16..512 + 20].fill(0);
    let header = super::gpt::crc32(&image[512..604]);
    image[512 + 16..512 + 20].copy_from_slice(&header.to_le_bytes());
    image
}

#[test]
fn partitions_are_used_as_they_are_marked() {
    let layout = of(&seed("root-and-home")).map_err(|error| error.to_string());
    // The ESP of the seed holds squashfs, which is as good as anything.
    let layout = layout.expect("a layout");
    let expected =
        [(Some(1), Role::Root, 2048, 2048), (Some(2), Role::Home, 4096, 2048), (Some(3), Role::Esp, 6144, 1024)];
    assert_eq!(parts(&layout), expected);
    assert!(layout.parts[1].grow && !layout.parts[0].grow && layout.notices.is_empty());
}

#[test]
fn the_backup_is_used_where_the_first_table_is_damaged_and_flags_count() {
    let layout = of(&seed("backup")).expect("a layout");
    assert_eq!(parts(&layout), [(Some(1), Role::Root, 2048, 2048)]);
    assert!(layout.parts[0].read_only && !layout.parts[0].can_be_written());
    assert_eq!(layout.notices.len(), 1);
    let mut both = seed("backup");
    let end = both.len();
    both[end - 512 + 20] ^= 1;
    assert!(refusal(&both).contains("the checksum of its header is wrong"), "{}", refusal(&both));
}

#[test]
fn no_auto_hides_a_partition_and_the_newest_version_wins() {
    let hidden = with_entry("root-and-home", 1, |entry| entry[55] |= 0x80);
    assert_eq!(parts(&of(&hidden).expect("a layout")).len(), 2);
    // Both are called a_1 and a_2; without the hashes the second one is the root.
    let newest = with_entry("verity", 2, |entry| entry.fill(0));
    assert_eq!(parts(&of(&newest).expect("a layout")), [(Some(2), Role::Root, 4096, 2048)]);
    let ten = with_entry("verity", 2, |entry| entry.fill(0));
    assert_eq!(of(&ten).expect("a layout").parts[0].number, Some(2));
}

#[test]
fn usr_alone_needs_no_root_and_hides_partitions_of_no_kind() {
    const USR: [u8; 16] =
        [0x0c, 0x68, 0x84, 0x84, 0x21, 0x95, 0xc6, 0x48, 0x9c, 0x11, 0xb0, 0x72, 0x06, 0x56, 0xf6, 0x9e];
    const GENERIC: [u8; 16] =
        [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4];
    let usr = with_entry("root-and-home", 0, |entry| entry[..16].copy_from_slice(&USR));
    let roles =
        |image: &[u8]| -> Vec<Role> { parts(&of(image).expect("a layout")).iter().map(|part| part.1).collect() };
    assert_eq!(roles(&usr), [Role::Usr, Role::Home, Role::Esp]);
    let both = with_entries("root-and-home", |entries| {
        entries[..16].copy_from_slice(&USR);
        entries[128..144].copy_from_slice(&GENERIC);
    });
    assert_eq!(roles(&both), [Role::Usr, Role::Esp]);
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    assert!(refusal(&seed("verity")).contains("partition 3 (root verity)"));
    assert!(refusal(&[]).contains("is empty"));
    assert!(refusal(&[7; 4096]).contains("neither a file system nor a partition table"));
    let beyond = with_entry("root-and-home", 1, |entry| entry[40..48].copy_from_slice(&1000u64.to_le_bytes()));
    assert!(refusal(&beyond).contains("is cut off: partition 2 (home) ends at"), "{}", refusal(&beyond));
    let upside_down = with_entry("root-and-home", 1, |entry| entry[40..48].copy_from_slice(&1u64.to_le_bytes()));
    assert!(refusal(&upside_down).contains("partition 2 (home) begins behind its end"));
    let overlap = with_entry("root-and-home", 1, |entry| entry[32..40].copy_from_slice(&7u64.to_le_bytes()));
    assert!(refusal(&overlap).contains("holds nothing") || refusal(&overlap).contains("overlap"));
    let mut luks = seed("root-and-home");
    luks[2048..2054].copy_from_slice(b"LUKS\xba\xbe");
    assert!(refusal(&luks).contains("partition 1 (root) is an encrypted LUKS volume"));
    let mut blank = seed("root-and-home");
    blank[4096..4100].fill(0);
    assert!(refusal(&blank).contains("partition 2 (home) holds nothing"));
    let mut short = seed("root-and-home");
    short[2048 + 40..2048 + 48].copy_from_slice(&5000u64.to_le_bytes());
    assert!(refusal(&short).contains("the squashfs of partition 1 (root) says that it has 5000 bytes"));
}

#[test]
fn a_root_for_another_processor_is_used_where_there_is_no_other() {
    const ARM64: [u8; 16] =
        [0x45, 0xb0, 0x21, 0xb9, 0xf0, 0x1d, 0xc3, 0x41, 0xaf, 0x44, 0x4c, 0x6f, 0x28, 0x0d, 0x3f, 0xae];
    const USR: [u8; 16] =
        [0x0c, 0x68, 0x84, 0x84, 0x21, 0x95, 0xc6, 0x48, 0x9c, 0x11, 0xb0, 0x72, 0x06, 0x56, 0xf6, 0x9e];
    let foreign = with_entry("root-and-home", 0, |entry| entry[..16].copy_from_slice(&ARM64));
    assert_eq!(parts(&of(&foreign).expect("a layout"))[0].1, Role::Root);
    // Its programs and those of a strange /usr do not fit together.
    let mixed = with_entries("root-and-home", |entries| {
        entries[..16].copy_from_slice(&ARM64);
        entries[128..144].copy_from_slice(&USR);
    });
    assert!(refusal(&mixed).contains("for another processor than partition 1 (root)"), "{}", refusal(&mixed));
}

#[test]
fn an_old_table_needs_exactly_one_bootable_partition() {
    assert_eq!(parts(&of(&seed("mbr")).expect("a layout")), [(Some(1), Role::Root, 1024, 1024)]);
    let mut none = seed("mbr");
    none[446] = 0;
    assert!(
        refusal(&none).contains("none of the partitions 1, 5 is of the type 83 and bootable"),
        "{}",
        refusal(&none)
    );
    let mut two = seed("mbr");
    two.copy_within(446..462, 478);
    assert!(refusal(&two).contains("several partitions that may be the root (1, 3)"), "{}", refusal(&two));
}

#[test]
fn a_file_system_may_fill_the_image_but_not_stand_beside_a_table() {
    let layout = of(&seed("ext4")).expect("a layout");
    assert_eq!(parts(&layout), [(None, Role::Root, 0, 2048)]);
    let mut larger = seed("ext4");
    larger[1028] = 200;
    assert!(refusal(&larger).contains("is cut off: the ext4 of the image says that it has 204800 bytes"));
    let ambiguous = with_entry("root-and-home", 0, |entry| entry[56..58].copy_from_slice(&[0x53, 0xef]));
    assert!(refusal(&ambiguous).contains("both a file system (ext4) and a partition table"));
}
