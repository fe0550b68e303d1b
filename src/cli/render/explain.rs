//! `render --explain`: each value that was decided, where it comes from, and why it is what it is.
//!
//! The values are read from the plan and from the rendered objects, never worked out a second time. What plimsoll does not invent is
//! listed as well, with what to think about.

mod rollout;
mod traffic;

use serde_json::Value;

use crate::api::ProductionServiceSpec;
use crate::api::analysis::Analysis;
use crate::api::values::IntOrPercent;
use crate::cli::output::columns;
use crate::decide::analysis::ObjectiveKind;
use crate::decide::plan::Plan;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The spec says it.
    Spec,
    /// plimsoll's default.
    Default,
    /// Always so, whatever the spec says.
    Fixed,
    /// Follows from other values.
    Computed,
    /// Not set by anybody, and not invented.
    Unset,
}

impl Origin {
    const fn word(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Default => "default",
            Self::Fixed => "fixed",
            Self::Computed => "computed",
            Self::Unset => "not set",
        }
    }
}

/// The rows of the table.
struct Rows(Vec<[String; 4]>);

impl Rows {
    fn add(&mut self, name: &str, value: impl Into<String>, origin: Origin, why: impl Into<String>) {
        self.0.push([name.to_owned(), value.into(), origin.word().to_owned(), why.into()]);
    }

    /// A value of the spec if that has it, else the default.
    fn given(&mut self, name: &str, value: impl Into<String>, given: bool, why: &str) {
        self.add(name, value, if given { Origin::Spec } else { Origin::Default }, why);
    }
}

