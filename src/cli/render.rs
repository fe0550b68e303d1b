//! `plimsoll render`: every object that a `ProductionService` becomes, from a file, without a cluster.

mod explain;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::document::{self, Document};
use super::schema::{self, Fault};
use crate::api::{ProductionService, crd};
use crate::decide::plan::{self, Plan};
use crate::decide::strategy::{Front, Target};
use crate::decide::traffic::Routing;
use crate::decide::{Around, Contents, Snapshot, render};

/// Stands for the uid that only a cluster can give.
const UID: &str = "00000000-0000-0000-0000-000000000000";
/// Where objects go that name no namespace.
const NAMESPACE: &str = "default";

/// Prints every object that a `ProductionService` becomes, from a file. No cluster is needed.
///
/// The objects are those of a service whose first revision is ready, in the order in which they are applied. ConfigMaps in the same file
/// serve as those that `config.configMapRefs` name; anything else in it is passed over. Fields, types and limits are checked as the API
/// server does; rules between fields are checked by the API server only. Exit code 1: the file is refused, each fault is said with its line.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// File with one or more YAML documents; `-` reads standard input.
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
    /// Instead of the objects: every value that was decided, whether the spec or a default decided it, and why.
    #[arg(long)]
    explain: bool,
    /// Format.
    #[arg(short, long, value_enum, default_value = "yaml", conflicts_with = "explain")]
    output: Format,
    /// Namespace of a service that names none.
    #[arg(short, long, default_value = NAMESPACE)]
    namespace: String,
    /// Namespace in which the operator runs: an isolated service lets it in where its metrics are.
    #[arg(long, value_name = "NAMESPACE", default_value = "plimsoll-system")]
    operator_namespace: String,
}

/// Format of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One YAML document for each object.
    Yaml,
    /// A `v1/List`.
    Json,
}

