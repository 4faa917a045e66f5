//! What is typed where several of a list can be chosen, as pacman(8) takes it: `1 3-5`, `^2`.

/// Why a text chooses nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("invalid number: {0}")]
    NoNumber(String),
    #[error("invalid value: {0} is not between 1 and {1}")]
    Outside(usize, usize),
}

/// Which of `count` things a text chooses, by their places from 0. An empty text chooses all. Numbers and ranges are
/// parted by spaces or commas; after `^` they are taken away, of all if nothing was chosen before.
///
/// # Errors
/// What is no number of the list.
pub(crate) fn several(text: &str, count: usize) -> Result<Vec<usize>, Error> {
    let mut words = text.split([' ', '\t', ',']).filter(|word| !word.is_empty()).peekable();
    let from_all = words.peek().is_none_or(|first| first.starts_with('^'));
    let mut chosen = vec![from_all; count];
    for word in words {
        let (take, range) = match word.strip_prefix('^') {
            Some(range) => (false, range),
            None => (true, word),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (one(first, 1, count)?, one(last, 1, count)?),
            None => (one(range, 1, count)?, one(range, 1, count)?),
        };
        if last < first {
            return Err(Error::Outside(last + 1, count));
        }
        chosen[first..=last].fill(take);
    }
    Ok(chosen.iter().enumerate().filter(|(_, chosen)| **chosen).map(|(place, _)| place).collect())
}

/// Which one of `count` things a text chooses, from 0; without a text it is the `default`, from 1.
///
/// # Errors
/// What is no number of the list.
pub(crate) fn one(text: &str, default: usize, count: usize) -> Result<usize, Error> {
    let text = text.trim();
    let number = if text.is_empty() {
        default
    } else {
        text.parse().map_err(|_| Error::NoNumber(text.chars().take(40).collect()))?
    };
    if (1..=count).contains(&number) { Ok(number - 1) } else { Err(Error::Outside(number, count)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ranges_and_exceptions_choose() {
        for (text, chosen) in [
            ("", vec![0, 1, 2, 3, 4]),
            ("1", vec![0]),
            ("2-4", vec![1, 2, 3]),
            ("1,3 5", vec![0, 2, 4]),
            ("^2", vec![0, 2, 3, 4]),
            ("^1-3", vec![3, 4]),
            ("1-4 ^2-3", vec![0, 3]),
            ("^1-5", vec![]),
        ] {
            assert_eq!(several(text, 5), Ok(chosen), "{text}");
        }
    }

    #[test]
    fn what_is_not_in_the_list_is_refused() {
        assert_eq!(several("6", 5), Err(Error::Outside(6, 5)));
        assert_eq!(several("0", 5), Err(Error::Outside(0, 5)));
        assert_eq!(several("4-2", 5), Err(Error::Outside(2, 5)));
        assert_eq!(several("x", 5), Err(Error::NoNumber("x".to_owned())));
        assert_eq!(several("1 99999999999999999999999", 5), Err(Error::NoNumber("99999999999999999999999".to_owned())));
        assert_eq!(one("", 1, 2), Ok(0));
        assert_eq!(one(" 2\n", 1, 2), Ok(1));
        assert_eq!(one("3", 1, 2), Err(Error::Outside(3, 2)));
    }
}
