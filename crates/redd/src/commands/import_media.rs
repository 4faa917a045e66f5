//! `redd import-media`: a machine made of an installation medium, an image or an archive.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use indicatif::{HumanBytes, HumanCount};
use media::import::{self, Error, Imported, Request};

use crate::failure::{Failure, warn};
use crate::form;
use crate::machinectl::{Json, images};
use crate::whole_or_nothing;

/// Make a machine of a live medium (ISO), a squashfs, EROFS or other file system, or an archive of a whole system
///
/// On a medium the file system with the system is found: that of Arch, Debian, Ubuntu, Fedora and others. Of an archive
/// with one directory in it, such as root.x86_64, that becomes the root. The machine shows up in /var/lib/machines when it is
/// complete; its machine ID is emptied.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The medium, image or archive; or the drive that it is in
    #[arg(value_name = "ISO|SFS|EROFS|TARBALL")]
    source: PathBuf,
    /// The machine
    name: String,
    /// Take this file of the medium
    #[arg(long, value_name = "PATH")]
    file: Option<String>,
    /// Refuse what has another SHA-256 sum
    #[arg(long, value_name = "HEX", value_parser = parse_sum)]
    sha256: Option<Sum>,
    /// Read squashfs and EROFS without the kernel, which is not made for file systems of strangers
    #[arg(long)]
    user_space: bool,
    /// Make the machine read-only
    #[arg(long)]
    read_only: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Print the new image as JSON: pretty, short (one line) or off
    #[arg(long, value_name = "MODE", default_value = "off")]
    json: Json,
}

/// A sum of SHA-256.
#[derive(Clone, Copy, Debug)]
struct Sum([u8; 32]);

fn parse_sum(text: &str) -> Result<Sum, String> {
    let wrong = || "it has to have 64 digits from 0 to f".to_owned();
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut sum = [0; 32];
    for (index, byte) in sum.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).map_err(|_| wrong())?;
    }
    Ok(Sum(sum))
}

/// Makes it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if !rustix::process::geteuid().is_root() {
        let error = anyhow!("only root can import a system: its files belong to many users");
        return Err(Failure::new(error, Some("run it with sudo")));
    }
    let pool = images::pool();
    let request = Request {
        file: &arguments.source,
        name: &arguments.name,
        read_only: arguments.read_only,
        user_space: arguments.user_space,
        sha256: arguments.sha256.map(|sum| sum.0),
        inner: arguments.file.as_deref(),
    };
    let imported =
        whole_or_nothing::run("importing", arguments.quiet, |observe| import::import(&pool, request, observe))?;
    report(&imported.map_err(failure)?, arguments)?;
    Ok(ExitCode::SUCCESS)
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Pool(error @ image::pool::Error::Exists { .. }) => {
            images::failure(error).or_else("'redd remove NAME' removes it")
        }
        Error::Pool(error) => images::failure(error),
        error => {
            let hint = error.hint();
            Failure::new(error, hint)
        }
    }
}

fn report(imported: &Imported, arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.quiet {
        for notice in &imported.notices {
            warn(&anyhow!("{notice}"));
        }
        let (name, source) = (&imported.image.name, &imported.source);
        let system = imported.system.as_ref().map(|system| format!("{system}, ")).unwrap_or_default();
        let (entries, bytes) = (HumanCount(imported.progress.entries), HumanBytes(imported.progress.bytes));
        let text = format!(
            "imported {name} from {source}: {system}{entries} entries, {bytes}\nstart it with: redd start {name}\n"
        );
        // It is not worth a failure if nobody hears it.
        let _ = std::io::stderr().write_all(spec::printable_lines(&text).as_bytes());
    }
    let value = images::as_json(&imported.image);
    match arguments.json {
        Json::Off => {}
        Json::Pretty => drop(form::print(&format!("{value:#}\n"))?),
        Json::Short => drop(form::print(&format!("{value}\n"))?),
    }
    Ok(())
}
