//! What packages need of each other, and what is chosen.

use crate::Case;
use crate::cases::{plain, version};

pub(crate) fn cases() -> Vec<Case> {
    [needs(), provided(), groups(), versions(), impossible()].into_iter().flatten().collect()
}

const B: &str = "usr/share/b/file";
const C: &str = "usr/share/c/file";

fn needs() -> Vec<Case> {
    let chain = vec![plain("a").with("depend", "b"), plain("b").with("depend", "c"), plain("c"), plain("unwanted")];
    let order = vec![
        plain("a").with("depend", "z").with("depend", "m"),
        plain("m").with("depend", "b"),
        plain("z").with("depend", "b").with("depend", "c"),
        plain("b"),
        plain("c").with("depend", "b"),
    ];
    let two = vec![plain("a").with("depend", "b"), plain("b").with("depend", "a")];
    let three = vec![plain("a").with("depend", "b"), plain("b").with("depend", "c"), plain("c").with("depend", "a")];
    let optional = vec![plain("a").with("optdepend", "b: for more").with("depend", "c"), plain("b"), plain("c")];
    let reasons = Case::new("reasons", chain.clone(), C);
    vec![
        Case::new("chain", chain, C),
        Case::new("order", order, C),
        Case::new("cycle-of-two", two, B),
        Case::new("cycle-of-three", three, C),
        Case::new("optional", optional, C),
        Case { wanted: &["c", "a"], ..reasons },
    ]
}

fn provided() -> Vec<Case> {
    let single = vec![plain("a").with("depend", "virtual"), plain("b").with("provides", "virtual")];
    let several = vec![
        plain("a").with("depend", "virtual"),
        plain("c").with("provides", "virtual"),
        plain("b").with("provides", "virtual"),
    ];
    let chosen = Case::new("provider-chosen", several.clone(), C);
    let numbered = vec![
        plain("a").with("depend", "virtual>=2"),
        plain("b").with("provides", "virtual=1"),
        plain("c").with("provides", "virtual=2"),
        plain("d").with("provides", "virtual"),
    ];
    let literal = vec![plain("a").with("depend", "b"), plain("0").with("provides", "b"), plain("b")];
    let asked = Case::new("virtual-asked-for", several.clone(), B);
    vec![
        Case::new("provider", single, B),
        Case::new("provider-first", several, B),
        Case { wanted: &["a", "c"], ..chosen },
        Case::new("provider-numbered", numbered, C),
        Case::new("name-before-provider", literal, B),
        Case { wanted: &["virtual"], ..asked },
    ]
}

fn groups() -> Vec<Case> {
    let members = vec![
        plain("c").with("group", "many"),
        plain("a").with("group", "many").with("group", "few"),
        plain("b").with("group", "many").with("depend", "d"),
        plain("d"),
    ];
    let [all, more, few] = ["group", "group-and-more", "two-groups"].map(|name| Case::new(name, members.clone(), B));
    vec![
        Case { wanted: &["many"], ..all },
        Case { wanted: &["many", "d"], ..more },
        Case { wanted: &["few", "many"], ..few },
        Case { wanted: &["core/a", "b"], ..Case::new("of-a-repository", members, B) },
    ]
}

fn versions() -> Vec<Case> {
    let epoch = vec![plain("a").with("depend", "b>=1:1"), version("b", "1:1.0-2")];
    let exact =
        vec![plain("a").with("depend", "b=1.0").with("depend", "c=2-3"), version("b", "1.0-7"), version("c", "2-3")];
    let early = vec![plain("a").with("depend", "b<1.0"), version("b", "1.0rc1-1")];
    let replaced =
        vec![plain("a").with("replaces", "b").with("conflict", "c<1").with("depend", "c"), plain("b"), plain("c")];
    let itself = vec![plain("a").with("provides", "x").with("conflict", "x").with("depend", "b"), plain("b")];
    vec![
        Case::new("epoch", epoch, B),
        Case::new("exact", exact, C),
        Case::new("before-release", early, B),
        Case::new("replaces", replaced, C),
        Case::new("conflict-with-itself", itself, B),
        Case::new("odd-version", vec![version("a", "2:1.0_beta+git.r12-3.1")], "usr/share/a/file"),
    ]
}

fn impossible() -> Vec<Case> {
    let conflict = vec![plain("a").with("conflict", "b"), plain("b")];
    let both = Case::refused("conflict-asked-for", conflict);
    let needed = vec![plain("a").with("depend", "b").with("depend", "c"), plain("b").with("conflict", "c"), plain("c")];
    let unknown = Case::refused("unknown", vec![plain("b")]);
    vec![
        Case { wanted: &["a", "b"], ..both },
        Case::refused("conflict-needed", needed),
        Case::refused("missing", vec![plain("a").with("depend", "nothing")]),
        Case::refused("too-old", vec![plain("a").with("depend", "b>=2"), plain("b")]),
        unknown,
        Case {
            configuration: "SigLevel = Required\nArchitecture = aarch64\n",
            ..Case::refused("other-machine", vec![plain("a")])
        },
    ]
}
