//! What one case is: a host that is prepared, a command line, a look from inside and a look from outside.

/// The same words for redd and for the original, and what both must show.
///
/// In options, environment and scripts `{host}` is an empty directory of the host, made anew for each case, and `{tree}`
/// the tree that is run, a directory called `{name}`, which is then the machine's name too. Each engine has its own of
/// both; what is printed is compared with all three written like this again. `{probe}` is the probe, see
/// [`testkit::PROBE`], as the host has it; `{images}` has file systems for disk images, see [`super::images`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Said where it fails; once in its group.
    pub(crate) name: &'static str,
    /// The options.
    pub(crate) options: &'static [&'static str],
    /// What runs inside.
    pub(crate) payload: Payload,
    /// A shell script that prepares the host, or the tree.
    pub(crate) before: &'static str,
    /// A shell script that looks at the host or at the tree afterwards.
    pub(crate) after: &'static str,
    /// Variables of the engine's environment.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// How it ends.
    pub(crate) end: End,
    /// What both print, where that is known to the letter.
    pub(crate) prints: Option<&'static str>,
    /// What the look from outside shows, where that is known to the letter.
    pub(crate) leaves: Option<&'static str>,
    /// Changes the tree, so that the next case needs a new one.
    pub(crate) own_tree: bool,
    /// The first version of the original whose manual says so; earlier ones are not asked.
    pub(crate) since: u32,
    /// Has a disk image, `{host}/{name}.raw`.
    pub(crate) image: bool,
    /// Needs a host that systemd manages.
    pub(crate) systemd: bool,
    /// Needs one that it does not.
    pub(crate) elsewhere: bool,
    /// Redd does something else on purpose than the original from this version on, for this reason; then that must differ,
    /// and an earlier one must not.
    pub(crate) differs: Option<(u32, &'static str)>,
    /// The first version that does as redd again.
    pub(crate) differs_until: u32,
}

/// What runs inside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload {
    /// A script of the shell in the tree.
    Script(&'static str),
    /// These words, which may be none.
    Words(&'static [&'static str]),
}

/// How a case ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The payload has run and ended with this code.
    Code(i32),
    /// It was refused, or the start failed: an error was told and nothing has run.
    Refused,
    /// It did not end in time.
    Never,
}

#[allow(dead_code, reason = "the vocabulary of the cases; not every group needs every word")]
impl Case {
    /// With these options the script shows the same inside, and ends well.
    pub(crate) const fn inside(name: &'static str, options: &'static [&'static str], script: &'static str) -> Self {
        Self {
            name,
            options,
            payload: Payload::Script(script),
            before: "",
            after: "",
            environment: &[],
            end: End::Code(0),
            prints: None,
            leaves: None,
            own_tree: false,
            since: 0,
            image: false,
            systemd: false,
            elsewhere: false,
            differs: None,
            differs_until: u32::MAX,
        }
    }

    /// With these options nothing starts.
    pub(crate) const fn refused(name: &'static str, options: &'static [&'static str]) -> Self {
        Self { end: End::Refused, ..Self::inside(name, options, "echo started") }
    }

    /// What is run instead of a script.
    pub(crate) const fn runs(self, words: &'static [&'static str]) -> Self {
        Self { payload: Payload::Words(words), ..self }
    }

    /// What both print, to the letter.
    pub(crate) const fn prints(self, text: &'static str) -> Self {
        Self { prints: Some(text), ..self }
    }

    /// What the look from outside shows with both, to the letter.
    pub(crate) const fn leaves(self, text: &'static str) -> Self {
        Self { leaves: Some(text), ..self }
    }

    /// The payload's exit code.
    pub(crate) const fn code(self, code: i32) -> Self {
        Self { end: End::Code(code), ..self }
    }

    /// A script that prepares the host in `{host}`, or the tree; the case then has a tree of its own.
    pub(crate) const fn before(self, script: &'static str) -> Self {
        Self { before: script, own_tree: true, ..self }
    }

    /// A script that looks from outside afterwards; what it prints is compared too.
    pub(crate) const fn after(self, script: &'static str) -> Self {
        Self { after: script, ..self }
    }

    /// Variables of the engine's environment.
    pub(crate) const fn environment(self, variables: &'static [(&'static str, &'static str)]) -> Self {
        Self { environment: variables, ..self }
    }

    /// It changes the tree.
    pub(crate) const fn own_tree(self) -> Self {
        Self { own_tree: true, ..self }
    }

    /// Only this version of the original and later ones do so.
    pub(crate) const fn since(self, version: u32) -> Self {
        Self { since: version, ..self }
    }

    /// It has a disk image: the script makes `{name}.raw`, with the [words](super::images::WORDS) for that.
    pub(crate) const fn image(self, script: &'static str) -> Self {
        Self { before: script, image: true, ..self }
    }

    /// Only on a host that systemd manages.
    pub(crate) const fn on_systemd(self) -> Self {
        Self { systemd: true, ..self }
    }

    /// Only on a host that systemd does not manage.
    pub(crate) const fn elsewhere(self) -> Self {
        Self { elsewhere: true, ..self }
    }

    /// The original does something else; why redd does not.
    pub(crate) const fn differs(self, reason: &'static str) -> Self {
        self.differs_since(0, reason)
    }

    /// The original does something else before this version; why redd does not.
    pub(crate) const fn differs_until(self, version: u32, reason: &'static str) -> Self {
        Self { differs_until: version, ..self.differs(reason) }
    }

    /// The original does something else from this version on; why redd does not.
    pub(crate) const fn differs_since(self, version: u32, reason: &'static str) -> Self {
        Self { differs: Some((version, reason)), ..self }
    }

    /// No version of the original that is asked does as redd: what redd shows is held to the case's own words or to nothing.
    pub(crate) fn is_alone(&self) -> bool {
        self.differs.is_some_and(|(first, _)| first <= self.since) && self.differs_until == u32::MAX
    }
}
