//! Access lists as the kernel keeps them in extended attributes, see acl(5).

/// Changes the ids in an access list: behind a head of 4 bytes, entries of 8 with a kind, permissions and an id each
/// (`struct posix_acl_xattr_entry`). Tells whether any became another one.
pub fn map_ids(list: &mut [u8], map: impl Fn(u32) -> u32) -> bool {
    const OF_USER: u16 = 0x02;
    const OF_GROUP: u16 = 0x08;
    let mut changed = false;
    for entry in list.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        if matches!(u16::from_le_bytes([entry[0], entry[1]]), OF_USER | OF_GROUP) {
            let old = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            let new = map(old);
            entry[4..].copy_from_slice(&new.to_le_bytes());
            changed |= new != old;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_users_and_groups_alone_have_ids() {
        let entry = |kind: u16, id: u32| [&kind.to_le_bytes()[..], &7u16.to_le_bytes(), &id.to_le_bytes()].concat();
        let none = u32::MAX;
        let mut list = [
            2u32.to_le_bytes().to_vec(),
            entry(0x01, none),
            entry(0x02, 5),
            entry(0x04, none),
            entry(0x08, 70_000),
            entry(0x10, none),
            entry(0x20, none),
        ]
        .concat();
        let expected = [
            2u32.to_le_bytes().to_vec(),
            entry(0x01, none),
            entry(0x02, 6),
            entry(0x04, none),
            entry(0x08, 70_001),
            entry(0x10, none),
            entry(0x20, none),
        ]
        .concat();
        assert!(map_ids(&mut list, |id| id + 1));
        assert_eq!(list, expected);
        assert!(!map_ids(&mut list, |id| id));
    }

    #[test]
    fn what_is_no_list_is_left_alone() {
        for bytes in [&b""[..], b"abc", b"\x02\0\0\0\x02\0\x07\0\x05\0\0"] {
            let mut list = bytes.to_vec();
            assert!(!map_ids(&mut list, |id| id + 1));
            assert_eq!(list, bytes);
        }
    }
}
