//! The help text and the manual page.
//!
//! The snapshots are files beside this one. Where a change of them is meant, `INSTA_UPDATE=always cargo test -p
//! redd-spec` writes them anew; review them like any other change.

use insta::assert_snapshot;
use spec::{HelpStyle, help, manual_page, options};

fn plain(width: usize) -> String {
    help("redd-spawn", HelpStyle { width, colours: false })
}

#[test]
fn help_in_80_columns() {
    assert_snapshot!(plain(80));
}

#[test]
fn help_in_a_wide_terminal() {
    assert_snapshot!(plain(160));
}

#[test]
fn lines_of_the_help_text_fit() {
    for width in [60, 80, 100, 132, 200] {
        for line in plain(width).lines() {
            assert!(line.chars().count() <= width, "{width}: {line:?}");
            assert_eq!(line.trim_end(), line, "{width}");
        }
    }
}

#[test]
fn help_names_every_option() {
    let text = plain(80);
    for row in options::all() {
        assert!(text.contains(&row.spelling()), "{} is missing", row.spelling());
    }
}

#[test]
fn colours_change_nothing_but_the_looks() {
    let coloured = help("redd-spawn", HelpStyle { width: 80, colours: true });
    assert!(coloured.contains("\x1b[1m"));
    let mut text = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        text.push_str(before);
        rest = after.split_once('m').expect("the end of a sequence").1;
    }
    text.push_str(rest);
    assert_eq!(text, plain(80));
}

#[test]
fn an_excerpt_of_the_manual_page() {
    let page = manual_page("0.1");
    let from = page.find(".SS Mounts").expect("a group");
    let to = page[from..].find(".SS Console").expect("the next group");
    assert_snapshot!(&page[from..from + to]);
}
