//! Which of two versions is newer, by the
//! [Version Format Specification](https://uapi-group.org/specifications/specs/version_format_specification/).

use std::cmp::Ordering;

/// Compares two names with versions in them: `1.0~rc1` is older than `1.0`, that than `1.0-1`, and numbers count by value.
pub(crate) fn compare(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        (one, other) = (without_separators(one), without_separators(other));
        match mark(one, other, b'~') {
            Mark::Both => {
                (one, other) = (&one[1..], &other[1..]);
                continue;
            }
            Mark::Differs(order) => return order,
            Mark::Neither => {}
        }
        if one.is_empty() || other.is_empty() {
            return one.len().cmp(&other.len());
        }
        let marks = [b'-', b'^', b'.'].map(|character| mark(one, other, character));
        match marks.into_iter().find(|mark| *mark != Mark::Neither) {
            Some(Mark::Differs(order)) => return order,
            Some(_) => {
                (one, other) = (&one[1..], &other[1..]);
                continue;
            }
            None => {}
        }
        let numbers = one[0].is_ascii_digit() || other[0].is_ascii_digit();
        let end = |text: &[u8]| {
            let inside = |byte: &u8| if numbers { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() };
            text.iter().position(|byte| !inside(byte)).unwrap_or(text.len())
        };
        let ((first, rest), (second, other_rest)) = (one.split_at(end(one)), other.split_at(end(other)));
        let order = if numbers { by_value(first, second) } else { first.cmp(second) };
        if order != Ordering::Equal {
            return order;
        }
        (one, other) = (rest, other_rest);
    }
}

/// Who of the two begins with a character that makes older.
#[derive(PartialEq, Eq)]
enum Mark {
    Neither,
    Both,
    Differs(Ordering),
}

fn mark(one: &[u8], other: &[u8], character: u8) -> Mark {
    match (one.first() == Some(&character), other.first() == Some(&character)) {
        (true, true) => Mark::Both,
        (true, false) => Mark::Differs(Ordering::Less),
        (false, true) => Mark::Differs(Ordering::Greater),
        (false, false) => Mark::Neither,
    }
}

/// What is neither letter, digit nor mark separates, and is not compared.
fn without_separators(text: &[u8]) -> &[u8] {
    let counts = |byte: &u8| byte.is_ascii_alphanumeric() || b"~-^.".contains(byte);
    &text[text.iter().position(counts).unwrap_or(text.len())..]
}

/// By value, however long; none is less than any.
fn by_value(one: &[u8], other: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
    let (first, second) = (&one[significant(one)..], &other[significant(other)..]);
    let present = (!one.is_empty()).cmp(&!other.is_empty());
    present.then(first.len().cmp(&second.len())).then(first.cmp(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_specification() {
        // Each is newer than the one before.
        let rising = [
            "~1",
            "",
            "a",
            "ab",
            "abb",
            "abc",
            "0001",
            "002",
            "12",
            "122",
            "122.9",
            "123~rc1",
            "123",
            "123-a",
            "123-a.1",
            "123-a1",
            "123-a1-1",
            "123-3",
            "123-3.1",
            "123^patch1",
            "123^1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124",
        ];
        for (index, one) in rising.iter().enumerate() {
            for (later, other) in rising.iter().enumerate() {
                assert_eq!(compare(one, other), index.cmp(&later), "{one:?} {other:?}");
            }
        }
        for (one, other) in [("os_1", "os1"), ("01", "1"), ("1_", "1"), ("ä1", "1")] {
            assert_eq!(compare(one, other), Ordering::Equal, "{one:?} {other:?}");
        }
        let huge = "9".repeat(40);
        assert_eq!(compare(&format!("os_{huge}"), &format!("os_1{huge}")), Ordering::Less);
    }
}
