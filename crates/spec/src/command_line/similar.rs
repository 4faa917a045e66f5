//! Which word was meant.

/// The known word that needs the fewest changes to become this one, if they are few: one for every three letters.
pub(super) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = word.chars().count() / 3;
    let distances = known.map(|candidate| (distance(word, candidate), candidate));
    distances.filter(|(changes, _)| *changes <= most.min(3)).min_by_key(|(changes, _)| *changes).map(|(_, word)| word)
}

/// How many letters have to be added, taken away, replaced or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut now = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let mut best = (last[column] + usize::from(a != b)).min(last[column + 1] + 1).min(now[column] + 1);
            if row > 0 && column > 0 && *a == right[column - 1] && left[row - 1] == *b {
                best = best.min(before[column - 1] + 1);
            }
            now.push(best);
        }
        before = std::mem::replace(&mut last, now);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (left, right, expected) in [("", "", 0), ("a", "", 1), ("ab", "ba", 1), ("direcotry", "directory", 1)] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn only_what_is_close_is_proposed() {
        let known = ["directory", "boot", "bind"];
        assert_eq!(closest("direktory", known.into_iter()), Some("directory"));
        assert_eq!(closest("bnid", known.into_iter()), Some("bind"));
        assert_eq!(closest("xx", known.into_iter()), None);
        assert_eq!(closest("elephants", known.into_iter()), None);
    }
}
