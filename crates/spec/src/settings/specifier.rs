//! Percent signs in values, as units have them (systemd.unit(5), "Specifiers").

/// Puts in what each letter behind a percent sign stands for; two percent signs are one. What means nothing stays as it
/// is, because files that were written without a thought of specifiers have it: `meaningless` is given it.
pub(super) fn expand(
    text: &str,
    value: impl Fn(char) -> Result<Option<String>, &'static str>,
    mut meaningless: impl FnMut(String),
) -> Result<String, String> {
    let mut expanded = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            expanded.push(letter);
            continue;
        }
        match letters.next() {
            Some('%') => expanded.push('%'),
            Some(letter) => {
                let value = value(letter).map_err(|reason| format!("%{} {reason}", letter.escape_debug()))?;
                expanded.push_str(&value.unwrap_or_else(|| {
                    meaningless(format!("%{}", letter.escape_debug()));
                    format!("%{letter}")
                }));
            }
            None => {
                meaningless("% at the end".into());
                expanded.push('%');
            }
        }
    }
    Ok(expanded)
}

/// Whether a letter says something about the host that a container need not know.
pub(super) const fn tells_of_the_host(letter: char) -> bool {
    matches!(letter, 'm' | 'b' | 'H' | 'l' | 'u' | 'U' | 'g' | 'G' | 'h')
}
