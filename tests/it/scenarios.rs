//! Each `examples/scenarios/*.yaml`, run on the virtual clock, gives the timeline of the same name in `tests/golden/scenarios`.
//!
//! `UPDATE=1 cargo test --test it scenarios` writes the golden files anew. Read the difference as a person on call would: is every line true, is
//! every move right?

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use plimsoll::sim::{self, Scenario};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn names(folder: &Path, extension: &str) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

fn timeline(name: &str) -> sim::Report {
    let text = fs::read_to_string(root().join("examples/scenarios").join(format!("{name}.yaml"))).unwrap();
    let scenario = Scenario::read(&text).unwrap_or_else(|error| panic!("{name}.yaml: {error}"));
    sim::run(&scenario, 1)
}

#[test]
fn timelines() {
    let update = std::env::vars().any(|(name, _)| name == "UPDATE");
    let golden = root().join("tests/golden/scenarios");
    let mut wrong = Vec::new();
    for name in names(&root().join("examples/scenarios"), "yaml") {
        let report = timeline(&name);
        let file = golden.join(format!("{name}.txt"));
        let text = format!("{}\n{}", report.timeline, report.summary);
        if !report.violations.is_empty() {
            wrong.push(format!("{name}: {:#?}", report.violations));
        }
        if update {
            fs::write(&file, &text).unwrap();
        } else if fs::read_to_string(&file).unwrap_or_default() != text {
            wrong.push(format!("{name} differs from tests/golden/scenarios/{name}.txt:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n\nUPDATE=1 writes the timelines anew", wrong.join("\n\n"));
}

#[test]
fn every_golden_timeline_has_its_scenario() {
    assert_eq!(names(&root().join("tests/golden/scenarios"), "txt"), names(&root().join("examples/scenarios"), "yaml"));
}
