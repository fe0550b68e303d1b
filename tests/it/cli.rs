//! The command line as people meet it: the built program, its output word for word, and what it says to wrong input.
//!
//! `UPDATE=1 cargo test --test it cli` writes the golden files anew.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const SHOP: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: ProductionService\nmetadata: {name: shop}\n";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the program in the repository's root, with this on its standard input, and nobody's cluster.
fn plimsoll(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(arguments).current_dir(repository()).env_clear().env("HOME", "/nonexistent");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that does not read its input closes it early.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Standard output of a run that has to succeed.
fn printed(arguments: &[&str], input: &str) -> String {
    let output = plimsoll(arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Standard error of a run that has to be refused with exit code 1 and print nothing else.
fn refused(arguments: &[&str], input: &str) -> String {
    let output = plimsoll(arguments, input);
    assert_eq!(output.status.code(), Some(1), "{arguments:?} {input}: {}", text(&output.stdout));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    text(&output.stderr)
}

fn assert_golden(name: &str, printed: &str) {
    let path = repository().join("tests/golden").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, printed).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(printed, golden, "{} has changed: look at the difference, then UPDATE=1", path.display());
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    files.sort();
    files
}

#[test]
fn the_smallest_service_becomes_these_objects() {
    assert_golden("render-minimal.yaml", &printed(&["render", "-f", "examples/minimal.yaml"], ""));
    assert_golden("render-minimal-explained.txt", &printed(&["render", "-f", "examples/minimal.yaml", "--explain"], ""));
    assert_golden("render-full-explained.txt", &printed(&["render", "-f", "examples/full.yaml", "--explain"], ""));
}

#[test]
fn the_same_objects_as_json_and_from_standard_input() {
    let list: Value = serde_json::from_str(&printed(&["render", "-f", "examples/minimal.yaml", "-o", "json"], "")).unwrap();
    assert_eq!((list["apiVersion"].as_str(), list["kind"].as_str()), (Some("v1"), Some("List")));
    let kinds: Vec<_> = list["items"].as_array().unwrap().iter().filter_map(|item| item["kind"].as_str()).collect();
    assert_eq!(
        kinds,
        ["ServiceAccount", "ConfigMap", "PodDisruptionBudget", "Deployment", "Service"],
        "in the order in which they are applied"
    );
    let file = std::fs::read_to_string(repository().join("examples/minimal.yaml")).unwrap();
    let yaml = printed(&["render", "-f", "-"], &file);
    assert_eq!(yaml, printed(&["render", "-f", "examples/minimal.yaml"], ""));
    let documents: Vec<Value> = serde_saphyr::from_multiple(&yaml).unwrap();
    assert_eq!(
        documents.iter().filter(|document| !document.is_null()).collect::<Vec<_>>(),
        list["items"].as_array().unwrap().iter().collect::<Vec<_>>()
    );
}

#[test]
fn what_the_api_server_accepts_is_rendered() {
    let right = [files("examples"), files("tests/specs/right")].concat();
    assert!(right.len() >= 10, "only {} files", right.len());
    for path in right {
        let objects = printed(&["render", "-f", path.to_str().unwrap()], "");
        assert!(objects.contains("kind: Deployment"), "{}", path.display());
        printed(&["render", "--explain", "-f", path.to_str().unwrap()], "");
    }
}

#[test]
fn each_fault_is_said_with_its_line_and_its_remedy() {
    let cases = [
        // why                        spec                                                                            said
        ("a typing error", "spec:\n  image: shop:1\n  replcas: 3\n", "-:6: spec.replcas: there is no such field; did you mean replicas?"),
        (
            "a wrong type",
            "spec:\n  image: shop:1\n  replicas: \"3\"\n",
            "-:6: spec.replicas: is \"3\": write a whole number, without quotes.",
        ),
        (
            "beyond a limit",
            "spec:\n  image: shop:1\n  replicas: 1001\n",
            "-:6: spec.replicas: 1001 is above 1000. Number of pods, 0 to 1000.",
        ),
        ("something missing", "spec:\n  ports: []\n", "-:4: spec.image: is missing: write it."),
        (
            "an unknown word",
            "spec:\n  image: shop:1\n  network:\n    policy: closed\n",
            "-:7: spec.network.policy: \"closed\" is not known: write one of open, isolated.",
        ),
        ("deep inside", "spec:\n  image: shop:1\n  ports:\n  - name: http\n    port: 0\n", "-:8: spec.ports[0].port: 0 is below 1."),
        (
            "only decide can tell",
            "spec:\n  image: shop:1\n  config: {configMapRefs: [{name: flags}]}\n",
            "-:6: spec.config.configMapRefs[0].name: ConfigMap flags does not exist in this namespace; create it (here: add it to this file",
        ),
        (
            "a weight out of reach",
            "spec:\n  image: shop:1\n  rollout:\n    strategy:\n      canary:\n        steps: [{weight: 90}]\n",
            "-:9: spec.rollout.strategy.canary.steps[0].weight: 90 percent cannot be reached",
        ),
        (
            "a share out of range",
            "spec:\n  image: shop:1\n  rollout:\n    analysis: {falseAlarm: \"90%\"}\n",
            "spec.rollout.analysis.falseAlarm",
        ),
        ("no spec at all", "", "-:1: spec: is empty: write a map of fields."),
    ];
    for (why, spec, said) in cases {
        let answer = refused(&["render", "-f", "-"], &format!("{SHOP}{spec}"));
        assert!(answer.contains(said), "{why}: {answer:?} instead of {said:?}");
    }
    let two = refused(&["render", "-f", "-"], &format!("{SHOP}spec:\n  replicas: -1\n  imag: shop:1\n"));
    assert_eq!(two.lines().count(), 3, "every fault at once: {two}");
}

#[test]
fn what_is_no_service_is_refused_or_passed_over() {
    let cases = [
        ("nothing", "", "-:1: there is no ProductionService in this file"),
        ("no YAML", "a: [1\nb: 2\n", "-:2: this is not YAML"),
        (
            "another version",
            "apiVersion: plimsoll.dev/v1\nkind: ProductionService\n",
            "-:1: apiVersion: \"plimsoll.dev/v1\" is not known: write plimsoll.dev/v1alpha1",
        ),
        ("no kind", "apiVersion: v1\n", "-:1: kind is missing"),
        ("another kind", "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n", "passed over: Secret x on line 2"),
        ("no name", "apiVersion: plimsoll.dev/v1alpha1\nkind: ProductionService\nspec: {image: a}\n", "metadata.name: is missing"),
    ];
    for (why, file, said) in cases {
        let answer = refused(&["render", "-f", "-"], file);
        assert!(answer.contains(said), "{why}: {answer:?} instead of {said:?}");
    }
    let answer = refused(&["render", "-f", "no-such-file.yaml"], "");
    assert!(answer.contains("cannot read no-such-file.yaml"), "{answer}");
}

#[test]
fn config_maps_of_the_file_are_part_of_the_revision() {
    let with = |value: &str| {
        let map = format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: flags}}\ndata: {{A: \"{value}\"}}\n");
        printed(&["render", "-f", "-"], &format!("{SHOP}spec:\n  image: shop:1\n  config: {{configMapRefs: [{{name: flags}}]}}\n{map}"))
    };
    let revision = |objects: &str| objects.lines().next().unwrap().to_owned();
    assert_ne!(revision(&with("1")), revision(&with("2")));
    assert_eq!(revision(&with("1")), revision(&with("1")));
}

#[test]
fn the_committed_definition_is_printed() {
    let committed = std::fs::read_to_string(repository().join("crds/plimsoll.dev_productionservices.yaml")).unwrap();
    assert!(printed(&["crd"], "") == committed, "crds/ is old: run `make crds`");
    let chart = std::fs::read_to_string(repository().join("charts/plimsoll/files/crds.yaml")).unwrap();
    assert!(chart == committed, "the chart's copy is old: run `make crds`");
}

#[test]
fn a_scenario_is_played_offline() {
    let timeline = printed(&["simulate", "examples/scenarios/canary-good.yaml"], "");
    assert!(timeline.contains("promoted") && !timeline.contains("VIOLATED"), "{timeline}");
    assert_eq!(printed(&["simulate", "examples/scenarios/canary-good.yaml"], ""), timeline, "the same seed, the same timeline");
    let answer = refused(&["simulate", "no-such-file.yaml"], "");
    assert!(answer.contains("cannot read no-such-file.yaml"), "{answer}");
    let answer = refused(&["simulate", "examples/minimal.yaml"], "");
    assert!(answer.contains("examples/minimal.yaml"), "{answer}");
}

#[test]
fn what_a_strategy_does_to_a_bad_version() {
    let seconds = |candidate: &str| printed(&["simulate", "-q", "-f", "examples/canary.yaml", "--candidate", candidate], "");
    let bad = seconds("bad-at-50%");
    assert!(bad.contains("a new version, bad-at-50%") && bad.contains("rolled back") && bad.contains("requests failed"), "{bad}");
    let good = seconds("good");
    assert!(good.contains("promoted") && good.contains("users: 0 of "), "{good}");
    let crashing = seconds("crash-loop");
    assert!(crashing.contains("rolled back at") && crashing.contains("users: 0 of "), "{crashing}");
    let answer = refused(&["simulate", "-f", "examples/canary.yaml", "--candidate", "ugly"], "");
    assert!(answer.contains("bad-at-5%"), "{answer}");
}

#[test]
fn help_names_every_subcommand() {
    let help = printed(&["--help"], "");
    for subcommand in ["run", "status", "render", "simulate", "crd"] {
        assert!(help.contains(&format!("\n  {subcommand} ")), "{subcommand}: {help}");
        assert!(printed(&[subcommand, "--help"], "").contains("Usage: plimsoll"), "{subcommand}");
    }
    let unknown = plimsoll(&["rendr"], "");
    assert!(!unknown.status.success() && text(&unknown.stderr).contains("render"), "{}", text(&unknown.stderr));
}

#[test]
fn without_a_cluster_status_says_so() {
    let answer = refused(&["status", "shop"], "");
    assert!(answer.contains("no cluster to talk to"), "{answer}");
    let answer = refused(&["status", "shop", "--kubeconfig", "no-such-file"], "");
    assert!(answer.contains("cannot read no-such-file"), "{answer}");
    let answer = plimsoll(&["status", "shop", "--timeout", "soon"], "");
    assert!(text(&answer.stderr).contains("write for example 90s, 5m or 1h"), "{}", text(&answer.stderr));
}
