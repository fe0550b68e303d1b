//! `spec.rollout.gates`, `windows` and `freezes`, and `spec.dependsOn`: what has to be open before a rollout goes on.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pod::{EnvVar, Resources};
use super::rules;
use super::status::Moment;

/// Something that has to be settled before a rollout goes on. Gates at the same place are taken one after another, in the order of the list. While
/// one waits, the new revision goes on being watched, and an abort overtakes it. What each waits for stands in `status.rollout.progress.gates`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::GATE)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Name of the gate, used in status, messages and `control.approve`.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Where on the way of a rollout the gate stands.
    pub at: GateAt,
    /// People have to agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalGate>,
    /// A Job has to succeed: a database migration, a smoke test. One that fails sends the new revision back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobGate>,
    /// A load test has to succeed: a Job that sends so many times the load that the service has ever had lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_test: Option<LoadTestGate>,
    /// Another system has to agree: a change calendar, a backup's freshness. It is asked by one signed request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookGate>,
    /// Seconds for which the gate may wait, 10 to 604800 (a week). Default: 86400 (a day).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 604_800))]
    pub deadline_seconds: Option<i32>,
    /// What happens when the time is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_deadline: Option<OnDeadline>,
}

/// Where on the way of a rollout a gate stands: one of `start`, `beforeWeight` and `beforePromotion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.start) ? 1 : 0) + (has(self.beforeWeight) ? 1 : 0) + (has(self.beforePromotion) ? 1 : 0) == 1",
    "message": "a gate stands at one of start, beforeWeight and beforePromotion: set exactly one",
}]))]
pub enum GateAt {
    /// Before the first pod of the new revision, the very first revision included. In blue-green: before the switch, with the preview to test.
    /// Write `{}`.
    Start(Place),
    /// Before the first step whose weight is at least this.
    BeforeWeight(BeforeWeight),
    /// Before the new revision gets everything that it shall get; the bake follows. Write `{}`.
    BeforePromotion(Place),
}

/// A place that needs no further word: write `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {}

/// Before the first step whose weight is at least this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BeforeWeight {
    /// Percent of the traffic, 1 to 99.
    #[schemars(range(min = 1, max = 99))]
    pub weight: i32,
}

/// People have to agree, by `control.approve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalGate {
    /// How many different people, 1 to 5. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub count: Option<i32>,
}

/// A Job that has to succeed. It is made once for each attempt of a rollout, and never again. Its pod is like one of the new revision, with the
/// same image, environment, configuration, volumes and account, but takes no traffic. It is kept until the next rollout has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::JOB_GATE)]
#[serde(rename_all = "camelCase")]
pub struct JobGate {
    /// Image to run. Default: the new revision's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Command to run. Default: the service's, or with `image` that image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// Arguments of the command. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// Environment variables beside the service's own, in whose place they stand where the name is the same. `PLIMSOLL_ROLLOUT` and
    /// `PLIMSOLL_REVISION` are set as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Requests and limits. Default: the service's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Seconds that the Job may take in all, 1 to 86400 (a day); then it is stopped and has failed. Default: 600.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_seconds: Option<i32>,
    /// How often a pod that failed is replaced by a new one, 0 to 10. Default: 0, for work that must not run twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: Option<i32>,
}

/// A load test. How much the service had to carry at its peak is asked of Prometheus; the Job is told in `PLIMSOLL_TARGET_RATE` how many requests
/// per second it shall send. What they hit is up to the Job: before a weight, the Service of the revision (`<service>-<revision>`, with a router) or in
/// blue-green the preview. Its exit code says whether the service stood it; the candidate goes on being judged meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::LOAD_TEST)]
#[serde(rename_all = "camelCase")]
pub struct LoadTestGate {
    /// So many times the peak, `"0.01"` to `"100"`: a decimal number.
    #[schemars(length(min = 1, max = 6), regex(pattern = "^[0-9]{1,3}([.][0-9]{1,2})?$"))]
    pub multiple_of_peak: String,
    /// Days looked back for the peak, the highest rate of requests over a minute (over four scrapes of that Prometheus, where that is longer), 1 to 30.
    /// Default: 7.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 30))]
    pub look_back_days: Option<i32>,
    /// The Prometheus to ask, by the name that the operator knows it by. Default: `observability.metrics.provider`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub provider: Option<String>,
    /// The Job that makes the load.
    pub job: JobGate,
}

/// One request, `POST` with JSON, that is answered with a status of 200 to 299 (the gate opens) or another one (the new revision is taken back). The
/// body names service, revision, image, rollout, step and gate; the operator signs it. No answer, or none that came whole: how it ended can never be
/// known, and the gate waits for its deadline, unless `idempotent` lets it be asked again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookGate {
    /// Where it is sent, `https://…`; `http://…` only to hosts that whoever runs the operator allows. Addresses within the cluster's own networks as well
    /// only where they allow it. Neither a user nor a password in it.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://[A-Za-z0-9.\[\]:_-]+(/[!-~]*)?$"))]
    #[x_kube(validation = rules::WEBHOOK_URL)]
    pub url: String,
    /// Asking it twice does no harm: it is asked again after a failure, a status of 429 or from 500 on, or an unknown outcome, each time with the same
    /// `Idempotency-Key`. Default: false, asked at most once; again only where it is certain that nothing was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// Seconds for one answer, 1 to 10. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub timeout_seconds: Option<i32>,
}

/// What happens when a gate's time is over. `rollBack`: the new revision is taken back. `hold`: the rollout stays where it is until the gate opens
/// or somebody aborts. Default: `rollBack`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnDeadline {
    /// The new revision is taken back.
    #[default]
    RollBack,
    /// The rollout stays where it is until the gate opens or somebody aborts.
    Hold,
}

/// A time of the week in which rollouts may go forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::WINDOW)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Days on which the window opens. Default: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7), extend("x-kubernetes-list-type" = "set"))]
    pub days: Vec<Day>,
    /// When it opens, `HH:MM` by the clocks of the time zone. A time that the change to summer time skips counts as one hour later.
    #[schemars(length(min = 5, max = 5), regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// When it closes, `HH:MM`, to `24:00`; not after `from`: on the next day. A time that the change from summer time repeats counts as the first
    /// of the two.
    #[schemars(length(min = 5, max = 5), regex(pattern = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"))]
    pub to: String,
    /// IANA name of the time zone: `Europe/Berlin`, `UTC`.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z][-A-Za-z0-9_+/]*$"))]
    pub time_zone: String,
}

/// A day of the week: `Mon`, `Tue`, `Wed`, `Thu`, `Fri`, `Sat` or `Sun`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// A time in which no rollout goes forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("self.start < self.end", "a freeze ends after it starts: correct start or end"))]
#[serde(rename_all = "camelCase")]
pub struct Freeze {
    /// Name of the freeze, for messages.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// When it starts, RFC 3339: `"2026-11-26T18:00:00+01:00"`.
    pub start: Moment,
    /// When it ends, RFC 3339.
    pub end: Moment,
}

/// Another `ProductionService` of this namespace that has to be there first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Its name.
    #[schemars(length(min = 1, max = 52), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub service: String,
    /// The version that has to be stable there, at least: numbers with dots, compared with the tag of its stable image. Absent: any version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^v?[0-9]{1,9}([.][0-9]{1,9}){0,3}$"))]
    pub at_least_version: Option<String>,
    /// Seconds for which the rollout waits for it, 10 to 604800 (a week); then it is given up. Default: 86400 (a day).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 604_800))]
    pub deadline_seconds: Option<i32>,
}
