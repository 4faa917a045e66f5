//! Which crate may use which: the order of the architecture, checked on what cargo says the dependencies are.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::Value;

use crate::workspace::{metadata, verdict};

/// What one crate may use of this workspace, by package name without `redd-`.
struct Layer {
    name: &'static str,
    uses: &'static [&'static str],
}

const fn layer(name: &'static str, uses: &'static [&'static str]) -> Layer {
    Layer { name, uses }
}

/// From the ground up: a crate uses only what stands above it in this table.
const LAYERS: &[Layer] = &[
    layer("sys", &[]),
    layer("spec", &[]),
    layer("seccomp", &[]),
    layer("plan", &["spec"]),
    layer("bus", &["sys"]),
    layer("cgroup", &["sys", "bus"]),
    layer("net", &["sys"]),
    layer("image", &["sys", "spec"]),
    layer("machine", &["sys", "spec", "bus", "image"]),
    layer("runtime", &["sys", "spec", "plan", "seccomp", "bus", "cgroup", "net", "image", "machine"]),
    layer("machined", &["sys", "spec", "bus", "cgroup", "image", "machine"]),
    layer("check", &["sys", "spec", "seccomp", "bus", "cgroup", "image"]),
    layer("bootstrap", &["sys", "spec", "image"]),
    layer("media", &["sys", "image", "bootstrap"]),
    layer("spawn", &["sys", "spec", "plan", "image", "runtime"]),
    layer("redd", &["sys", "spec", "cgroup", "image", "machine", "machined", "check", "bootstrap", "media", "spawn"]),
    layer("testkit", &["sys", "spec"]),
    layer("xtask", &["sys", "spec", "testkit"]),
];

/// What tests may use besides.
const FOR_TESTS: &[&str] = &["testkit", "sys", "spec"];

/// All that the crate with the unsafe code builds on.
const GROUND: (&str, &[&str]) = ("sys", &["rustix", "linux-raw-sys", "libc"]);

/// Crates that only compute: they cannot touch the system.
const PURE: (&[&str], &[&str]) = (&["spec", "plan", "seccomp"], &["rustix", "libc", "linux-raw-sys", "tempfile"]);

/// The supervisor of every container stays small: nothing of these is linked into it.
const SMALL: (&str, &[&str]) = ("spawn", &["tokio", "zbus", "zlink", "ureq", "pgp", "rustls", "ring", "clap"]);

/// Checks the workspace.
pub(crate) fn check() -> Result<()> {
    verdict(&problems(&metadata()?))
}

/// The package's name as the table has it.
fn short(package: &Value) -> &str {
    let name = package["name"].as_str().unwrap_or_default();
    name.strip_prefix("redd-").unwrap_or(name)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Everything in what cargo says that breaks the order.
fn problems(metadata: &Value) -> Vec<String> {
    let members: BTreeSet<&str> = list(&metadata["workspace_members"]).filter_map(Value::as_str).collect();
    let packages: BTreeMap<&str, &Value> =
        list(&metadata["packages"]).filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let mut problems = Vec::new();
    let own: Vec<&&Value> = members.iter().filter_map(|id| packages.get(id)).collect();
    let names: BTreeSet<&str> = own.iter().map(|package| short(package)).collect();
    for package in &own {
        direct(package, &names, &mut problems);
    }
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let (small, banned) = SMALL;
    if let Some(id) = members.iter().find(|id| packages.get(*id).is_some_and(|package| short(package) == small)) {
        for linked in linked(id, &nodes) {
            let name = packages.get(linked).and_then(|package| package["name"].as_str()).unwrap_or(linked);
            if banned.contains(&name) {
                problems.push(format!("redd-spawn links {name}"));
            }
        }
    }
    problems
}

/// The dependencies that the package itself names.
fn direct(package: &Value, members: &BTreeSet<&str>, problems: &mut Vec<String>) {
    let name = short(package);
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
        problems.push(format!("{name} is not in the table of layers (xtask/src/layers.rs)"));
        return;
    };
    for dependency in list(&package["dependencies"]) {
        let used = short(dependency);
        let for_tests = dependency["kind"] == "dev";
        if members.contains(used) {
            let allowed = layer.uses.contains(&used) || (for_tests && FOR_TESTS.contains(&used));
            if !allowed {
                problems.push(format!("{name} may not use {used}"));
            }
        } else if !for_tests {
            if name == GROUND.0 && !GROUND.1.contains(&used) {
                problems.push(format!("{name} may not use {used}: it builds on the kernel's interface alone"));
            }
            if PURE.0.contains(&name) && PURE.1.contains(&used) {
                problems.push(format!("{name} may not use {used}: it only computes"));
            }
        }
    }
}

/// All packages that end up in a binary with this one.
fn linked<'a>(from: &'a str, nodes: &BTreeMap<&'a str, &'a Value>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(id) = next.pop() {
        if !seen.insert(id) {
            continue;
        }
        let Some(node) = nodes.get(id) else { continue };
        for dependency in list(&node["deps"]) {
            let normal = list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
            next.extend(dependency["pkg"].as_str().filter(|_| normal));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<_> =
            dependencies.iter().map(|(name, kind)| json!({"name": name, "kind": kind})).collect();
        json!({"id": name, "name": name, "dependencies": dependencies})
    }

    fn found(packages: &[Value]) -> Vec<String> {
        let members: Vec<_> = packages.iter().map(|package| package["id"].clone()).collect();
        problems(&json!({"packages": packages, "workspace_members": members, "resolve": {"nodes": []}}))
    }

    #[test]
    fn upwards_and_sideways_is_refused() {
        let sys = package("redd-sys", &[]);
        let spec = package("redd-spec", &[("redd-sys", None)]);
        assert_eq!(found(&[sys.clone(), spec]), ["spec may not use sys"]);
        let plan = package("redd-plan", &[("redd-spec", None)]);
        assert_eq!(found(&[sys, package("redd-spec", &[]), plan]), [""; 0]);
    }

    #[test]
    fn tests_may_use_the_test_kit() {
        let kit = package("redd-testkit", &[]);
        let tested = package("redd-plan", &[("redd-testkit", Some("dev"))]);
        assert_eq!(found(&[kit.clone(), tested]), [""; 0]);
        let wrong = package("redd-plan", &[("redd-testkit", None)]);
        assert_eq!(found(&[kit, wrong]), ["plan may not use testkit"]);
    }

    #[test]
    fn an_unknown_crate_and_foreign_ones_are_seen() {
        assert_eq!(found(&[package("redd-odds", &[])]), ["odds is not in the table of layers (xtask/src/layers.rs)"]);
        assert_eq!(found(&[package("redd-plan", &[("libc", None)])]), ["plan may not use libc: it only computes"]);
        assert_eq!(
            found(&[package("redd-sys", &[("nix", None)])]),
            ["sys may not use nix: it builds on the kernel's interface alone"]
        );
    }

    #[test]
    fn what_the_supervisor_links_is_followed_all_the_way() {
        let normal = json!([{"kind": null}]);
        let metadata = json!({
            "packages": [package("redd-spawn", &[]), package("middle", &[]), package("tokio", &[]), package("pgp", &[])],
            "workspace_members": ["redd-spawn"],
            "resolve": {"nodes": [
                {"id": "redd-spawn", "deps": [{"pkg": "middle", "dep_kinds": normal}]},
                {"id": "middle", "deps": [
                    {"pkg": "tokio", "dep_kinds": normal},
                    {"pkg": "pgp", "dep_kinds": [{"kind": "dev"}]},
                ]},
            ]},
        });
        assert_eq!(problems(&metadata), ["redd-spawn links tokio"]);
    }

    #[test]
    fn the_table_goes_one_way() {
        for (index, layer) in LAYERS.iter().enumerate() {
            for used in layer.uses {
                assert!(LAYERS[..index].iter().any(|above| above.name == *used), "{} uses {used}", layer.name);
            }
        }
    }
}
