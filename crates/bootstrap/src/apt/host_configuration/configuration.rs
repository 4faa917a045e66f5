//! The format of apt.conf(5): `Name::Part "value";` and `Name { Part "value"; };`, with comments.

use std::collections::HashMap;

/// Values by their full names in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Configuration {
    values: HashMap<String, String>,
}

/// What the text is made of.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    End,
    Word(String),
}

impl Configuration {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Reads one file; what it says replaces what was said before. What is no configuration is passed over.
    pub(super) fn read(&mut self, text: &str) {
        let mut scopes: Vec<usize> = Vec::new();
        let mut path: Vec<String> = Vec::new();
        let mut words: Vec<String> = Vec::new();
        for token in tokens(text) {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    scopes.push(path.len());
                    path.extend(words.drain(..).take(1));
                }
                Token::End | Token::Close => {
                    self.set(&path, &mut words);
                    if token == Token::Close {
                        path.truncate(scopes.pop().unwrap_or(0));
                    }
                }
            }
        }
    }

    fn set(&mut self, path: &[String], words: &mut Vec<String>) {
        if let [name, value] = &words[..]
            && !name.starts_with('#')
        {
            let full =
                path.iter().chain([name]).map(String::as_str).collect::<Vec<_>>().join("::").to_ascii_lowercase();
            self.values.insert(full, value.clone());
        }
        words.clear();
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let line_end = rest.find('\n').unwrap_or(rest.len());
        match first {
            '#' => rest = &rest[line_end..],
            '/' if rest.starts_with("//") => rest = &rest[line_end..],
            '/' if rest.starts_with("/*") => rest = rest.find("*/").map_or("", |end| &rest[end + 2..]),
            '{' | '}' | ';' => {
                tokens.push(match first {
                    '{' => Token::Open,
                    '}' => Token::Close,
                    _ => Token::End,
                });
                rest = &rest[1..];
            }
            '"' => {
                let end = rest[1..].find('"').map_or(rest.len(), |at| at + 1);
                tokens.push(Token::Word(rest[1..end].to_owned()));
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            space if space.is_whitespace() => rest = &rest[space.len_utf8()..],
            _ => {
                let is_end = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"');
                let end = rest.find(is_end).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                rest = &rest[end..];
            }
        }
    }
    tokens
}
