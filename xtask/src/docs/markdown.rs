//! The little of Markdown that matters here: links and code.

/// A piece of code in a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Code {
    /// The line it starts in, counted from 1.
    pub line: usize,
    /// What stands after the fence: the language and marks. Empty for code in a line and for indented code.
    pub info: String,
    /// The code.
    pub text: String,
}

/// All code of a page: fenced blocks whole, indented blocks by the line, spans between backticks.
pub(super) fn code(page: &str) -> Vec<Code> {
    let mut found = Vec::new();
    let mut fence: Option<Code> = None;
    let mut after_blank = true;
    for (index, line) in page.lines().enumerate() {
        let number = index + 1;
        if let Some(info) = line.trim_start().strip_prefix("```") {
            match fence.take() {
                Some(block) => found.push(block),
                None => fence = Some(Code { line: number, info: info.trim().to_owned(), text: String::new() }),
            }
        } else if let Some(block) = &mut fence {
            block.text.push_str(line);
            block.text.push('\n');
        } else if after_blank && line.starts_with("    ") {
            found.push(Code { line: number, info: String::new(), text: line.trim().to_owned() });
            continue;
        } else {
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(spans.map(|span| Code { line: number, info: String::new(), text: span.to_owned() }));
        }
        after_blank = line.trim().is_empty();
    }
    found
}

/// The targets of links, with the line that they stand in.
pub(super) fn links(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        found.extend(targets.map(|target| (index + 1, target.to_owned())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_fences_and_indented_lines() {
        let page = "Use `a b` and `c`.\n\n    cargo x\n    cargo y\n\n```sh tested\nredd run\n```\nend\n    no code\n";
        let found: Vec<_> = code(page).into_iter().map(|code| (code.line, code.info, code.text)).collect();
        let expected =
            [(1, "", "a b"), (1, "", "c"), (3, "", "cargo x"), (4, "", "cargo y"), (6, "sh tested", "redd run\n")];
        assert_eq!(found, expected.map(|(line, info, text)| (line, info.to_owned(), text.to_owned())));
    }

    #[test]
    fn targets_of_links() {
        assert_eq!(links("See [a](b.md) and\n[c](d#e).\n"), [(1, "b.md".to_owned()), (2, "d#e".to_owned())]);
        assert_eq!(links("```\n[a](b)\n```\n"), []);
    }
}
