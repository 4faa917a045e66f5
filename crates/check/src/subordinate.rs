//! Subordinate ids of a user, see [subuid(5)](https://man7.org/linux/man-pages/man5/subuid.5.html): tried with the programs
//! that hand them out, newuidmap(1) and newgidmap(1).

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use spec::UidRange;

use crate::Context;
use crate::attempt::{Attempt, Doing, in_child, with_users};
use crate::caller::Caller;
use crate::finding::{Feature, Finding, Need, State, Topic};

static FEATURE: Feature = Feature {
    name: "subordinate ids",
    topic: Topic::Users,
    need: Need::Useful,
    why: "They are ids that an ordinary user may give to containers of their own. Root takes from the ranges of machines \
          and needs none.",
};

/// A part of the ids of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u32,
    count: u32,
}

const FILES: [&str; 2] = ["/etc/subuid", "/etc/subgid"];
const PROGRAMS: [&str; 2] = ["newuidmap", "newgidmap"];

pub(crate) fn finding(context: &Context) -> Finding {
    let caller = &context.caller;
    if caller.is_privileged() {
        return FEATURE.is(State::Works, format!("{} needs none", caller.shown()));
    }
    let texts = FILES.map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let [users, groups] = texts.clone().map(|text| {
        let mut own = ranges(&text, Some(caller)).into_iter();
        own.find(|range| range.count >= UidRange::USUAL_COUNT)
    });
    let (Some(users), Some(groups)) = (users, groups) else {
        let lacking = if users.is_none() { FILES[0] } else { FILES[1] };
        let first = free(&texts);
        let last = first + (UidRange::USUAL_COUNT - 1);
        let who = caller.name.clone().unwrap_or_else(|| caller.uid.to_string());
        return FEATURE
            .is(State::Missing, format!("{lacking} has no 65536 ids for {}", caller.shown()))
            .advise(format!("As root: usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {who}"));
    };
    let programs = PROGRAMS.map(program);
    if let Some(index) = programs.iter().position(Option::is_none) {
        return FEATURE
            .is(State::Missing, format!("there is no {}", PROGRAMS[index]))
            .advise("Install it: the package is called uidmap, shadow or shadow-utils.");
    }
    let programs = programs.into_iter().flatten().zip([users, groups]).zip([caller.uid, caller.gid]);
    match in_child(|| hand_out(programs.map(|((program, range), own)| (program, range, own)).collect())) {
        Ok(_) => FEATURE.is(State::Works, format!("{} from {} on, given to a user namespace", users.count, users.first)),
        Err(refused) => FEATURE.is(refused.state(), refused.to_string()).advise(
            "newuidmap and newgidmap must belong to root and have their set-user-ID bit or file capabilities, on a file \
             system without nosuid; and user namespaces must be there.",
        ),
    }
}

/// Has the programs map a range each into a user namespace, behind the caller's own id.
fn hand_out(programs: Vec<(PathBuf, Range, u32)>) -> Attempt {
    with_users(|process, _| {
        for (program, range, own) in programs {
            let mut command = Command::new(&program);
            command.arg(process.as_raw_nonzero().to_string()).args(["0".to_owned(), own.to_string(), "1".to_owned()]);
            command.args(["1".to_owned(), range.first.to_string(), range.count.to_string()]);
            let doing = format!("map ids by {}", program.display());
            let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            match status.doing(&doing)?.success() {
                true => {}
                false => return Err(Errno::PERM).doing(&doing),
            }
        }
        Ok(String::new())
    })
}

/// A program, as the shell finds it.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/bin".into(), "/bin".into()]);
    places.filter(|place| place.is_absolute()).map(|place| place.join(name)).find(|path| path.is_file())
}

/// The ranges of a file: of one user, by name or number, or of all.
fn ranges(text: &str, of: Option<&Caller>) -> Vec<Range> {
    let is_theirs =
        |who: &str| of.is_none_or(|caller| caller.name.as_deref() == Some(who) || who.parse() == Ok(caller.uid));
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (who, first, count) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (is_theirs(who) && count > 0).then_some(Range { first, count })
    });
    lines.collect()
}

/// The first id of 65536 that nobody has been given, from 100000 on as usual, and that machines do not get.
fn free(texts: &[String]) -> u32 {
    let mut taken: Vec<Range> = texts.iter().flat_map(|text| ranges(text, None)).collect();
    let (first_picked, last_picked) = UidRange::PICKED;
    taken.push(Range { first: first_picked, count: last_picked - first_picked + UidRange::USUAL_COUNT });
    taken.push(Range { first: UidRange::FOREIGN, count: UidRange::USUAL_COUNT });
    taken.sort_by_key(|range| range.first);
    let mut first = 100_000;
    for range in taken {
        let overlaps = range.first < first + UidRange::USUAL_COUNT && range.first.saturating_add(range.count) > first;
        if overlaps && range.first.saturating_add(range.count) < u32::MAX - 2 * UidRange::USUAL_COUNT {
            first = range.first + range.count;
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_number() {
        let caller = Caller { uid: 1000, name: Some("me".to_owned()), ..Caller::probe() };
        let text = "you:100000:65536\nme:165536:65536\n1000:300000:10\n# me:1:2\nme:x:1\nme:5\nme:7:0\n";
        let own = ranges(text, Some(&caller));
        assert_eq!(own, [Range { first: 165_536, count: 65_536 }, Range { first: 300_000, count: 10 }]);
        assert_eq!(ranges(text, None).len(), 3);
    }

    #[test]
    fn what_is_advised_is_free() {
        assert_eq!(free(&[String::new(), String::new()]), 100_000);
        let text = "a:165536:65536\nb:100000:65536\n".to_owned();
        assert_eq!(free(&[text, "c:231072:1\n".to_owned()]), 231_073);
        assert_eq!(free(&["a:1000:10\n".to_owned()]), 100_000);
        assert_eq!(free(&["a:0:4294967295\n".to_owned()]), 100_000);
        // Those of machines are passed over, and those of files of nobody.
        let many: String = (0..6).map(|number| format!("u{number}:{}:65536\n", 100_000 + number * 65_536)).collect();
        assert_eq!(free(std::slice::from_ref(&many)), 0x7000_0000);
        assert_eq!(free(&[format!("{many}v:524288:65536\nw:1879048192:268304384\n")]), 0x7fff_0000);
    }
}
