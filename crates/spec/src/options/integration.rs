//! What of the host's configuration is seen inside.

use super::{Argument, Effect, Given, OptionRow, Problem, ValueKind, trusted};
use crate::{Conveyance, JournalLimits, LinkJournal, ResolvConfMode, ResolvConfSource, SpecPatch, TimezoneMode};

const BASE: OptionRow = OptionRow::BASE;
/// One of the limits of a forwarded journal.
const JOURNAL_LIMIT: OptionRow = OptionRow {
    argument: Argument::Required("BYTES"),
    details: "As the setting of the same kind in journal-remote.conf(5); needs a systemd-journal-remote that knows it.",
    ..BASE
};

/// The words of `--resolv-conf=`.
const RESOLV_CONF_MODES: [(&str, ResolvConfMode); 15] = {
    use Conveyance::{Bind, Copy, Replace};
    use ResolvConfMode::{Auto, Delete, Off, Take};
    use ResolvConfSource::{Host, Static, Stub, Uplink};
    [
        ("off", Off),
        ("copy-host", Take(Copy, Host)),
        ("copy-static", Take(Copy, Static)),
        ("copy-uplink", Take(Copy, Uplink)),
        ("copy-stub", Take(Copy, Stub)),
        ("replace-host", Take(Replace, Host)),
        ("replace-static", Take(Replace, Static)),
        ("replace-uplink", Take(Replace, Uplink)),
        ("replace-stub", Take(Replace, Stub)),
        ("bind-host", Take(Bind, Host)),
        ("bind-static", Take(Bind, Static)),
        ("bind-uplink", Take(Bind, Uplink)),
        ("bind-stub", Take(Bind, Stub)),
        ("delete", Delete),
        ("auto", Auto),
    ]
};
const RESOLV_CONF: &[&str] = &words(&RESOLV_CONF_MODES);

/// The words of `--timezone=`.
const TIMEZONE_MODES: [(&str, TimezoneMode); 6] = [
    ("off", TimezoneMode::Off),
    ("copy", TimezoneMode::Copy),
    ("bind", TimezoneMode::Bind),
    ("symlink", TimezoneMode::Symlink),
    ("delete", TimezoneMode::Delete),
    ("auto", TimezoneMode::Auto),
];
const TIMEZONE: &[&str] = &words(&TIMEZONE_MODES);

/// The words alone.
const fn words<T: Copy, const N: usize>(modes: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut all = [""; N];
    let mut index = 0;
    while index < N {
        all[index] = modes[index].0;
        index += 1;
    }
    all
}

