//! What holds for every command line and every value, tried with many that nobody would write.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use spec::command_line::{Request, UsageError, read};
use spec::options::{self, Argument, Caller, OptionRow};
use spec::{
    AbsPath, BindSource, CAPABILITY_NAMES, ContainerSpec, CpuSet, CustomMount, HostName, IdEntry, IdMapping,
    MachineName, Resource, Rlimit, Signal, UidRange,
};

fn request(words: &[OsString]) -> Result<Request, UsageError> {
    read(words, Caller { directory: Path::new("/here"), variable: &|_| None })
}

fn spec(words: &[OsString]) -> ContainerSpec {
    match request(words) {
        Ok(Request::Run(spec)) => *spec,
        other => panic!("{words:?}: {other:?}"),
    }
}

fn strings(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn rows() -> Vec<&'static OptionRow> {
    options::all().collect()
}

/// A word of any bytes.
fn any_word() -> impl Strategy<Value = OsString> {
    vec(1..=255_u8, 0..20).prop_map(OsString::from_vec)
}

/// A value of any bytes, or one that many options take.
fn any_value() -> impl Strategy<Value = OsString> {
    let taken = "[0-9]{1,4}[KMG]?|[0-9]:[0-9]|/[a-z]{1,4}|[a-z]{1,6}|yes|no";
    prop_oneof![any_word(), taken.prop_map(OsString::from)]
}

/// A word that is almost an option: a spelling, perhaps cut off, perhaps with a value that has something to do with it.
fn likely_word() -> impl Strategy<Value = OsString> {
    let values = "(|[a-z]{1,8}|[0-9:,=-]{1,12}|/[a-z/.:\\\\]{0,12}|[A-Z_]{1,8}=[0-9]{1,3}|\\PC{0,8})";
    (select(rows()), any::<prop::sample::Index>(), any::<bool>(), any::<bool>(), values).prop_map(
        |(row, cut, cutting, valued, value)| {
            let mut word = row.spelling();
            if cutting {
                word.truncate(cut.index(word.len()) + 1);
            }
            if valued {
                word.push('=');
                word.push_str(&value);
            }
            word.into()
        },
    )
}

/// A part of a path: any bytes without slash and NUL, and neither `.` nor `..`.
fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(b':'), Just(b'\\'), Just(b','), 1..=255_u8].prop_filter("slash", |byte| *byte != b'/'), 1..6)
        .prop_filter("dots", |name| name != b"." && name != b"..")
}

fn path() -> impl Strategy<Value = PathBuf> {
    vec(name(), 1..4).prop_map(|names| PathBuf::from(OsString::from_vec([b"/", &names.join(&b'/')[..]].concat())))
}

/// As a person would have to write it in a value that is parted at colons.
fn escaped(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b'\\') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text
}

