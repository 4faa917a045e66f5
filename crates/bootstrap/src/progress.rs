//! How far a long job has come, told to whoever started it.

/// A part of an installation that is worth showing on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The signed release file and the package indices.
    Indices,
    /// Reading the indices.
    Parse,
    /// Choosing the packages.
    Resolve,
    /// The packages themselves.
    Download,
    /// Looking the packages through before anything is changed.
    Check,
    /// Unpacking the packages into the tree.
    Unpack,
    /// Configuring the packages inside the tree.
    Configure,
}

impl Phase {
    /// What the phase does, as a line shown to a person starts.
    pub fn title(self) -> &'static str {
        match self {
            Self::Indices => "fetching package lists",
            Self::Parse => "reading package lists",
            Self::Resolve => "choosing packages",
            Self::Download => "fetching packages",
            Self::Check => "checking packages",
            Self::Unpack => "unpacking",
            Self::Configure => "configuring",
        }
    }
}

/// Receives what an installer reports. Called from several threads at once; calls must be cheap.
///
/// For each phase: one `begin`, any number of `advance` and `item`, one `end` (also after a failure).
pub trait Progress: Send + Sync {
    /// A phase begins, with as many items and bytes to deal with as are known (0: not known).
    fn begin(&self, phase: Phase, items: u64, bytes: u64);
    /// So many more bytes are done. Bytes that were taken from a cache count too.
    fn advance(&self, phase: Phase, bytes: u64);
    /// One more item is done: a file, a package.
    fn item(&self, phase: Phase, name: &str);
    /// The phase is over.
    fn end(&self, phase: Phase);
    /// Something that a person should know and that does not stop the work: a retry, a fallback.
    fn notice(&self, text: &str);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _phase: Phase, _items: u64, _bytes: u64) {}
    fn advance(&self, _phase: Phase, _bytes: u64) {}
    fn item(&self, _phase: Phase, _name: &str) {}
    fn end(&self, _phase: Phase) {}
    fn notice(&self, _text: &str) {}
}
