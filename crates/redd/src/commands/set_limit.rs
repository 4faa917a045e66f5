//! `machinectl set-limit`: how much space images may take.

use std::process::ExitCode;

use anyhow::anyhow;

use crate::failure::Failure;
use crate::machinectl::{Options, images};

/// Limit the space of an image, or of all images together; on btrfs only
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// The image, if not all, and the limit: bytes, with K, M, G, T for powers of 1024, or - for none
    #[arg(value_name = "NAME|BYTES", num_args = 1..=2, required = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Sets it.
pub(crate) fn run(arguments: &Arguments, _: &Options) -> Result<ExitCode, Failure> {
    let (name, limit) = match arguments.words.as_slice() {
        [limit] => (None, limit),
        [name, limit] => (Some(name), limit),
        _ => return Err(Failure::usage(anyhow!("a limit is needed, and nothing after it"))),
    };
    let limit = if limit == "-" {
        None
    } else {
        let bytes =
            spec::size(limit, 1024).map_err(|reason| Failure::usage(anyhow!("bad limit {limit:?}: {reason}")))?;
        Some(bytes)
    };
    let pool = images::pool();
    let set = match name {
        Some(name) => pool.set_limit(&images::find(&pool, name)?, limit),
        None => pool.set_pool_limit(limit),
    };
    set.map_err(images::failure)?;
    Ok(ExitCode::SUCCESS)
}