/// The words of `--link-journal=`.
const LINK_JOURNAL_MODES: [(&str, LinkJournal); 6] = [
    ("no", LinkJournal::No),
    ("host", LinkJournal::Host { optional: false }),
    ("try-host", LinkJournal::Host { optional: true }),
    ("guest", LinkJournal::Guest { optional: false }),
    ("try-guest", LinkJournal::Guest { optional: true }),
    ("auto", LinkJournal::Auto),
];
const LINK_JOURNAL: &[&str] = &words(&LINK_JOURNAL_MODES);

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "resolv-conf",
        argument: Argument::Required("MODE"),
        setting: trusted("Exec", "ResolvConf"),
        kind: ValueKind::Words(RESOLV_CONF),
        lists: true,
        help: "How /etc/resolv.conf gets inside",
        details: "off: it is left as it is in the tree. copy-HOW: a file of the host's is copied, unless there is something \
                  else than a regular file; replace-HOW: whatever there is; bind-HOW: the host's file is mounted on top, \
                  read-only. HOW is host: the host's /etc/resolv.conf; static, uplink or stub: the files of that kind of \
                  systemd-resolved.service(8). delete: it is removed. auto, the default: with a private network as off, \
                  else as copy, or as bind where the tree cannot be written, of stub where systemd-resolved runs, else of \
                  host. What --bind= puts there is left alone.",
        effect: Effect::Patch(resolv_conf),
        ..BASE
    },
    OptionRow {
        long: "timezone",
        argument: Argument::Required("MODE"),
        setting: trusted("Exec", "Timezone"),
        kind: ValueKind::Words(TIMEZONE),
        lists: true,
        help: "How /etc/localtime gets inside",
        details: "off: it is left as it is in the tree. copy: the host's is copied in place of it. bind: the host's is \
                  mounted on top, read-only. symlink: it becomes a link to the container's own data of the host's time \
                  zone, or as bind where it has none. delete: it is removed. auto, the default: as symlink where the host's is a link and as copy where \
                  it is a file, or as bind where the tree cannot be written. What --bind= puts there is left alone.",
        effect: Effect::Patch(timezone),
        ..BASE
    },
    OptionRow {
        long: "link-journal",
        argument: Argument::Required("MODE"),
        setting: trusted("Exec", "LinkJournal"),
        kind: ValueKind::Words(LINK_JOURNAL),
        help: "Whether the host sees the container's journal",
        details: "By the machine's id: host: it is written to the host's /var/log/journal/ID, which is mounted at the \
                  same place inside. guest: the host's /var/log/journal/ID is a link to the container's. try-host and \
                  try-guest: the same, if the host keeps journals and the container is not ephemeral. auto, the default: \
                  as an earlier start has prepared it. no: it does not. What is prepared stays for the next start. A \
                  machine with the host's own id is not linked.",
        effect: Effect::Patch(link_journal),
        ..BASE
    },
    OptionRow {
        short: Some('j'),
        help: "As --link-journal=try-guest",
        details: "The same as --link-journal=try-guest.",
        effect: Effect::Patch(try_guest),
        ..BASE
    },
    OptionRow {
        long: "forward-journal",
        argument: Argument::Required("PATH"),
        kind: ValueKind::Path,
        help: "Write the container's journal to a file of the host",
        details: "To the file where the path ends in .journal, else to files in that directory. systemd-journal-remote(8) \
                  does it, which listens at /run/host/journal/socket inside; the container's systemd-journald, from \
                  version 256 on, is told by the credential journal.forward_to_socket.",
        effect: Effect::Patch(forward_journal),
        ..BASE
    },
    OptionRow {
        long: "forward-journal-max-use",
        help: "How much space forwarded journals take",
        effect: Effect::Patch(forwarded_max_use),
        ..JOURNAL_LIMIT
    },
    OptionRow {
        long: "forward-journal-keep-free",
        help: "How much space they leave",
        effect: Effect::Patch(forwarded_keep_free),
        ..JOURNAL_LIMIT
    },
    OptionRow {
        long: "forward-journal-max-file-size",
        help: "How large one of them gets",
        effect: Effect::Patch(forwarded_max_file_size),
        ..JOURNAL_LIMIT
    },
    OptionRow {
        long: "forward-journal-max-files",
        argument: Argument::Required("N"),
        help: "How many of them there are",
        effect: Effect::Patch(forwarded_max_files),
        ..JOURNAL_LIMIT
    },
];

fn resolv_conf(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.resolv_conf = Some(match given.boolean() {
        Ok(true) => ResolvConfMode::Auto,
        Ok(false) => ResolvConfMode::Off,
        Err(_) => given.one_of(&RESOLV_CONF_MODES)?,
    });
    Ok(())
}

fn timezone(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.timezone = Some(match given.boolean() {
        Ok(true) => TimezoneMode::Auto,
        Ok(false) => TimezoneMode::Off,
        Err(_) => given.one_of(&TIMEZONE_MODES)?,
    });
    Ok(())
}

fn link_journal(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.link_journal = Some(match given.boolean() {
        Ok(true) => LinkJournal::Auto,
        Ok(false) => LinkJournal::No,
        Err(_) => given.one_of(&LINK_JOURNAL_MODES)?,
    });
    Ok(())
}

fn try_guest(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.link_journal = Some(LinkJournal::Guest { optional: true });
    Ok(())
}

fn forward_journal(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.forward_journal = given.host_path();
    Ok(())
}

fn limits(patch: &mut SpecPatch) -> &mut JournalLimits {
    patch.journal_limits.get_or_insert_default()
}

fn bytes(given: &Given<'_>) -> Result<Option<u64>, Problem> {
    crate::property::size(given.text()?, 1024).map(Some).map_err(Problem::invalid)
}

fn forwarded_max_use(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    limits(patch).max_use = bytes(given)?;
    Ok(())
}

fn forwarded_keep_free(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    limits(patch).keep_free = bytes(given)?;
    Ok(())
}

fn forwarded_max_file_size(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    limits(patch).max_file_size = bytes(given)?;
    Ok(())
}

fn forwarded_max_files(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    limits(patch).max_files = Some(given.parse()?);
    Ok(())
}
