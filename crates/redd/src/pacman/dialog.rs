//! Questions as pacman(8) asks them: on standard output, answered on standard input, or with the defaults.

use std::io::{self, BufRead, Write};

use super::selection;

/// How often a question is asked again that was not answered with sense.
const PATIENCE: usize = 10;

/// A dialog with a person, or with nobody: then every question is shown with its default.
pub(crate) struct Dialog<R, W> {
    answers: Option<R>,
    output: W,
    /// Whether the answers come from a terminal, which shows them itself.
    echoed: bool,
    width: usize,
}

impl<R: BufRead, W: Write> Dialog<R, W> {
    /// A dialog; without `answers` nobody is asked. Lists are as wide as `width` columns allow.
    pub(crate) fn new(answers: Option<R>, output: W, echoed: bool, width: usize) -> Self {
        Self { answers, output, echoed, width }
    }

    /// Says something.
    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.output, "{}", spec::printable_lines(text))?;
        self.output.flush()
    }

    /// Asks what is answered with yes or no. No answer at all is a no.
    pub(crate) fn confirm(&mut self, question: &str, default: bool) -> io::Result<bool> {
        let ways = if default { "[Y/n]" } else { "[y/N]" };
        for _ in 0..PATIENCE {
            match self.ask(&format!(":: {question} {ways} "))? {
                Answer::Default => return Ok(default),
                Answer::End => return Ok(false),
                Answer::Text(text) => match text.to_lowercase().as_str() {
                    "" => return Ok(default),
                    "y" | "yes" => return Ok(true),
                    "n" | "no" => return Ok(false),
                    _ => {}
                },
            }
        }
        Ok(false)
    }

    /// Lets one be chosen of those that have been listed, from 0. `None` where there was no answer with sense.
    pub(crate) fn choose_one(&mut self, count: usize) -> io::Result<Option<usize>> {
        for _ in 0..PATIENCE {
            let text = match self.ask("\nEnter a number (default=1): ")? {
                Answer::Default => String::new(),
                Answer::End => return Ok(None),
                Answer::Text(text) => text,
            };
            match selection::one(&text, 1, count) {
                Ok(place) => return Ok(Some(place)),
                Err(error) => self.say(&format!("error: {error}"))?,
            }
        }
        Ok(None)
    }

    /// Lets several be chosen of those that have been listed, from 0. `None` where there was no answer with sense.
    pub(crate) fn choose_several(&mut self, count: usize) -> io::Result<Option<Vec<usize>>> {
        for _ in 0..PATIENCE {
            let text = match self.ask("\nEnter a selection (default=all): ")? {
                Answer::Default => String::new(),
                Answer::End => return Ok(None),
                Answer::Text(text) => text,
            };
            match selection::several(&text, count) {
                Ok(places) => return Ok(Some(places)),
                Err(error) => self.say(&format!("error: {error}"))?,
            }
        }
        Ok(None)
    }

    /// Lists names with numbers from `first` on, in as many columns as there is room for.
    pub(crate) fn list(&mut self, first: usize, names: &[String]) -> io::Result<()> {
        let items: Vec<String> =
            names.iter().enumerate().map(|(nr, name)| format!("{}) {}", first + nr, spec::printable(name))).collect();
        let widest = items.iter().map(|item| item.chars().count()).max().unwrap_or(0) + 2;
        let columns = (self.width.saturating_sub(3) / widest).max(1);
        for row in items.chunks(columns) {
            let row: String = row.iter().map(|item| format!("{item:widest$}")).collect();
            writeln!(self.output, "   {}", row.trim_end())?;
        }
        Ok(())
    }

    fn ask(&mut self, question: &str) -> io::Result<Answer> {
        write!(self.output, "{question}")?;
        self.output.flush()?;
        let Some(answers) = &mut self.answers else {
            writeln!(self.output)?;
            return Ok(Answer::Default);
        };
        let mut line = String::new();
        // Nobody types that much.
        if io::Read::take(&mut *answers, 4096).read_line(&mut line)? == 0 {
            writeln!(self.output)?;
            return Ok(Answer::End);
        }
        let text = line.trim().to_owned();
        if !self.echoed {
            writeln!(self.output, "{}", spec::printable(&text))?;
        }
        Ok(Answer::Text(text))
    }
}

enum Answer {
    /// Nobody is asked.
    Default,
    /// There will be no answer any more.
    End,
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(answers: Option<&str>, act: impl FnOnce(&mut Dialog<&[u8], &mut Vec<u8>>) -> T) -> (T, String) {
        let mut output = Vec::new();
        let result = act(&mut Dialog::new(answers.map(str::as_bytes), &mut output, true, 30));
        (result, String::from_utf8(output).unwrap())
    }

    #[test]
    fn questions_are_asked_until_there_is_an_answer() {
        let (yes, shown) = with(Some("perhaps\nYES\n"), |dialog| dialog.confirm("Proceed?", false).unwrap());
        assert!(yes);
        assert_eq!(shown, ":: Proceed? [y/N] :: Proceed? [y/N] ");
        assert!(with(Some("\n"), |dialog| dialog.confirm("Proceed?", true).unwrap()).0);
        assert!(!with(Some(""), |dialog| dialog.confirm("Proceed?", true).unwrap()).0, "the end is no consent");
        assert!(!with(Some("what\n".repeat(99).as_str()), |dialog| dialog.confirm("?", true).unwrap()).0);
    }

    #[test]
    fn nobody_is_asked_and_the_default_is_taken() {
        let (yes, shown) = with(None, |dialog| dialog.confirm("Proceed with installation?", true).unwrap());
        assert!(yes);
        assert_eq!(shown, ":: Proceed with installation? [Y/n] \n");
        assert_eq!(with(None, |dialog| dialog.choose_one(3).unwrap()).0, Some(0));
        assert_eq!(with(None, |dialog| dialog.choose_several(3).unwrap()).0, Some(vec![0, 1, 2]));
    }

    #[test]
    fn numbers_are_asked_for_again() {
        let (chosen, shown) = with(Some("9\n2\n"), |dialog| dialog.choose_one(3).unwrap());
        assert_eq!(chosen, Some(1));
        assert!(shown.contains("error: invalid value: 9 is not between 1 and 3\n"), "{shown}");
        assert_eq!(with(Some("x\n1-2\n"), |dialog| dialog.choose_several(3).unwrap()).0, Some(vec![0, 1]));
        assert_eq!(with(Some("x\n"), |dialog| dialog.choose_several(3).unwrap()).0, None);
    }

    #[test]
    fn lists_have_columns_and_no_control_characters() {
        let names = ["bash", "coreutils", "a\u{1b}[2Jb", "systemd"].map(str::to_owned);
        let ((), shown) = with(None, |dialog| dialog.list(1, &names).unwrap());
        assert_eq!(shown.lines().count(), 4, "{shown}");
        assert!(shown.starts_with("   1) bash\n   2) coreutils\n") && !shown.contains('\u{1b}'), "{shown}");
        let ((), shown) = with(None, |dialog| dialog.list(9, &["a", "b"].map(str::to_owned)).unwrap());
        assert_eq!(shown, "   9) a   10) b\n");
    }
}
