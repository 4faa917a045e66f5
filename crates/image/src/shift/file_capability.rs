//! The value of `security.capability`, see capabilities(7), "File capability extended attribute versioning".

const REVISION: u32 = 0xff00_0000;
const SECOND: u32 = 0x0200_0000;
const THIRD: u32 = 0x0300_0000;
/// The lengths of the revisions: a word with the revision, two sets of two words each, and in the third the root.
const SECOND_LENGTH: usize = 20;
const THIRD_LENGTH: usize = 24;

/// The same capabilities for another root: the user whose namespaces they count in. `map` is given the old one. `None`
/// if the value is of no known revision.
pub(super) fn for_root(value: &[u8], map: impl Fn(u32) -> u32) -> Option<Vec<u8>> {
    let word =
        |at: usize| value.get(at..at + 4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let first = word(0)?;
    let old = match (first & REVISION, value.len()) {
        (SECOND, SECOND_LENGTH) => 0,
        (THIRD, THIRD_LENGTH) => word(SECOND_LENGTH)?,
        _ => return None,
    };
    let (new, sets) = (map(old), value.get(4..SECOND_LENGTH)?);
    let revision = if new == 0 { SECOND } else { THIRD };
    let mut result = Vec::with_capacity(THIRD_LENGTH);
    result.extend_from_slice(&(first & !REVISION | revision).to_le_bytes());
    result.extend_from_slice(sets);
    if new != 0 {
        result.extend_from_slice(&new.to_le_bytes());
    }
    Some(result)
}

/// Whether the kernel takes such a value.
pub(super) fn is_known(value: &[u8]) -> bool {
    for_root(value, |root| root).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(flags: u32) -> Vec<u8> {
        [&(SECOND | flags).to_le_bytes()[..], &[1, 0, 0, 0], &[0; 4], &[2, 0, 0, 0], &[0; 4]].concat()
    }

    #[test]
    fn the_root_is_told_where_it_is_not_the_hosts() {
        let third = for_root(&second(1), |old| old + 655_360).unwrap();
        assert_eq!(third.len(), 24);
        assert_eq!(third[..4], (THIRD | 1).to_le_bytes());
        assert_eq!(third[4..20], second(1)[4..]);
        assert_eq!(third[20..], 655_360u32.to_le_bytes());
        assert_eq!(for_root(&third, |old| old - 655_360), Some(second(1)));
        assert_eq!(for_root(&third, |old| old), Some(third.clone()));
    }

    #[test]
    fn unknown_revisions_are_left_alone() {
        for value in [&b""[..], b"\0\0\0\x01\0\0\0\0\0\0\0\0", &second(0)[..19], &[second(0), vec![0; 4]].concat()] {
            assert_eq!(for_root(value, |_| 5), None);
        }
    }
}
