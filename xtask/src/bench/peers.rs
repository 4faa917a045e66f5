//! The other container programs, each asked for the same: all namespaces but the network's, the usual file systems.
//! Where one can be asked for less than redd does by default, it is, and the comparison favours it.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::programs::Programs;
use super::runner::{Contestant, time};
use crate::workspace::{find_program, say};

/// All that can take part on this machine. The directories of OCI bundles live as long as this.
pub(super) struct Peers {
    programs: Programs,
    bundles: Vec<TempDir>,
}

/// Programs that read OCI bundles, and what keeps them from control groups where they can be: moving a process into
/// one takes some machines longer than all the rest.
const OCI: &[(&str, &[&str])] = &[("crun", &["--cgroup-manager=disabled"]), ("runc", &[]), ("youki", &[])];

/// The file with the usual filter of OCI containers, where it is installed.
const OCI_FILTER: &str = "/usr/share/containers/seccomp.json";

impl Peers {
    pub(super) fn new(programs: Programs) -> Self {
        Self { programs, bundles: Vec::new() }
    }

    /// The least: without a network namespace.
    pub(super) fn floor(&self, tree: &Path) -> Contestant {
        Contestant::new("floor", &[&path(&self.programs.floor), &path(tree), "/bin/true"])
    }

    /// The least with a network namespace.
    pub(super) fn floor_with_network(&self, tree: &Path) -> Contestant {
        Contestant::new("floor --network", &[&path(&self.programs.floor), "--network", &path(tree), "/bin/true"])
    }

    /// redd, with further options before the program.
    pub(super) fn redd(&self, name: &str, tree: &Path, words: &[&str]) -> Contestant {
        let program = path(&self.programs.redd);
        let tree = path(tree);
        Contestant::new(name, &[&[&*program, "-q", "-D", &*tree], words].concat())
    }

    /// systemd-nspawn, where it is installed.
    pub(super) fn nspawn(&self, name: &str, tree: &Path, words: &[&str]) -> Option<Contestant> {
        find_program("systemd-nspawn")?;
        let tree = path(tree);
        let command = ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "-D", &*tree];
        Some(Contestant::new(name, &[&command, words].concat()))
    }

    /// bubblewrap, where it is installed.
    pub(super) fn bubblewrap(&self, tree: &Path, words: &[&str]) -> Option<Contestant> {
        find_program("bwrap")?;
        let tree = path(tree);
        let root = ["bwrap", "--bind", &*tree, "/", "--proc", "/proc", "--dev", "/dev"];
        let more = ["--tmpfs", "/run", "--tmpfs", "/tmp", "--unshare-pid", "--unshare-uts", "--unshare-ipc"];
        let end = ["--unshare-cgroup", "--die-with-parent"];
        Some(Contestant::new("bwrap", &[&root, &more[..], &end, words].concat()))
    }

    /// The programs for OCI bundles that are installed. `filtered` asks for the usual filter, and for none of them
    /// where that is not installed.
    pub(super) fn oci(&mut self, tree: &Path, words: &[&str], filtered: bool) -> Result<Vec<Contestant>> {
        let filter = match std::fs::read_to_string(OCI_FILTER) {
            Ok(text) if filtered => Some(filter(&serde_json::from_str(&text)?)),
            _ if filtered => return Ok(Vec::new()),
            _ => None,
        };
        let mut found = Vec::new();
        for (program, options) in OCI.iter().filter(|(program, _)| find_program(program).is_some()) {
            let bundle = tempfile::Builder::new().prefix("redd-bench-").tempdir()?;
            let config = configuration(tree, words, filter.as_ref());
            std::fs::write(bundle.path().join("config.json"), serde_json::to_vec_pretty(&config)?)?;
            let name = format!("redd-bench-{}", std::process::id());
            let run = ["run", "--bundle", &path(bundle.path()), &name].map(str::to_owned);
            let command = std::iter::once(*program).chain(options.iter().copied()).map(str::to_owned).chain(run);
            found.push(Contestant { name: (*program).to_owned(), words: command.collect(), unified: false });
            self.bundles.push(bundle);
        }
        Ok(found)
    }
}