proptest! {
    // What failed is put into a test of its own, not into a file.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_words_make_it_panic(words in vec(any_word(), 0..6)) {
        let _ = request(&words);
    }

    #[test]
    fn no_options_make_it_panic_and_every_mistake_is_one_line(words in vec(prop_oneof![likely_word(), any_word()], 0..6)) {
        if let Err(error) = request(&words) {
            let text = error.to_string();
            let stop = text.ends_with('.') && !text.ends_with("...");
            prop_assert!(!text.is_empty() && !stop, "{text:?}");
            prop_assert!(!text.contains(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn any_value_of_any_option_is_taken_or_refused_with_its_name(row in select(rows()), value in any_value()) {
        if row.long.is_empty() || row.argument == Argument::None {
            return Ok(());
        }
        let mut word = OsString::from(format!("--{}=", row.long));
        word.push(&value);
        if let Err(error) = request(&[word]) {
            // Some miss another one where they stand alone, however good their value is.
            prop_assert!(error.to_string().contains(&format!("--{}", row.long)), "{error}");
        }
    }

    #[test]
    fn a_value_may_stand_in_the_same_word_or_the_next_one(row in select(rows()), value in any_word()) {
        if row.long.is_empty() || !matches!(row.argument, Argument::Required(_)) {
            return Ok(());
        }
        let mut together = OsString::from(format!("--{}=", row.long));
        together.push(&value);
        prop_assert_eq!(request(&[together]), request(&[format!("--{}", row.long).into(), value]));
    }

    #[test]
    fn switches_in_a_cluster_are_switches(letters in subsequence(vec!['q', 'x', 'b', 'U', 'P'], 1..=5).prop_shuffle()) {
        let cluster: String = std::iter::once('-').chain(letters.iter().copied()).collect();
        let apart: Vec<OsString> = letters.iter().map(|letter| format!("-{letter}").into()).collect();
        prop_assert_eq!(spec(&[cluster.into()]), spec(&apart));
    }

    #[test]
    fn nothing_after_the_first_operand_is_looked_at(rest in vec(any_word(), 0..5)) {
        let mut words = strings(&["-q", "program"]);
        words.extend(rest.iter().cloned());
        let found = spec(&words);
        prop_assert_eq!(&found.exec().arguments[1..], &rest[..]);
        let mut words = strings(&["-q", "--"]);
        words.extend(rest.iter().cloned());
        let found = spec(&words);
        prop_assert_eq!(&found.exec().arguments, &rest);
    }

    #[test]
    fn escaped_paths_of_bind_mounts_come_back(source in path(), destination in path(), read_only in any::<bool>()) {
        let name = if read_only { "--bind-ro=" } else { "--bind=" };
        let value = [name.as_bytes(), &escaped(&source), b":", &escaped(&destination), b":norbind"].concat();
        let found = spec(&[OsString::from_vec(value)]);
        let destination = AbsPath::try_from(destination.as_path()).expect("an absolute path");
        let expected = CustomMount::Bind { source: BindSource::Host(source), destination, read_only, recursive: false, ids: IdMapping::Unmapped };
        prop_assert_eq!(found.mounts(), &vec![expected]);
    }

    #[test]
    fn escaped_paths_of_overlays_come_back(
        layers in vec(path(), 2..5),
        destination in path().prop_filter("the root cannot be replaced", |path| path.parent().is_some()),
        temporary in any::<bool>(),
        read_only in any::<bool>(),
    ) {
        let mut value = if read_only { b"--overlay-ro=".to_vec() } else { b"--overlay=".to_vec() };
        for layer in &layers {
            value.extend(escaped(layer));
            value.push(b':');
        }
        let mut expected: Vec<_> = layers.into_iter().map(BindSource::Host).collect();
        if temporary {
            value.push(b':');
            expected.push(BindSource::Temporary);
        }
        value.extend(escaped(&destination));
        let destination = AbsPath::try_from(destination.as_path()).expect("an absolute path");
        let found = spec(&[OsString::from_vec(value)]);
        prop_assert_eq!(found.mounts(), &vec![CustomMount::Overlay { layers: expected, destination, read_only }]);
    }

    #[test]
    fn ids_of_bind_mounts_come_back(inside in any::<u32>(), outside in any::<u32>(), count in any::<u32>()) {
        let value = format!("--bind=/a:/b:map={inside}:{outside}:{count}");
        let possible = count > 0 && inside.checked_add(count).is_some() && outside.checked_add(count).is_some();
        match request(&[value.into()]) {
            Ok(Request::Run(found)) => {
                let expected = IdMapping::Listed(vec![IdEntry { inside, outside, count }]);
                let right = matches!(&found.mounts()[..], [CustomMount::Bind { ids, .. }] if *ids == expected);
                prop_assert!(possible && right, "{found:?}");
            }
            other => prop_assert!(!possible && other.is_err(), "{other:?}"),
        }
    }

    #[test]
    fn escaped_paths_of_temporary_file_systems_come_back(path in path(), options in "[a-z=0-9,:\\\\]{1,12}") {
        let value = [b"--tmpfs=", &escaped(&path)[..], b":", options.as_bytes()].concat();
        let found = spec(&[OsString::from_vec(value)]);
        let destination = AbsPath::try_from(path.as_path()).expect("an absolute path");
        prop_assert_eq!(found.mounts(), &vec![CustomMount::Tmpfs { destination, options: Some(options) }]);
    }

    #[test]
    fn variables_come_back(name in "[A-Za-z_][A-Za-z0-9_]{0,8}", value in any_word()) {
        let mut word = OsString::from(format!("{name}="));
        word.push(&value);
        let found = spec(&["-E".into(), word]);
        prop_assert_eq!(&found.exec().environment, &vec![(name.into(), value)]);
    }

    #[test]
    fn ranges_of_ids_come_back(start in any::<u32>(), count in any::<u32>()) {
        let expected = UidRange::new(start, count);
        prop_assert_eq!(format!("{start}:{count}").parse().ok(), expected);
        if let Some(range) = expected {
            prop_assert_eq!(range.to_string().parse(), Ok(range));
            prop_assert!(u64::from(range.start()) + u64::from(range.count()) <= u64::from(u32::MAX));
        }
    }

    #[test]
    fn sets_of_processors_come_back(cpus in proptest::collection::btree_set(0..8192_u32, 1..20)) {
        let text = cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let set: CpuSet = text.parse().expect("a list");
        prop_assert_eq!(set.cpus(), &cpus.iter().copied().collect::<Vec<_>>()[..]);
        prop_assert_eq!(set.to_string().parse(), Ok(set));
    }

    #[test]
    fn sets_of_capabilities_come_back(names in subsequence(CAPABILITY_NAMES.to_vec(), 0..=41)) {
        let found = spec(&[format!("--capability={}", names.join(",")).into()]);
        prop_assert_eq!(found.security().capabilities.to_string(), names.join(","));
    }

    #[test]
    fn limits_come_back(soft in proptest::option::of(0..u64::MAX), hard in proptest::option::of(0..u64::MAX)) {
        let text = |value: Option<u64>| value.map_or("infinity".to_owned(), |value| value.to_string());
        let parsed = Rlimit::parse(Resource::OpenFiles, &format!("{}:{}", text(soft), text(hard)));
        let fits = soft.unwrap_or(u64::MAX) <= hard.unwrap_or(u64::MAX);
        prop_assert_eq!(parsed.ok(), fits.then_some(Rlimit { soft, hard }));
    }

    #[test]
    fn out_of_memory_scores_are_those_of_the_kernel(score in -3000..3000_i32) {
        let parsed = request(&[format!("--oom-score-adjust={score}").into()]);
        prop_assert_eq!(parsed.is_ok(), (-1000..=1000).contains(&score));
    }

    #[test]
    fn names_are_names_only_if_they_say_so(text in "\\PC{0,70}|[a-z0-9.-]{0,70}") {
        for valid in [HostName::try_from(text.as_str()).map(|name| name.to_string()), MachineName::try_from(text.as_str()).map(|name| name.to_string())].into_iter().flatten() {
            prop_assert_eq!(&valid, &text);
            prop_assert!(valid.len() <= 64 && !valid.is_empty());
            prop_assert!(valid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')));
            prop_assert!(!valid.contains("..") && !valid.starts_with(['.', '-']) && !valid.ends_with(['.', '-']));
        }
        if let Some(made) = MachineName::made_of(&text) {
            prop_assert_eq!(MachineName::try_from(made.as_str()), Ok(made));
        }
    }

    #[test]
    fn absolute_paths_lead_nowhere_else(bytes in vec(prop_oneof![Just(b'/'), Just(b'.'), 0..=255_u8], 0..12)) {
        let path = Path::new(OsStr::from_bytes(&bytes));
        if let Ok(clean) = AbsPath::try_from(path) {
            prop_assert!(clean.as_path().is_absolute());
            prop_assert!(clean.as_path().components().skip(1).all(|part| matches!(part, std::path::Component::Normal(_))));
        }
    }
}

#[test]
fn every_signal_has_a_name_that_comes_back() {
    let numbers: Vec<i32> =
        Signal::names().iter().map(|name| name.parse::<Signal>().expect("a signal").number()).collect();
    assert_eq!(numbers, (1..=31).chain(34..=64).collect::<Vec<_>>());
}

#[test]
fn an_option_may_be_cut_off_as_long_as_it_stays_unique() {
    let rows: Vec<_> = rows().into_iter().filter(|row| !row.long.is_empty()).collect();
    for row in &rows {
        for end in 1..row.long.len() {
            let short = &row.long[..end];
            let meant: Vec<_> = rows.iter().filter(|other| !other.own && other.long.starts_with(short)).collect();
            let error = request(&[format!("--{short}\u{fffd}=").into()]).expect_err("no such option");
            assert!(matches!(error, UsageError::Unknown(_) | UsageError::Misspelled(..)), "{short}: {error}");
            if rows.iter().any(|other| other.long == short) {
                continue;
            }
            let found = request(&strings(&[&format!("--{short}"), "value"]));
            match meant[..] {
                [] => assert!(matches!(found, Err(UsageError::Unknown(_) | UsageError::Misspelled(..))), "{short}"),
                [only] => {
                    assert_eq!(found, request(&strings(&[&format!("--{}", only.long), "value"])), "{short}");
                }
                _ => assert!(matches!(found, Err(UsageError::Ambiguous(..))), "{short}"),
            }
        }
    }
}
