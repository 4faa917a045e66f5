use proptest::prelude::*;

use super::*;

fn pool(text: &str) -> Vec<Package> {
    let text: String = text
        .split('\n')
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            // "name version | Field: value | …"
            let mut parts = line.trim().split(" | ");
            let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
            let fields: String = parts.map(|field| format!("{field}\n")).collect();
            format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n{fields}\n")
        })
        .collect();
    Package::parse_index(&text.as_str().into()).unwrap()
}

fn request(packages: &str, exclude: &str) -> Request {
    let set = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    Request { packages: set(packages), exclude: set(exclude) }
}

fn chosen(available: &[Package], packages: &str, exclude: &str) -> Result<Vec<String>, String> {
    let show = |package: &&Package| format!("{}={}", package.name(), package.version());
    let mut names: Vec<String> = resolve(available, &request(packages, exclude))
        .map_err(|error| error.to_string())?
        .packages
        .iter()
        .map(show)
        .collect();
    names.sort();
    Ok(names)
}

#[test]
fn dependencies_come_along() {
    let available = pool("a 1 | Depends: b, c (>= 2)\nb 1 | Pre-Depends: d\nc 1\nc 2\nd 1\ne 1");
    assert_eq!(chosen(&available, "a", "").unwrap(), ["a=1", "b=1", "c=2", "d=1"]);
}

#[test]
fn the_first_alternative_is_preferred_and_one_that_is_there_will_do() {
    let available = pool("a 1 | Depends: x|y\nb 1 | Depends: y\nx 1\ny 1\nc 1 | Depends: gone|y");
    assert_eq!(chosen(&available, "a", "").unwrap(), ["a=1", "x=1"]);
    assert_eq!(chosen(&available, "y a", "").unwrap(), ["a=1", "y=1"]);
    assert_eq!(chosen(&available, "c", "").unwrap(), ["c=1", "y=1"]);
    assert_eq!(chosen(&available, "a", "x").unwrap(), ["a=1", "y=1"]);
}

#[test]
fn provided_names_count_with_their_versions() {
    let available = pool(
        "a 1 | Depends: mail\nb 1 | Depends: mail (>= 2)\np 1 | Provides: mail\nq 1 | Provides: mail (= 2) | Priority: optional\n\
         r 1 | Provides: mail | Priority: required",
    );
    assert_eq!(chosen(&available, "a", "").unwrap(), ["a=1", "r=1"]);
    assert_eq!(chosen(&available, "b", "").unwrap(), ["b=1", "q=1"]);
    assert_eq!(chosen(&available, "mail", "p r").unwrap(), ["q=1"]);
}

