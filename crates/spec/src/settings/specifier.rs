//! Percent signs in values, as units have them (systemd.unit(5), "Specifiers").

/// Puts in what each letter behind a percent sign stands for; two percent signs are one.
pub(super) fn expand(text: &str, value: impl Fn(char) -> Result<String, &'static str>) -> Result<String, String> {
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
                expanded.push_str(&value);
            }
            None => return Err("a % with nothing behind it has no meaning here".into()),
        }
    }
    Ok(expanded)
}

/// Whether a letter says something about the host that a container need not know.
pub(super) const fn tells_of_the_host(letter: char) -> bool {
    matches!(letter, 'm' | 'b' | 'H' | 'l' | 'u' | 'U' | 'g' | 'G' | 'h')
}
