//! What the API server itself says to right and to wrong specs, with nothing but the definition installed.
//!
//! A wrong spec names what it expects in comments: `# expect: TEXT`, once or more, is part of the API server's answer. One that carries
//! `# accepted: false (REASON)` is let through: only the operator can tell, and its condition `Accepted` says REASON and TEXT.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::until;
use crate::objects::client;
use crate::{bed, bed_with_namespace, repository};

/// Fewest wrong specs of each kind, so that a lost folder is not a passed test.
const REFUSED: usize = 140;
const NOT_ACCEPTED: usize = 3;

#[tokio::test]
async fn wrong_specs_are_refused_in_the_words_that_they_expect() {
    let bed = bed_with_namespace("admission-wrong").await;
    let client = client(bed).await;
    let mut faults = Vec::new();
    let mut refused = 0;
    for path in files(&["tests/specs/wrong"]).into_iter().filter(|path| !is_let_through(path)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let expected: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# expect: ")).collect();
        assert!(!expected.is_empty(), "{} expects nothing", path.display());
        match create(&client, "admission-wrong", &text).await {
            Ok(()) => faults.push(format!("{}: accepted", path.display())),
            Err(answer) => {
                refused += 1;
                let missing = expected.into_iter().filter(|text| !answer.contains(text));
                faults.extend(missing.map(|text| format!("{}: no {text:?} in {answer:?}", path.display())));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(refused >= REFUSED, "only {refused} specs were refused");
}

#[tokio::test]
async fn right_specs_and_examples_are_accepted() {
    let bed = bed_with_namespace("admission-right").await;
    let let_through: Vec<_> = files(&["tests/specs/wrong"]).into_iter().filter(|path| is_let_through(path)).collect();
    assert!(let_through.len() >= NOT_ACCEPTED, "only {} specs are left to the operator", let_through.len());
    let right = files(&["tests/specs/right", "examples"]);
    assert!(right.len() >= 10, "only {} right specs", right.len());
    for path in right.into_iter().chain(let_through) {
        let file = path.to_str().unwrap();
        let arguments = ["apply", "--validate=strict", "--dry-run=server", "--namespace=admission-right", "--filename", file];
        let answer = bed.kubectl(&arguments).await.unwrap_or_else(|error| panic!("{file}: {error:#}"));
        assert!(answer.contains("productionservice.plimsoll.dev/"), "{file}: {answer}");
    }
}

/// Limits that only a very large object meets; it is made here rather than kept in a file.
#[tokio::test]
async fn configuration_beyond_a_config_map_is_refused() {
    let client = client(bed_with_namespace("admission-large").await).await;
    let service = |files: usize| {
        let files: serde_json::Map<_, _> = (0..files).map(|index| (format!("/etc/file-{index}"), "x".repeat(230_400).into())).collect();
        let spec = json!({"image": "registry.example/shop:1", "config": {"files": files}});
        json!({"apiVersion": "plimsoll.dev/v1alpha1", "kind": "ProductionService", "metadata": {"name": "shop"}, "spec": spec}).to_string()
    };
    create(&client, "admission-large", &service(4)).await.expect("900 KiB are accepted");
    let answer = create(&client, "admission-large", &service(5)).await.expect_err("more is refused");
    assert!(answer.contains("files and env have more than 900 KiB together"), "{answer}");
}

/// The API server estimates each rule's worst case and refuses a definition beyond its budget, per rule and in sum. It accepts ours with
/// every rule written ten times over, so both are below a tenth. (Measured with Kubernetes 1.37: 3.4 % in sum, 5.4 % for the dearest.)
#[tokio::test]
async fn the_rules_cost_less_than_a_tenth_of_the_budget() {
    let bed = bed().await;
    let mut tenfold = plimsoll::api::crd::definition().unwrap();
    let rules = multiply_rules(&mut tenfold, 10);
    assert!(rules > 80, "only {rules} rules");
    let arguments = ["replace", "--dry-run=server", "--validate=strict", "--filename=-"];
    // A busy API server takes longer for this than it takes any request to last.
    let answer = async |definition: &Value| {
        until("the API server has counted", async || {
            let answer = bed.kubectl_with_input(&arguments, &definition.to_string()).await.map_err(|error| format!("{error:#}"));
            Some(answer).filter(|answer| !answer.as_ref().is_err_and(|error| error.contains("Timeout")))
        })
        .await
    };
    answer(&tenfold).await.expect("ten times the rules fit into the budget");

    // The same question with the other answer: without the limits on lists the rules are too dear.
    let mut unlimited = plimsoll::api::crd::definition().unwrap();
    remove(&mut unlimited, "maxItems");
    let refused = answer(&unlimited).await.expect_err("no limits, no bound on the cost");
    assert!(refused.contains("exceeds budget"), "{refused}");
}

#[tokio::test]
async fn applying_twice_changes_nothing() {
    let bed = bed_with_namespace("admission-twice").await;
    let definition = repository().join("crds");
    let again = bed.kubectl(&["apply", "--filename", definition.to_str().unwrap()]).await.unwrap();
    assert!(again.contains("unchanged"), "{again}");
    let example = repository().join("examples/full.yaml");
    let apply = ["apply", "--validate=strict", "--namespace=admission-twice", "--filename", example.to_str().unwrap()];
    let first = bed.kubectl(&apply).await.unwrap();
    assert!(first.contains("created"), "{first}");
    let second = bed.kubectl(&apply).await.unwrap();
    assert!(!second.contains("configured"), "a default was written into the object: {second}");
}

#[tokio::test]
async fn kubectl_knows_the_kind() {
    let bed = bed_with_namespace("admission-kubectl").await;
    let example = repository().join("examples/minimal.yaml");
    let here = "--namespace=admission-kubectl";
    bed.kubectl(&["apply", here, "--filename", example.to_str().unwrap()]).await.unwrap();

    let table = bed.kubectl(&["get", "psvc", here]).await.unwrap();
    assert_eq!(columns(&table), ["NAME", "IMAGE", "PHASE", "STEP", "WEIGHT", "READY", "AGE"]);
    let wide = bed.kubectl(&["get", "productionservices", here, "--output=wide"]).await.unwrap();
    assert_eq!(columns(&wide)[7..], ["STABLE", "CANDIDATE", "VERDICT"]);
    let all = bed.kubectl(&["get", "all", here]).await.unwrap();
    assert!(all.contains("productionservice.plimsoll.dev/checkout"), "{all}");

    bed.kubectl(&["scale", "psvc/checkout", "--replicas=5", here]).await.unwrap();
    let replicas = bed.kubectl(&["get", "psvc/checkout", here, "--output=jsonpath={.spec.replicas}"]).await.unwrap();
    assert_eq!(replicas, "5");
    let refused = bed.kubectl(&["scale", "psvc/checkout", "--replicas=1001", here]).await.expect_err("the limits hold for the subresource");
    assert!(format!("{refused:#}").contains("less than or equal to 1000"), "{refused:#}");

    // The status subresource: a writer of the spec cannot write it.
    let forged = ["patch", "psvc/checkout", here, "--type=merge", "--patch", r#"{"status":{"message":"all is well"}}"#];
    bed.kubectl(&forged).await.unwrap();
    let status = bed.kubectl(&["get", "psvc/checkout", here, "--output=jsonpath={.status}"]).await.unwrap();
    assert_eq!(status, "");
}

#[tokio::test]
async fn explain_is_the_manual() {
    let bed = bed().await;
    let cases = [
        ("productionservice", "compares each new version with the running one"),
        ("psvc.spec", "Number of pods, 0 to 1000. Default: 2."),
        ("psvc.spec.health", "Default: 45."),
        ("psvc.spec.health.readiness", "Seconds between two tries, 1 to 3600."),
        ("psvc.spec.scaling", "Most pods, 1 to 1000."),
        ("psvc.spec.rollout", "Default: 600."),
        ("psvc.spec.rollout.strategy", "A little traffic first"),
        ("psvc.spec.rollout.strategy.canary.steps", "Percent of the traffic"),
        ("psvc.spec.rollout.analysis", "Default: 5."),
        ("psvc.spec.control", "While true no rollout starts"),
        ("psvc.status", "Where the service stands, in one word"),
    ];
    for (field, expected) in cases {
        let page = bed.kubectl(&["explain", field]).await.unwrap();
        let flowing = page.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flowing.contains(expected), "kubectl explain {field} does not say {expected:?}:\n{page}");
        assert!(!page.contains("<no description>") && !page.contains("<empty>"), "kubectl explain {field}:\n{page}");
    }
}

/// Creates the object with strict field validation, as a dry run. The error is the API server's answer.
async fn create(client: &kube::Client, namespace: &str, text: &str) -> Result<(), String> {
    let request = http::Request::post(format!(
        "/apis/plimsoll.dev/v1alpha1/namespaces/{namespace}/productionservices?dryRun=All&fieldValidation=Strict"
    ))
    .header("content-type", "application/yaml")
    .body(text.as_bytes().to_vec())
    .unwrap();
    match client.request_text(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("no answer: {error:?}"),
    }
}

/// The YAML files of these folders, in order.
fn files(folders: &[&str]) -> Vec<PathBuf> {
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(repository().join(folder)).unwrap());
    let mut files: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    files
}

fn is_let_through(path: &Path) -> bool {
    std::fs::read_to_string(path).unwrap().contains("# accepted: false")
}

fn columns(table: &str) -> Vec<&str> {
    table.lines().next().unwrap_or_default().split_whitespace().collect()
}

fn remove(value: &mut Value, keyword: &str) {
    match value {
        Value::Object(map) => {
            map.remove(keyword);
            map.values_mut().for_each(|below| remove(below, keyword));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| remove(item, keyword)),
        _ => {}
    }
}

/// Makes each rule an `&&` of so many copies of itself, and says how many rules there are.
fn multiply_rules(value: &mut Value, times: usize) -> usize {
    let mut count = 0;
    match value {
        Value::Object(map) => {
            for (key, below) in map {
                if key == "x-kubernetes-validations" {
                    for rule in below.as_array_mut().unwrap() {
                        let one = format!("({})", rule["rule"].as_str().unwrap());
                        rule["rule"] = vec![one; times].join(" && ").into();
                        count += 1;
                    }
                } else {
                    count += multiply_rules(below, times);
                }
            }
        }
        Value::Array(items) => count += items.iter_mut().map(|item| multiply_rules(item, times)).sum::<usize>(),
        _ => {}
    }
    count
}
