//! Logs of machines: where they are, how they are read, and how they reach whoever reads them. All that is in them comes from
//! inside, and so do the files and links that hold them.

pub(crate) mod carrier;
pub(crate) mod journal;
pub(crate) mod place;
pub(crate) mod plain;
pub(crate) mod sink;