/// Those that can do what they are asked for on this machine; the others are named. The first must.
pub(super) fn able(contestants: Vec<Contestant>) -> Result<Vec<Contestant>> {
    let mut able = Vec::new();
    for (index, one) in contestants.into_iter().enumerate() {
        let unified = Contestant { unified: true, ..one.clone() };
        match time(&one) {
            Ok(_) => able.push(one),
            Err(_) if OCI.iter().any(|(name, _)| *name == one.name) && time(&unified).is_ok() => able.push(unified),
            Err(error) if index == 0 => return Err(error),
            Err(error) => say(&format!("left out: {error:#}")),
        }
    }
    Ok(able)
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A bundle's configuration: what `crun spec` writes, without terminal and network namespace.
fn configuration(tree: &Path, words: &[&str], filter: Option<&Value>) -> Value {
    let mount = |kind: &str, at: &str, options: &[&str]| json!({"destination": at, "type": kind, "source": kind, "options": options});
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let namespaces = ["pid", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({"type": kind}));
    let mut linux = json!({
        "namespaces": namespaces,
        "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    if let Some(filter) = filter {
        linux["seccomp"] = filter.clone();
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "cwd": "/", "args": words, "user": {"uid": 0, "gid": 0}, "noNewPrivileges": true,
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "root": {"path": tree, "readonly": false},
        "hostname": "bench",
        "mounts": [
            mount("proc", "/proc", &[]),
            mount("tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("devpts", "/dev/pts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
            mount("sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": linux,
    })
}

/// The usual filter in the form that a bundle has it: the rules for every container, without those that depend on its
/// capabilities or processor.
fn filter(usual: &Value) -> Value {
    let rules = usual["syscalls"].as_array().into_iter().flatten();
    let always = rules.filter(|rule| applies(rule) && rule["action"] == "SCMP_ACT_ALLOW");
    let rules: Vec<_> = always
        .map(|rule| {
            let arguments = rule["args"].as_array().cloned().unwrap_or_default();
            json!({"names": rule["names"], "action": rule["action"], "args": arguments})
        })
        .collect();
    let names: Vec<_> = usual["archMap"].as_array().into_iter().flatten().collect();
    let native = format!("SCMP_ARCH_{}", std::env::consts::ARCH.to_uppercase());
    let own = names.iter().find(|arch| arch["architecture"] == native.as_str());
    let others = own.and_then(|arch| arch["subArchitectures"].as_array().cloned()).unwrap_or_default();
    let architectures: Vec<Value> = std::iter::once(Value::from(native)).chain(others).collect();
    json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": architectures, "syscalls": rules})
}

/// Whether a rule is for every container on this kind of processor.
fn applies(rule: &Value) -> bool {
    let own = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let empty = |key: &str| rule[key].as_object().is_none_or(serde_json::Map::is_empty);
    let for_us = rule["includes"].as_object().is_some_and(|includes| {
        let arches = includes.get("arches").and_then(Value::as_array);
        includes.len() == 1 && arches.is_some_and(|arches| arches.iter().any(|arch| arch == own))
    });
    empty("excludes") && (empty("includes") || for_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditional_rules_are_left_out() {
        let usual = json!({
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": null, "includes": {}, "excludes": {}},
                {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}, "excludes": {}},
                {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "includes": {}, "excludes": {}},
            ],
        });
        let made = filter(&usual);
        assert_eq!(made["syscalls"], json!([{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": []}]));
    }

    #[test]
    fn the_first_must_be_able() {
        let good = Contestant::new("good", &["true"]);
        let bad = Contestant::new("bad", &["false"]);
        assert_eq!(able(vec![good.clone(), bad.clone()]).expect("the first is").len(), 1);
        assert!(able(vec![bad, good]).is_err());
    }
}