/// The table of one service, with its objects.
#[must_use]
pub fn table(plan: &Plan, objects: &[Value]) -> String {
    let mut rows = Rows(vec![["VALUE", "IS", "FROM", "WHY"].map(ToOwned::to_owned)]);
    let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind);
    let template = of_kind("Deployment").map_or(&Value::Null, |deployment| &deployment["spec"]["template"]["spec"]);
    capacity(&mut rows, plan, of_kind("PodDisruptionBudget"));
    rollout::rollout(&mut rows, plan);
    judging(&mut rows, plan);
    health(&mut rows, &plan.spec, template);
    pod(&mut rows, &plan.spec, template);
    traffic::network(&mut rows, &plan.spec, of_kind("Service"));
    traffic::route(&mut rows, plan);
    let names = objects.iter().map(|object| format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"])));
    let head = format!("ProductionService {} in namespace {}: revision {}", plan.name, plan.namespace, plan.revision);
    format!("{head}\n\n{}\n\nobjects: {}\n", columns(&rows.0).join("\n"), names.collect::<Vec<_>>().join(", "))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn amount(value: &IntOrPercent) -> String {
    match value {
        IntOrPercent::Int(number) => number.to_string(),
        IntOrPercent::Percent(text) => text.clone(),
    }
}

fn seconds(seconds: impl std::fmt::Display) -> String {
    format!("{seconds} s")
}

fn percent(share: f64) -> String {
    format!("{}%", (share * 1e8).round() / 1e6)
}

fn capacity(rows: &mut Rows, plan: &Plan, budget: Option<&Value>) {
    let spec = &plan.spec;
    match &spec.scaling {
        Some(scaling) => {
            let least = crate::decide::plan::least(scaling);
            rows.given("scaling.minReplicas", least.to_string(), scaling.min_replicas.is_some(), "the autoscaler goes no lower");
            rows.add("scaling.maxReplicas", scaling.max_replicas.to_string(), Origin::Spec, "the autoscaler goes no higher");
            rows.given(
                "replicas",
                plan.replicas.to_string(),
                spec.replicas.is_some(),
                "to begin with; the autoscaler writes it afterwards",
            );
        }
        None => rows.given(
            "replicas",
            plan.replicas.to_string(),
            spec.replicas.is_some(),
            "pods that the whole load needs; two survive the loss of a node",
        ),
    }
    let availability = spec.availability.clone().unwrap_or_default();
    if let Some(budget) = budget {
        let value = text(&budget["spec"]["maxUnavailable"]);
        rows.given(
            "availability.maxUnavailable",
            value,
            availability.max_unavailable.is_some(),
            "pods that a node drain may take at once; unready ones always",
        );
    }
    let spread = availability.spread.unwrap_or_default();
    let yes = |wanted: Option<bool>| if wanted.unwrap_or(true) { "yes" } else { "no" };
    rows.given("availability.spread.hosts", yes(spread.hosts), spread.hosts.is_some(), "as a preference: a full host does not stop a pod");
    rows.given("availability.spread.zones", yes(spread.zones), spread.zones.is_some(), "as a preference");
}

fn judging(rows: &mut Rows, plan: &Plan) {
    if plan.spec.objectives.is_empty() {
        let why = "only crashes, pull errors, kills and lost readiness judge a new version; recommended: errorRate and latency";
        rows.add("objectives", "none", Origin::Unset, why);
        return;
    }
    for objective in &plan.settings.objectives {
        let (value, why) = match objective.kind {
            ObjectiveKind::ErrorRate { at_most } => {
                (format!("errorRate at most {}", percent(at_most)), "share of requests answered with 500 or above")
            }
            ObjectiveKind::Latency { percentile, at_most_milliseconds } => {
                (format!("{percentile}% of requests within {at_most_milliseconds} ms"), "as fine as the app's histogram")
            }
        };
        rows.add(&format!("objectives.{}", objective.name), value, Origin::Spec, why);
    }
    for query in &plan.queries {
        let value = format!("{}, asked of {} every {} s", query.bound, query.provider, query.interval_seconds);
        let why = format!("goes back after {} in a row that fail; it has no part in falseAlarm", query.failure_limit);
        rows.add(&format!("objectives.{}", query.name), value, Origin::Spec, &why);
    }
    let Analysis { compare, false_alarm, min_requests, on_no_evidence, warm_up_seconds, interval_seconds, bake_control_percent } =
        plan.spec.rollout.clone().unwrap_or_default().analysis.unwrap_or_default();
    let settings = &plan.settings;
    let tolerance = compare.is_some_and(|compare| compare.tolerance.is_some());
    rows.given(
        "analysis.compare.tolerance",
        percent(settings.tolerance),
        tolerance,
        "the new version may fail so much more, beside a quarter of stable's own share",
    );
    rows.given(
        "analysis.falseAlarm",
        percent(settings.false_alarm),
        false_alarm.is_some(),
        "chance to send back a version that is not worse, over the whole rollout",
    );
    rows.given(
        "analysis.minRequests",
        settings.min_requests.to_string(),
        min_requests.is_some(),
        "no step passes with fewer requests to the new version",
    );
    rows.given(
        "analysis.warmUpSeconds",
        seconds(settings.warm_up_seconds),
        warm_up_seconds.is_some(),
        "of a pod's life in which only plain breakage counts",
    );
    rows.given("analysis.intervalSeconds", seconds(settings.interval_seconds), interval_seconds.is_some(), "between two measurements");
    if plan.shifts_weights() {
        let why = "of the requests stay with stable until the bake has ended: its control";
        rows.given("analysis.bakeControlPercent", format!("{}%", plan.bake_control_percent), bake_control_percent.is_some(), why);
    }
    let word = serde_json::to_value(plan.on_no_evidence).unwrap_or_default();
    rows.given("analysis.onNoEvidence", text(&word), on_no_evidence.is_some(), "when a step's deadline passes without enough requests");
    let metrics = plan.spec.observability.clone().and_then(|observability| observability.metrics).unwrap_or_default();
    if let Some(endpoint) = &plan.metrics {
        if let Some(provider) = &endpoint.provider {
            rows.given(
                "observability.metrics.provider",
                provider.clone(),
                true,
                "the Prometheus that is asked, one that the operator knows",
            );
        } else {
            rows.given(
                "observability.metrics.port",
                endpoint.port.to_string(),
                metrics.port.is_some(),
                "the port called metrics, else the first one",
            );
            rows.given(
                "observability.metrics.path",
                endpoint.path.clone(),
                metrics.path.is_some(),
                "asked of each pod itself, during a rollout only",
            );
        }
        if let Some(custom) = &metrics.custom {
            rows.given("observability.metrics.custom.requests", custom.requests.clone(), true, "names of the metrics");
        } else {
            let word = serde_json::to_value(endpoint.reading.convention).unwrap_or_default();
            rows.given("observability.metrics.convention", text(&word), metrics.convention.is_some(), "names of the metrics");
        }
        let failures = if metrics.failure_status.is_empty() { "500 and above".to_owned() } else { metrics.failure_status.join(", ") };
        rows.given("observability.metrics.failureStatus", failures, !metrics.failure_status.is_empty(), "statuses that are failures");
    }
}

fn health(rows: &mut Rows, spec: &ProductionServiceSpec, template: &Value) {
    let app = &template["containers"][0];
    let given = spec.health.clone().unwrap_or_default();
    let probes = [
        ("startupProbe", "health.startup", given.startup.is_some(), "nothing else is probed before it has succeeded once"),
        ("readinessProbe", "health.readiness", given.readiness.is_some(), "only ready pods get traffic"),
        ("livenessProbe", "health.liveness", given.liveness.is_some(), "restarts the container"),
    ];
    for (field, name, given, why) in probes {
        match &app[field] {
            Value::Null if field == "livenessProbe" => {
                rows.add(
                    name,
                    "none",
                    Origin::Unset,
                    "one that tests a dependency turns its outage into yours; add one if the app can hang",
                );
            }
            Value::Null => rows.add(name, "none", Origin::Unset, "there is no TCP port to probe"),
            probe => rows.given(name, probe_words(probe), given, why),
        }
    }
    let drain = text(&app["lifecycle"]["preStop"]["sleep"]["seconds"]);
    let drain = if drain == "null" { "0".to_owned() } else { drain };
    rows.given(
        "health.drainSeconds",
        seconds(drain),
        given.drain_seconds.is_some(),
        "an ending pod still answers for so long, then gets SIGTERM",
    );
    let grace = text(&template["terminationGracePeriodSeconds"]);
    rows.given(
        "health.terminationGraceSeconds",
        seconds(grace),
        given.termination_grace_seconds.is_some(),
        "then SIGKILL; the drain is included",
    );
}

fn probe_words(probe: &Value) -> String {
    let how = if probe["httpGet"].is_object() {
        format!("GET {} on {}", text(&probe["httpGet"]["path"]), text(&probe["httpGet"]["port"]))
    } else if probe["tcpSocket"].is_object() {
        format!("TCP to {}", text(&probe["tcpSocket"]["port"]))
    } else if probe["grpc"].is_object() {
        format!("gRPC on {}", text(&probe["grpc"]["port"]))
    } else {
        "command".to_owned()
    };
    format!("{how}, every {} s, {} tries", probe["periodSeconds"], probe["failureThreshold"])
}

fn pod(rows: &mut Rows, spec: &ProductionServiceSpec, template: &Value) {
    let security = spec.security_context.clone().unwrap_or_default();
    rows.add(
        "runAsNonRoot",
        "true",
        Origin::Fixed,
        "Pod Security restricted; also no privilege escalation, no capabilities, seccomp RuntimeDefault",
    );
    match security.run_as_user {
        Some(user) => rows.add("securityContext.runAsUser", user.to_string(), Origin::Spec, "user of every container"),
        None => rows.add(
            "securityContext.runAsUser",
            "the image's",
            Origin::Unset,
            "an image that runs as root or names its user cannot start: then write a number, for example 1000",
        ),
    }
    match security.read_only_root_filesystem {
        Some(only) => rows.add("securityContext.readOnlyRootFilesystem", only.to_string(), Origin::Spec, "of every container"),
        None => rows.add(
            "securityContext.readOnlyRootFilesystem",
            "false",
            Origin::Unset,
            "recommended: true, with an emptyDir where the app writes",
        ),
    }
    let account = spec.service_account.clone().unwrap_or_default();
    let own = account.name.is_some();
    rows.given(
        "serviceAccount.name",
        text(&template["serviceAccountName"]),
        own,
        if own { "used, never changed" } else { "made for this service alone" },
    );
    let token = text(&template["automountServiceAccountToken"]);
    rows.given(
        "serviceAccount.automountToken",
        token,
        account.automount_token.is_some(),
        "an app that does not call Kubernetes needs no credentials for it",
    );
    let containers = template["containers"].as_array().into_iter().chain(template["initContainers"].as_array()).flatten();
    for container in containers {
        let name = format!("resources of {}", text(&container["name"]));
        let requests = &container["resources"]["requests"];
        let list = |amounts: &Value| {
            let amounts = amounts.as_object().into_iter().flatten();
            amounts.map(|(name, amount)| format!("{name} {}", text(amount))).collect::<Vec<_>>().join(", ")
        };
        if requests.is_null() {
            rows.add(
                &name,
                "none",
                Origin::Unset,
                "recommended: requests of cpu and memory, a limit of memory; without them the scheduler packs blindly",
            );
        } else if container["resources"]["limits"]["memory"].is_null() {
            rows.add(&name, list(requests), Origin::Spec, "recommended: a limit of memory as well, or one leak takes its neighbours along");
        } else {
            rows.add(&name, list(requests), Origin::Spec, format!("limits: {}", list(&container["resources"]["limits"])));
        }
    }
}