/// What was asked for by a name that it provides is not there for others only.
#[test]
fn who_fulfils_a_name_that_was_asked_for_is_wanted() {
    let available = pool(
        "vim 1 | Provides: editor | Depends: lib\nnano 1 | Provides: editor | Priority: important\nlib 1\n\
         a 1 | Depends: vim\nsh 1 | Provides: editor | Essential: yes",
    );
    let wanted = |packages, exclude| {
        let chosen = resolve(&available, &request(packages, exclude)).unwrap();
        chosen.wanted.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(wanted("editor", ""), "sh");
    assert_eq!(wanted("editor", "sh"), "nano");
    assert_eq!(wanted("editor", "sh nano"), "vim");
    // One that is there by its own name will do, one that comes later only because it is needed is not meant.
    assert_eq!(wanted("a editor", "sh nano"), "a vim");
    assert_eq!(wanted("a editor", "sh"), "a nano");
    assert_eq!(wanted("editor vim", "sh nano"), "vim");
    assert_eq!(wanted("lib", ""), "lib");
}

#[test]
fn a_choice_that_leads_into_a_conflict_is_taken_back() {
    let available = pool("a 1 | Depends: x|y, z\nx 1\ny 1\nz 1 | Conflicts: x");
    assert_eq!(chosen(&available, "a", "").unwrap(), ["a=1", "y=1", "z=1"]);
    let available = pool("a 1 | Depends: l (>= 1), b\nl 1\nl 2\nb 1 | Depends: l (= 1)");
    assert_eq!(chosen(&available, "a", "").unwrap(), ["a=1", "b=1", "l=1"]);
    // Who provides a name can conflict with all others that do.
    let available = pool("m 1 | Provides: mta | Conflicts: mta");
    assert_eq!(chosen(&available, "m", "").unwrap(), ["m=1"]);
}

#[test]
fn errors_tell_the_chain() {
    let available = pool("a 1 | Depends: b\nb 1 | Depends: c (>= 2)\nc 1\nd 1 | Depends: e\ne 1 | Breaks: f\nf 1");
    let error = chosen(&available, "a", "").unwrap_err();
    assert_eq!(error, "'a' → 'b' needs 'c (>= 2)', which cannot be installed: 'c' is there only in version 1");
    assert_eq!(chosen(&available, "nothing", "").unwrap_err(), "there is no package 'nothing' in this release");
    let error = chosen(&available, "d", "e").unwrap_err();
    assert_eq!(error, "'d' needs 'e', which cannot be installed: 'e' is excluded");
    let error = chosen(&available, "d f", "").unwrap_err();
    assert!(error.contains("goes not together"), "{error}");
}

#[test]
fn packages_of_other_architectures_do_not_count() {
    let available = pool("a 1 | Depends: b:any, c:native\nb 1\nc 1\nd 1 | Depends: b:arm64");
    assert_eq!(chosen(&available, "a", "").unwrap(), ["a=1", "b=1", "c=1"]);
    assert!(chosen(&available, "d", "").is_err());
}

#[test]
fn dependencies_stand_before_what_needs_them_and_the_base_before_all() {
    let available = pool("a 1 | Depends: b\nb 1 | Depends: c\nc 1 | Depends: a\nz 1\nbase-files 1 | Depends: z");
    let request = request("a base-files", "");
    let names: Vec<&str> =
        resolve(&available, &request).unwrap().packages.iter().map(|package| package.name()).collect();
    assert_eq!(names[0], "base-files");
    assert_eq!(names.len(), 5);
}

proptest! {
    #[test]
    fn a_solution_is_one(edges in proptest::collection::vec((0usize..8, 0usize..8, 0usize..8), 0..16), against in proptest::collection::vec((0usize..8, 0usize..8), 0..6)) {
        let mut text = String::new();
        for one in 0..8 {
            text.push_str(&format!("p{one} 1"));
            let depends: Vec<String> = edges.iter().filter(|edge| edge.0 == one).map(|edge| format!("p{} | p{}", edge.1, edge.2)).collect();
            let conflicts: Vec<String> = against.iter().filter(|pair| pair.0 == one).map(|pair| format!("p{}", pair.1)).collect();
            // The separator of the test's own notation is not that of alternatives.
            if !depends.is_empty() { text.push_str(&format!(" | Depends: {}", depends.join(", ").replace(" | ", "|"))); }
            if !conflicts.is_empty() { text.push_str(&format!(" | Conflicts: {}", conflicts.join(", "))); }
            text.push('\n');
        }
        let available = pool(&text);
        let possible = (0u32..256).any(|set| {
            let has = |one: usize| set >> one & 1 != 0;
            has(0) && edges.iter().all(|e| !has(e.0) || has(e.1) || has(e.2))
                && against.iter().all(|c| c.0 == c.1 || !has(c.0) || !has(c.1))
        });
        match resolve(&available, &request("p0", "")) {
            Ok(solution) => {
                let has = |one: usize| solution.packages.iter().any(|package| package.name() == format!("p{one}"));
                prop_assert!(possible && has(0));
                prop_assert!(edges.iter().all(|e| !has(e.0) || has(e.1) || has(e.2)));
                prop_assert!(against.iter().all(|c| c.0 == c.1 || !has(c.0) || !has(c.1)));
            }
            Err(_) => prop_assert!(!possible),
        }
    }
}