/// Runs the subcommand.
///
/// # Errors
/// When the file cannot be read. A file that is refused is said on standard error and answered with exit code 1.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let text = text(&arguments.filename)?;
    let file = arguments.filename.display().to_string();
    let services = match services(&text, arguments) {
        Ok(services) => services,
        Err(faults) => {
            for (line, fault) in faults {
                eprintln!("{file}:{line}: {fault}");
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let printed = match (arguments.explain, arguments.output) {
        (true, _) => services.iter().map(Rendered::explained).collect::<Vec<_>>().join("\n"),
        (false, Format::Json) => {
            let items: Vec<&Value> = services.iter().flat_map(|service| &service.objects).collect();
            serde_json::to_string_pretty(&json!({"apiVersion": "v1", "kind": "List", "items": items}))? + "\n"
        }
        (false, Format::Yaml) => yaml(&services)?,
    };
    super::output::print(&printed)?;
    Ok(ExitCode::SUCCESS)
}

/// A file's text, or standard input's.
///
/// # Errors
/// When it cannot be read.
pub(super) fn text(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A service with what it becomes.
struct Rendered {
    plan: Plan,
    objects: Vec<Value>,
}

impl Rendered {
    fn explained(&self) -> String {
        explain::table(&self.plan, &self.objects)
    }
}

/// A fault with the line of the file that it stands on.
type Located = (u64, String);

/// Every service of the file, or everything that is wrong in it.
fn services(text: &str, arguments: &Arguments) -> Result<Vec<Rendered>, Vec<Located>> {
    let documents = document::read(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        vec![(line, format!("this is not YAML that can be read: {}", error.render_with_formatter(&serde_saphyr::UserMessageFormatter)))]
    })?;
    let config_maps: BTreeMap<String, Contents> =
        documents.iter().filter(|document| kind(document) == ("v1", "ConfigMap")).map(config_map).collect();
    let (mut services, mut faults) = (Vec::new(), Vec::new());
    for document in documents.iter().filter(|document| kind(document) != ("v1", "ConfigMap")) {
        match kind(document) {
            ("plimsoll.dev/v1alpha1", "ProductionService") => match service(document, &config_maps, arguments) {
                Ok(service) => services.push(service),
                Err(found) => faults.extend(found.into_iter().map(|fault| (document.line(&fault.path), said(&fault)))),
            },
            (version, "ProductionService") => {
                faults.push((document.line("apiVersion"), format!("apiVersion: {version:?} is not known: write plimsoll.dev/v1alpha1")));
            }
            (_, "") => faults.push((document.line(""), "kind is missing: write kind: ProductionService".to_owned())),
            (_, kind) => eprintln!("passed over: {kind} {} on line {}", document.text("/metadata/name"), document.line("kind")),
        }
    }
    if services.is_empty() && faults.is_empty() {
        faults.push((1, "there is no ProductionService in this file".to_owned()));
    }
    faults.sort();
    if faults.is_empty() { Ok(services) } else { Err(faults) }
}

/// What the services of a file are planned as, or everything that is wrong in it.
///
/// # Errors
/// When the file cannot be read, or is refused: each fault with its line.
pub(super) fn plans(filename: &Path) -> Result<Vec<Plan>> {
    let (text, file) = (text(filename)?, filename.display());
    let arguments = Arguments {
        filename: filename.to_owned(),
        explain: false,
        output: Format::Yaml,
        namespace: NAMESPACE.to_owned(),
        operator_namespace: NAMESPACE.to_owned(),
    };
    let words = |(line, fault): (u64, String)| format!("{file}:{line}: {fault}");
    let services = services(&text, &arguments).map_err(|faults| {
        let faults: Vec<_> = faults.into_iter().map(words).collect();
        anyhow::anyhow!(faults.join("\n"))
    })?;
    Ok(services.into_iter().map(|service| service.plan).collect())
}

fn said(fault: &Fault) -> String {
    if fault.path.is_empty() { fault.message.clone() } else { format!("{}: {}", fault.path, fault.message) }
}

fn kind(document: &Document) -> (&str, &str) {
    (document.text("/apiVersion"), document.text("/kind"))
}

fn config_map(document: &Document) -> (String, Contents) {
    let texts = |field: &str| {
        let entries = document.value[field].as_object().into_iter().flatten();
        entries.map(|(key, text)| (key.clone(), text.as_str().map_or_else(|| text.to_string(), ToOwned::to_owned))).collect()
    };
    (document.text("/metadata/name").to_owned(), Contents { text: texts("data"), binary: texts("binaryData") })
}

fn service(document: &Document, config_maps: &BTreeMap<String, Contents>, arguments: &Arguments) -> Result<Rendered, Vec<Fault>> {
    let fault = |path: &str, message: String| vec![Fault { path: path.to_owned(), message }];
    let definition = crd::definition().map_err(|error| fault("", error.to_string()))?;
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut value = document.value.clone();
    forget_empty(&mut value["spec"]);
    let mut faults = schema::faults(&value["spec"], schema, "spec");
    if document.text("/metadata/name").is_empty() {
        faults.push(Fault { path: "metadata.name".to_owned(), message: "is missing: write the name of the service".to_owned() });
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut service: ProductionService = serde_json::from_value(value).map_err(|error| fault("", format!("cannot be read: {error}")))?;
    service.metadata.namespace.get_or_insert_with(|| arguments.namespace.clone());
    service.metadata.uid = Some(UID.to_owned());
    service.status = None;
    let snapshot = alone(service, config_maps.clone(), &arguments.operator_namespace);
    let plan = plan::plan(&snapshot).map_err(|refusals| refusals.iter().map(refused).collect::<Vec<_>>())?;
    let objects = render::all(&plan, &snapshot, &settled(&plan)).into_values().collect();
    Ok(Rendered { plan, objects })
}

/// A field that a template leaves empty is an absent field, to the API server as well.
fn forget_empty(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(forget_empty);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_empty),
        _ => {}
    }
}

/// A refusal begins with the path of its field.
fn refused(refusal: &plan::Refusal) -> Fault {
    let (path, message) = refusal.message.split_once(": ").unwrap_or(("", &refusal.message));
    let hint = if refusal.reason == "ConfigMapMissing" { " (here: add it to this file as a document of its own)" } else { "" };
    Fault { path: path.to_owned(), message: format!("{message}{hint}") }
}

/// The service in a cluster that holds nothing else.
pub(super) fn alone(service: ProductionService, config_maps: BTreeMap<String, Contents>, operator_namespace: &str) -> Snapshot {
    Snapshot {
        config_maps,
        operator_namespace: operator_namespace.to_owned(),
        around: Around { routing: Routing::present(), ..Around::default() },
        ..Snapshot::of(service)
    }
}

/// What exists when the first revision serves.
fn settled(plan: &Plan) -> Target {
    Target {
        mirrored: None,
        preview: None,
        stable: Some(plan.revision.clone()),
        replicas: [(plan.revision.clone(), plan.replicas)].into(),
        records: [plan.revision.clone()].into(),
        quarantined: Vec::new(),
        front: Front::One(plan.revision.clone()),
        weights: if plan.is_weighted() { [(plan.revision.clone(), 100)].into() } else { BTreeMap::new() },
        services: plan.is_weighted().then(|| plan.revision.clone()).into_iter().collect(),
        matched: None,
        jobs: Vec::new(),
        rollouts: BTreeSet::new(),
        routed: vec![plan.revision.clone()],
    }
}

fn yaml(services: &[Rendered]) -> Result<String> {
    let mut text = String::new();
    for service in services {
        let Rendered { plan, objects } = service;
        writeln!(
            text,
            "# ProductionService {} in namespace {}: revision {}, {} objects.",
            plan.name,
            plan.namespace,
            plan.revision,
            objects.len()
        )?;
        writeln!(text, "# The uid {UID} stands for the one that the cluster gives.")?;
        for object in objects {
            writeln!(text, "---\n{}", serde_saphyr::to_string(object)?.trim_end())?;
        }
    }
    Ok(text)
}
