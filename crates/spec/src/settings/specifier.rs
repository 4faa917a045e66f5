//! Percent signs in values, as units have them (systemd.unit(5), "Specifiers").

/// Why a percent sign and the letter behind it stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The letter means nothing.
    Meaningless,
    /// It says something of the host, and the file is not trusted.
    Untrusted,
}

/// Puts in what each letter behind a percent sign stands for; two percent signs are one. What stands for nothing stays as
/// it is, because files that were written without a thought of specifiers have it, in dates for example: `kept` is told
/// of it.
pub(super) fn expand(text: &str, value: impl Fn(char) -> Result<String, Kept>, mut kept: impl FnMut(String)) -> String {
    let mut expanded = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            expanded.push(letter);
            continue;
        }
        match letters.next() {
            Some('%') => expanded.push('%'),
            Some(letter) => match value(letter) {
                Ok(value) => expanded.push_str(&value),
                Err(why) => {
                    let why = match why {
                        Kept::Meaningless => "means nothing",
                        Kept::Untrusted => "is for trusted files only",
                    };
                    kept(format!("%{} {why}", letter.escape_debug()));
                    expanded.extend(['%', letter]);
                }
            },
            None => {
                kept("% at the end means nothing".into());
                expanded.push('%');
            }
        }
    }
    expanded
}

/// Whether a letter says something about the host that a container need not know.
pub(super) const fn tells_of_the_host(letter: char) -> bool {
    matches!(letter, 'm' | 'b' | 'H' | 'l' | 'u' | 'U' | 'g' | 'G' | 'h')
}
