//! The verbs, one file each.

pub(crate) mod autostart;
pub(crate) mod bind;
pub(crate) mod bootstrap;
pub(crate) mod cat;
pub(crate) mod cgls;
pub(crate) mod check;
pub(crate) mod clean;
pub(crate) mod clone;
pub(crate) mod completions;
pub(crate) mod copy_from;
pub(crate) mod copy_to;
pub(crate) mod disable;
pub(crate) mod edit;
pub(crate) mod enable;
pub(crate) mod exec;
pub(crate) mod image_status;
pub(crate) mod import_media;
pub(crate) mod keep;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod list_images;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod machined;
pub(crate) mod pacstrap;
pub(crate) mod pause;
pub(crate) mod poweroff;
pub(crate) mod ps;
pub(crate) mod read_only;
pub(crate) mod reboot;
pub(crate) mod remove;
pub(crate) mod rename;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod set_limit;
pub(crate) mod settings;
pub(crate) mod shell;
pub(crate) mod show;
pub(crate) mod show_image;
pub(crate) mod spawn;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod terminate;
pub(crate) mod top;
pub(crate) mod wait;

use crate::machinectl;
use crate::verbs::verbs;

const EXAMPLES: &str = "\
Examples:
  redd check                            is this system ready for containers?
  redd run debian                       a root shell in a throw-away Debian
  redd run debian -b                    the same, booted to a login prompt (root, no password)
  redd run ubuntu -- apt-get --version  one command in a throw-away Ubuntu
  redd run host                         a root shell in a throw-away copy of this system
  redd bootstrap debian /srv/web        install Debian into a directory
  redd bootstrap arch /srv/arch         install Arch Linux into a directory
  redd spawn -b -D /srv/web             boot it
  redd settings /srv/web                what its settings file and the defaults say";

/// Runs whole Linux systems in lightweight containers.
#[derive(Debug, clap::Parser)]
#[command(name = "redd", version, after_help = EXAMPLES, disable_help_subcommand = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Redd {}

verbs! {
    /// What redd does beside the verbs of machinectl.
    #[derive(Debug)]
    enum Verb () () {
        Spawn "spawn" spawn,
        Run "run" run,
        Bootstrap "bootstrap" bootstrap,
        Pacstrap "pacstrap" pacstrap,
        Check "check" check,
        ImportMedia "import-media" import_media,
        Exec "exec" exec,
        Settings "settings" settings,
        Cgls "cgls" cgls,
        Ps "ps" ps,
        Stats "stats" stats,
        Logs "logs" logs,
        Top "top" top,
        Wait "wait" wait,
        Machined "machined" machined,
        Completions "completions" completions,
        Autostart "autostart" autostart,
        Keep "keep" keep,
    }
}

/// The command line. That of one verb alone, where it is known which is meant: what it says of that is the same.
pub(crate) fn line(verb: Option<&str>) -> clap::Command {
    let redd = <Redd as clap::CommandFactory>::command();
    match verb.and_then(|verb| Verb::describe(verb).or_else(|| machinectl::describe(verb))) {
        Some(verb) => redd.subcommand(verb),
        None => <Verb as clap::Subcommand>::augment_subcommands(redd).subcommands(machinectl::describe_all()),
    }
}
