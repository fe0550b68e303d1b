//! The arrows between the folders, the layout, the length of files, and no trace of the machine on which they were written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MOST_LINES: usize = 400;

/// Longer files, each with its reason.
const LONG: [(&str, &str); 3] = [
    ("src/decide/tests.rs", "one small world, and what must hold in it second by second"),
    ("src/decide/plan.rs", "the only home of defaults, with its tables at its foot"),
    ("src/controller/cache.rs", "what is kept of every kind that is watched, one after another"),
];

/// What each folder may name of the crate. `api ← decide ← {controller, sim} ← {web, cli} ← main`; controller and sim never meet.
const ARROWS: [(&str, &[&str]); 6] = [
    ("api", &["api"]),
    ("decide", &["api", "decide"]),
    ("controller", &["api", "decide", "controller"]),
    ("sim", &["api", "decide", "sim"]),
    ("web", &["api", "decide", "controller", "sim", "web"]),
    ("cli", &["api", "decide", "controller", "sim", "web", "cli"]),
];

/// What the pure folders must not name: I/O, clocks, logging, random order.
const IMPURE: [&str; 13] = [
    "tokio",
    "reqwest",
    "tracing",
    "kube::Client",
    "std::fs",
    "std::env",
    "TcpStream",
    "UdpSocket",
    "ToSocketAddrs",
    "SystemTime",
    "std::time::Instant",
    "Timestamp::now",
    "HashMap",
];
const PURE: [&str; 3] = ["api", "decide", "sim"];

/// Everything that lies at the top of the repository, besides what git and cargo put there.
const TOP: [&str; 25] = [
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".dockerignore",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "benches",
    "charts",
    "crds",
    "docs",
    "examples",
    "rustfmt.toml",
    "src",
    "tests",
];

#[test]
fn the_arrows_hold() {
    let arrows = BTreeMap::from(ARROWS);
    let mut seen = 0;
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let folder = path.split('/').nth(1).unwrap_or_default();
        let Some(allowed) = arrows.get(folder.trim_end_matches(".rs")) else {
            if folder != "lib.rs" && folder != "main.rs" {
                faults.push(format!("{path}: {folder} is not a folder of architecture.md"));
            }
            continue;
        };
        for named in crate_names(&text) {
            seen += 1;
            if !allowed.contains(&named.as_str()) {
                faults.push(format!("{path}: names crate::{named}; {folder} may name {allowed:?}"));
            }
        }
        if text.contains("super::super") {
            faults.push(format!("{path}: super::super; write the path from crate::"));
        }
    }
    assert!(seen > 50, "only {seen} paths were looked at");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_way_to_name_the_crate_is_seen() {
    let cases: [(&str, &[&str]); 4] = [
        ("use crate::api::health::Probe;", &["api"]),
        ("use crate::{api, decide::plan};", &["api", "decide"]),
        ("use crate::{\n    api::{pod, volume},\n    sim,\n};", &["api", "sim"]),
        ("let a = crate::decide::decide(crate::api::x);", &["decide", "api"]),
    ];
    for (text, expected) in cases {
        assert_eq!(crate_names(text), expected, "{text}");
    }
}

#[test]
fn pure_folders_touch_nothing() {
    let faults: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| PURE.iter().any(|folder| path.starts_with(&format!("src/{folder}/"))))
        .flat_map(|(path, text)| {
            let code: String = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
            IMPURE.into_iter().filter(move |word| code.contains(word)).map(move |word| format!("{path}: {word}"))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_are_short() {
    let long = BTreeMap::from(LONG);
    let lines: BTreeMap<_, _> = sources().into_iter().map(|(path, text)| (path, text.lines().count())).collect();
    let mut faults: Vec<_> = lines
        .iter()
        .filter(|(path, lines)| **lines > MOST_LINES && !long.contains_key(path.as_str()))
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    let idle = long.keys().filter(|path| lines.get(**path).is_none_or(|lines| *lines <= MOST_LINES));
    faults.extend(idle.map(|path| format!("{path} is short: take it off the list")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let mut all: Vec<_> = lines.into_values().collect();
    all.sort_unstable();
    let median = all[all.len() / 2];
    assert!(median <= 150, "half of the files have more than {median} lines");
}

#[test]
fn nothing_strange_lies_at_the_top() {
    let names = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let strange: Vec<_> = names.filter(|name| !TOP.contains(&name.as_str()) && name != ".git" && name != "target").collect();
    assert!(strange.is_empty(), "{strange:?}: not in architecture.md");
    for needed in ["Cargo.toml", "Cargo.lock", "LICENSE", "src", "crds", "charts", "examples", "tests"] {
        assert!(root().join(needed).exists(), "{needed} is missing");
    }
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    // In two parts, or this file would be found.
    let traces = [["/wo", "rk/"], ["/ro", "ot/"], ["/home", "/"], ["/tmp/te", "am"], ["/tmp/w", "t/"], ["local", "host:3128"]]
        .map(|parts| parts.concat());
    let mut looked_at = 0;
    let mut faults = Vec::new();
    for path in files(root()).into_iter().filter(|path| path.metadata().is_ok_and(|metadata| metadata.len() < 4 << 20)) {
        // What is not text was not written by hand.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        looked_at += 1;
        faults.extend(traces.iter().filter(|trace| text.contains(*trace)).map(|trace| format!("{}: {trace}", path.display())));
    }
    assert!(looked_at > 200, "only {looked_at} files were looked at");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What follows `crate::`, braces opened, in order.
fn crate_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for after in text.split("crate::").skip(1) {
        if let Some(group) = after.strip_prefix('{') {
            let mut depth = 0_usize;
            let mut top = String::new();
            for letter in group.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    _ if depth == 0 => top.push(letter),
                    _ => {}
                }
            }
            names.extend(top.split(',').map(identifier).filter(|name| !name.is_empty()));
        } else {
            names.push(identifier(after));
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.trim_start().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// Path from the root, and text, of each source file of the crate.
fn sources() -> Vec<(String, String)> {
    let rust = files(&root().join("src")).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    rust.map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), text)
    })
    .collect()
}

/// Every file below a folder, without what git and cargo keep.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            // Made by git, cargo and npm, not written by hand.
            if ![".git", "target", "node_modules", "dist"].iter().any(|made| path.ends_with(made)) {
                files.extend(self::files(&path));
            }
        } else if !path.ends_with(".git") {
            // In a git worktree `.git` is a file that names the machine's own path.
            files.push(path);
        }
    }
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
