//! Tables of which test shows a member of an interface at work and which shows it failing, held against the tests as they are written.

/// The text of tests.
pub(crate) struct Sources(pub(crate) &'static [&'static str]);

impl Sources {
    /// A function with what stands before it, and how often it is named elsewhere.
    fn function(&self, name: &str) -> Option<(&'static str, usize)> {
        let head = format!("fn {name}(");
        let source = self.0.iter().find(|source| source.contains(&head))?;
        let at = source.find(&head)?;
        let begin = source[..at].rfind("\n\n").unwrap_or(0);
        let end = source[at..].find("\n}\n").map_or(source.len(), |end| at + end);
        let calls = self.0.iter().map(|source| source.matches(&format!("{name}(")).count()).sum::<usize>();
        Some((&source[begin..end], calls - 1))
    }

    /// What a test does, with the functions beside it that it calls.
    fn whole(&self, name: &str) -> Option<String> {
        let (own, _) = self.function(name)?;
        let mut whole = own.to_owned();
        for word in own.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
            if word != name && own.contains(&format!("{word}(")) && !word.is_empty() {
                whole.push_str(self.function(word).map_or("", |(text, _)| text));
            }
        }
        Some(whole)
    }

    /// That this is a test, or called by one, and about one of these words.
    #[track_caller]
    pub(crate) fn assert_about(&self, test: &str, words: &[String]) {
        let (text, calls) = self.function(test).unwrap_or_else(|| panic!("there is no test {test}, for {words:?}"));
        assert!(text.contains("#[test]") || calls > 0, "{test} is never run");
        let whole = self.whole(test).unwrap_or_default();
        assert!(words.iter().any(|word| is_in(word, &whole)), "{test} says nothing of {words:?}");
    }
}

/// As a whole word.
fn is_in(word: &str, text: &str) -> bool {
    let apart = |letter: Option<char>| letter.is_none_or(|letter| !letter.is_ascii_alphanumeric());
    text.match_indices(word)
        .any(|(at, _)| apart(text[..at].chars().next_back()) && apart(text[at + word.len()..].chars().next()))
}

/// That the table has a row for each member, in any order, and none for what there is not.
#[track_caller]
pub(crate) fn assert_complete(members: &[String], rows: &[String]) {
    let missing: Vec<&String> = members.iter().filter(|member| !rows.contains(member)).collect();
    let strange: Vec<&String> = rows.iter().filter(|row| !members.contains(row)).collect();
    assert!(missing.is_empty() && strange.is_empty(), "without a row: {missing:?}; of nothing: {strange:?}");
    let twice = rows.iter().enumerate().find(|(at, row)| rows[..*at].contains(row));
    assert!(twice.is_none(), "{twice:?} has two rows");
}
