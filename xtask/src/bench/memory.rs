//! What a supervisor keeps to itself while its container runs.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::runner::Contestant;

/// The payload: long enough to be looked at.
pub(super) const PAYLOAD: [&str; 2] = ["sleep", "2"];

/// Starts the command, whose container sleeps for a while, and reads how many KiB its first process has alone and has
/// written to.
pub(super) fn private_dirty(contestant: &Contestant) -> Result<f64> {
    let mut command = contestant.command();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("cannot run {}", contestant.words.join(" ")))?;
    let measured = await_payload(&mut child).and_then(|()| {
        let path = format!("/proc/{}/smaps_rollup", child.id());
        parse(&std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?)
    });
    if !ends(&mut child, Duration::from_secs(10))? {
        child.kill()?;
        child.wait()?;
        bail!("{} does not end with its payload", contestant.name);
    }
    measured
}

/// Waits until one of the processes below the child is the payload, and the supervisor has nothing left to do.
fn await_payload(child: &mut Child) -> Result<()> {
    let started = Instant::now();
    while !any_below(child.id(), &|pid| name(pid) == PAYLOAD[0]) {
        if let Some(status) = child.try_wait()? {
            bail!("it ended early: {status}");
        }
        if started.elapsed() > Duration::from_secs(10) {
            bail!("its payload does not start");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    Ok(())
}

fn name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// Whether any descendant is such a process.
fn any_below(pid: u32, wanted: &dyn Fn(u32) -> bool) -> bool {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|word| word.parse().ok()).any(|one| wanted(one) || any_below(one, wanted))
}

fn ends(child: &mut Child, within: Duration) -> Result<bool> {
    let started = Instant::now();
    while child.try_wait()?.is_none() {
        if started.elapsed() > within {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(true)
}

/// The KiB of `Private_Dirty:` in the kernel's summary, see proc_pid_smaps(5).
fn parse(text: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).context("no Private_Dirty line")?;
    let number = line.split_whitespace().next().context("no number")?;
    Ok(number.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_summary() {
        assert_eq!(parse("Rss: 1 kB\nPrivate_Dirty:       296 kB\n").expect("parsed"), 296.0);
        assert!(parse("Rss: 1 kB\n").is_err());
    }

    #[test]
    fn a_child_is_measured() {
        let measured = private_dirty(&Contestant::new("sh", &["sh", "-c", "sleep 1; true"])).expect("measured");
        assert!(measured > 0.0);
        let early = private_dirty(&Contestant::new("true", &["true"])).expect_err("it has no payload");
        assert!(early.to_string().contains("ended early"), "{early}");
    }
}
