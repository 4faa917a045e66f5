//! A thousand images: listed by `redd`, over Varlink and over the bus.

#![allow(clippy::print_stdout, reason = "what was measured is told")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{requires, run_limited};
use zbus::OwnedObjectPath;

use super::{LIMIT, MANAGER, REDD, scene};

const IMAGES: usize = 1000;
/// For one listing, on a slow machine that does other things as well.
const QUICK: Duration = Duration::from_secs(3);

type Listed = Vec<(String, String, bool, u64, u64, u64, OwnedObjectPath)>;

#[track_caller]
fn quick<T>(what: &str, list: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = list();
    println!("{what}: {:?}", begun.elapsed());
    assert!(begun.elapsed() < QUICK, "{what} takes {:?}", begun.elapsed());
    result
}

#[test]
#[ignore = "measured, for the acceptance"]
fn a_thousand_images_are_listed() {
    requires!(root, program "dbus-daemon");
    let scene = scene(&[]);
    let pool = Path::new("/var/lib/machines");
    for number in 0..IMAGES {
        if number % 2 == 0 {
            let tree = pool.join(format!("many-{number:04}"));
            std::fs::create_dir_all(tree.join("etc")).expect("image");
            std::fs::create_dir(tree.join("usr")).expect("image");
            std::fs::write(tree.join("etc/os-release"), "ID=many\nVERSION_ID=1\n").expect("file");
        } else {
            std::fs::write(pool.join(format!("many-{number:04}.raw")), [0; 512]).expect("image");
        }
    }
    let redd = |words: &[&str]| {
        let mut command = Command::new(REDD);
        command.args(words);
        run_limited(command, Vec::new(), LIMIT).expect_code(0).output
    };
    let table = quick("redd list-images", || redd(&["list-images", "--no-legend"]));
    assert_eq!(table.lines().count(), IMAGES);
    let rows = quick("redd list-images --json", || redd(&["list-images", "--json=short"]));
    let rows: serde_json::Value = serde_json::from_str(&rows).expect("JSON");
    assert_eq!(rows.as_array().map(Vec::len), Some(IMAGES));
    for metadata in ["no", "graceful"] {
        let answers = quick(&format!("Varlink, metadata {metadata}"), || {
            let mut varlink = UnixStream::connect("/run/systemd/machine/io.systemd.MachineImage").expect("connect");
            let words = format!("{{\"acquireMetadata\":\"{metadata}\"}}");
            let call =
                format!("{{\"method\":\"io.systemd.MachineImage.List\",\"parameters\":{words},\"more\":true}}\0");
            varlink.write_all(call.as_bytes()).expect("asked");
            let mut reader = BufReader::new(varlink);
            let mut count = 0;
            loop {
                let mut answer = Vec::new();
                reader.read_until(0, &mut answer).expect("answer");
                let answer: serde_json::Value = serde_json::from_slice(&answer[..answer.len() - 1]).expect("JSON");
                assert!(answer["error"].is_null(), "{answer}");
                count += 1;
                if answer["continues"] != true {
                    break count;
                }
            }
        });
        // And the host's own.
        assert_eq!(answers, IMAGES + 1);
    }
    for time in ["first", "second"] {
        let all = quick(&format!("D-Bus, for the {time} time"), || {
            scene.client.call::<_, Listed>(MANAGER, "Manager.ListImages", &()).expect("list")
        });
        assert_eq!(all.iter().filter(|image| image.0.starts_with("many-")).count(), IMAGES);
    }
    // All are gone, and their objects with them.
    let cleaned = quick("D-Bus, all removed", || {
        scene.client.call::<_, Vec<(String, u64)>>(MANAGER, "Manager.CleanPool", &("all",)).expect("cleaned")
    });
    assert_eq!(cleaned.len(), IMAGES);
    let left: Listed = scene.client.call(MANAGER, "Manager.ListImages", &()).expect("list");
    assert!(left.iter().all(|image| !image.0.starts_with("many-")), "{left:?}");
}
