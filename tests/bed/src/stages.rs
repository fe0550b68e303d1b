//! How kwok plays pods: ready within a second or two, or misbehaving in a way that the pod asks for.

use serde_json::{Value, json};

/// The label, or annotation, of a pod that chooses how it behaves. A tag of that name on the image of the first
/// container does the same, for pods whose labels a test does not control.
pub const BEHAVIOUR_KEY: &str = "bed.plimsoll.dev/behaviour";

/// The annotation with the delay (as in `20s`) of `slow-ready` and `ready-then-not`.
pub const DELAY_KEY: &str = "bed.plimsoll.dev/delay";

/// Every behaviour that a pod can ask for.
pub const BEHAVIOURS: [&str; 10] = [
    "slow-ready",
    "ready-then-not",
    "never-ready",
    "crash-loop",
    "oom-killed",
    "image-pull-backoff",
    "config-error-nonroot",
    "config-error-named-user",
    "job-fails",
    "job-runs-on",
];

/// Those that never come to the ordinary readiness.
const NOT_AT_ONCE_READY: [&str; 7] =
    ["slow-ready", "never-ready", "crash-loop", "oom-killed", "image-pull-backoff", "config-error-nonroot", "config-error-named-user"];

/// How long a pod stays that is told to end. A proxy hears of it a moment later and goes on asking until then; a real pod's `preStop` waits for that.
const ENDING_MILLISECONDS: u32 = 3_000;

const WAITING: &str = ".status.containerStatuses.[0].state.waiting.reason";

/// The stages of all pods, as documents of kwok's configuration.
#[must_use]
pub fn pods() -> String {
    let in_phase = |phase| expression(".status.phase", "In", &[phase]);
    let of_a_job = || expression(".metadata.ownerReferences.[].kind", "In", &["Job"]);
    let pending = || in_phase("Pending");
    let new = || expression(".status.containerStatuses", "DoesNotExist", &[]);
    let running = || expression(".status.containerStatuses.[0].state.running", "Exists", &[]);
    let waiting = |reason| expression(WAITING, "In", &[reason]);
    let crashing = || asks_for(&["crash-loop", "oom-killed"]);
    let pulling = || asks_for(&["image-pull-backoff"]);
    let configured_wrong = || asks_for(&["config-error-nonroot", "config-error-named-user"]);
    let stages = [
        Stage::new("pod-ready", vec![does_not_ask_for(&NOT_AT_ONCE_READY), pending()]).status(&ready()),
        Stage::new("pod-slow-ready", vec![asks_for(&["slow-ready"]), pending()]).after(15_000).status(&ready()),
        Stage::new("pod-ready-then-not", vec![asks_for(&["ready-then-not"]), ready_condition()])
            .after(10_000)
            .status(&not_ready(&containers("running: { startedAt: {{ $now | Quote }} }", 0, ""))),
        Stage::new("pod-never-ready", vec![asks_for(&["never-ready"]), pending()]).status(&not_ready(&containers(
            "running: { startedAt: {{ $now | Quote }} }",
            0,
            "",
        ))),
        Stage::new("pod-crash-start", vec![crashing(), pending(), new()]).status(&not_ready(&containers(
            "running: { startedAt: {{ $now | Quote }} }",
            0,
            "",
        ))),
        Stage::new("pod-crash", vec![crashing(), running()]).after(1_000).status(&not_ready(&containers(BACK_OFF, 0, TERMINATED))),
        // The kubelet's first back-off lasts ten seconds and then doubles; tests want to see counts climb sooner.
        Stage::new("pod-crash-restart", vec![crashing(), waiting("CrashLoopBackOff")]).after(3_000).status(&not_ready(&containers(
            "running: { startedAt: {{ $now | Quote }} }",
            1,
            TERMINATED,
        ))),
        Stage::new("pod-pull-fails", vec![pulling(), pending(), new()]).status(&waits(PULL_ERROR)),
        Stage::new("pod-pull-back-off", vec![pulling(), waiting("ErrImagePull")]).after(2_000).status(&waits(PULL_BACK_OFF)),
        Stage::new("pod-pull-again", vec![pulling(), waiting("ImagePullBackOff")]).after(10_000).status(&waits(PULL_ERROR)),
        Stage::new("pod-config-error", vec![configured_wrong(), pending(), new()]).status(&waits(CONFIG_ERROR)),
        Stage::new("pod-job-complete", vec![does_not_ask_for(&["job-fails", "job-runs-on"]), in_phase("Running"), of_a_job()])
            .status(&ended("Succeeded", COMPLETED)),
        Stage::new("pod-job-failed", vec![asks_for(&["job-fails"]), in_phase("Running"), of_a_job()]).status(&ended("Failed", FAILED)),
    ];
    let mut documents: Vec<String> = stages.into_iter().map(|stage| stage.document().to_string()).collect();
    let deleted = [expression(".metadata.deletionTimestamp", "Exists", &[])];
    let delay = json!({ "durationMilliseconds": ENDING_MILLISECONDS });
    documents.push(document("pod-delete", &deleted, Some(&delay), &json!({ "delete": true })).to_string());
    documents.join("\n---\n")
}

struct Stage {
    name: &'static str,
    conditions: Vec<Value>,
    delay: Option<Value>,
    status: String,
}

impl Stage {
    fn new(name: &'static str, mut conditions: Vec<Value>) -> Self {
        conditions.push(expression(".metadata.deletionTimestamp", "DoesNotExist", &[]));
        Self { name, conditions, delay: None, status: String::new() }
    }

    /// Milliseconds, unless the pod's annotation says otherwise.
    fn after(mut self, milliseconds: u32) -> Self {
        let from = json!({ "expressionFrom": format!(".metadata.annotations[\"{DELAY_KEY}\"]") });
        self.delay = Some(json!({ "durationMilliseconds": milliseconds, "durationFrom": from }));
        self
    }

    fn status(mut self, template: &str) -> Self {
        template.clone_into(&mut self.status);
        self
    }

    fn document(&self) -> Value {
        let next = json!({ "statusTemplate": format!("{{{{ $now := Now }}}}\n{{{{ $pod := . }}}}\n{}", self.status) });
        document(self.name, &self.conditions, self.delay.as_ref(), &next)
    }
}

fn document(name: &str, conditions: &[Value], delay: Option<&Value>, next: &Value) -> Value {
    let mut spec = json!({
        "resourceRef": { "apiGroup": "v1", "kind": "Pod" },
        "selector": { "matchExpressions": conditions },
        "next": next,
    });
    if let Some(delay) = delay {
        spec["delay"] = delay.clone();
    }
    json!({ "apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": { "name": name }, "spec": spec })
}

fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
    if values.is_empty() {
        return json!({ "key": key, "operator": operator });
    }
    json!({ "key": key, "operator": operator, "values": values })
}

/// All places where a pod can name its behaviour.
fn behaviour() -> String {
    format!(
        ".metadata.labels[\"{BEHAVIOUR_KEY}\"], .metadata.annotations[\"{BEHAVIOUR_KEY}\"], \
         (.spec.containers[0].image | split(\":\") | last)"
    )
}

fn asks_for(behaviours: &[&str]) -> Value {
    expression(&behaviour(), "In", behaviours)
}

fn does_not_ask_for(behaviours: &[&str]) -> Value {
    expression(&behaviour(), "NotIn", behaviours)
}

fn ready_condition() -> Value {
    expression(".status.conditions.[] | select( .type == \"Ready\" ) | .status", "In", &["True"])
}

/// A pod keeps the address of its first start, so it is asked for once.
const ADDRESSES: &str = r#"
startTime: {{ or .status.startTime $now | Quote }}
{{ if not .status.podIP }}
{{ with NodeIPsWith .spec.nodeName }}
hostIP: {{ index . 0 | Quote }}
hostIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
{{ with PodIPsWith .spec.nodeName ( or .spec.hostNetwork false ) ( or .metadata.uid "" ) ( or .metadata.name "" ) ( or .metadata.namespace "" ) }}
podIP: {{ index . 0 | Quote }}
podIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
{{ end }}
"#;

const READY_CONTAINERS: &str = r"
conditions:
- { type: Initialized, status: 'True', lastTransitionTime: {{ $now | Quote }} }
- { type: ContainersReady, status: 'True', lastTransitionTime: {{ $now | Quote }} }
- { type: Ready, status: 'True', lastTransitionTime: {{ $now | Quote }} }
{{ range .spec.readinessGates }}
- { type: {{ .conditionType | Quote }}, status: 'True', lastTransitionTime: {{ $now | Quote }} }
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: {{ .image | Quote }}
  ready: true
  started: true
  restartCount: 0
  state: { running: { startedAt: {{ $now | Quote }} } }
{{ end }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: {{ .image | Quote }}
  ready: true
  restartCount: 0
  {{ if eq .restartPolicy `Always` }}
  started: true
  state: { running: { startedAt: {{ $now | Quote }} } }
  {{ else }}
  state: { terminated: { exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }} } }
  {{ end }}
{{ end }}
";

const UNREADY_CONDITIONS: &str = r"
conditions:
- { type: Initialized, status: 'True', lastTransitionTime: {{ $now | Quote }} }
{{ range $type := list `ContainersReady` `Ready` }}
- type: {{ $type }}
  status: 'False'
  reason: ContainersNotReady
  message: 'containers with unready status: [{{ range $index, $item := $pod.spec.containers }}{{ if $index }} {{ end }}{{ $item.name }}{{ end }}]'
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
";

const BACK_OFF: &str = r"waiting:
      reason: CrashLoopBackOff
      message: 'back-off 10s restarting failed container={{ $item.name }} pod={{ $pod.metadata.name }}_{{ $pod.metadata.namespace }}({{ $pod.metadata.uid }})'";

const PULL_ERROR: &str = r#"waiting:
      reason: ErrImagePull
      message: 'failed to pull and unpack image "{{ $item.image }}": failed to resolve reference "{{ $item.image }}": {{ $item.image }}: not found'"#;

const PULL_BACK_OFF: &str = r#"waiting:
      reason: ImagePullBackOff
      message: 'Back-off pulling image "{{ $item.image }}": ErrImagePull: failed to pull and unpack image "{{ $item.image }}": failed to resolve reference "{{ $item.image }}": {{ $item.image }}: not found'"#;

/// The kubelet's own words (`pkg/kubelet/kuberuntime/security_context_others.go`).
const CONFIG_ERROR: &str = r#"waiting:
      reason: CreateContainerConfigError
      {{ $named := false }}
      {{ range $text := list ( index ( or $pod.metadata.labels dict ) `bed.plimsoll.dev/behaviour` ) ( index ( or $pod.metadata.annotations dict ) `bed.plimsoll.dev/behaviour` ) $item.image }}
      {{ if hasSuffix `config-error-named-user` ( or $text `` ) }}{{ $named = true }}{{ end }}
      {{ end }}
      {{ if $named }}
      message: 'container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root (pod: "{{ $pod.metadata.name }}_{{ $pod.metadata.namespace }}({{ $pod.metadata.uid }})", container: {{ $item.name }})'
      {{ else }}
      message: 'container has runAsNonRoot and image will run as root (pod: "{{ $pod.metadata.name }}_{{ $pod.metadata.namespace }}({{ $pod.metadata.uid }})", container: {{ $item.name }})'
      {{ end }}"#;

/// What the last run of a crashed container ended with.
const TERMINATED: &str = r"
  {{ $oom := false }}
  {{ range $text := list ( index ( or $pod.metadata.labels dict ) `bed.plimsoll.dev/behaviour` ) ( index ( or $pod.metadata.annotations dict ) `bed.plimsoll.dev/behaviour` ) $item.image }}
  {{ if hasSuffix `oom-killed` ( or $text `` ) }}{{ $oom = true }}{{ end }}
  {{ end }}
  lastState:
    terminated:
      {{ if $oom }}
      exitCode: 137
      reason: OOMKilled
      {{ else }}
      exitCode: 1
      reason: Error
      {{ end }}
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
";

const COMPLETED: &str = "exitCode: 0, reason: Completed";

/// With the end of its log as the message: what the kubelet takes where the policy is `FallbackToLogsOnError`.
const FAILED: &str = "exitCode: 3, reason: Error, message: 'connecting to the database: no such table'";

/// A pod whose containers have ended like this.
fn ended(phase: &str, end: &str) -> String {
    format!(
        r"
phase: {phase}
containerStatuses:
{{{{ range .spec.containers }}}}
- name: {{{{ .name | Quote }}}}
  image: {{{{ .image | Quote }}}}
  imageID: {{{{ .image | Quote }}}}
  ready: false
  started: false
  restartCount: 0
  state: {{ terminated: {{ {end}, startedAt: {{{{ $now | Quote }}}}, finishedAt: {{{{ $now | Quote }}}} }} }}
{{{{ end }}}}
"
    )
}

fn ready() -> String {
    format!("phase: Running\n{READY_CONTAINERS}{ADDRESSES}")
}

/// A pod whose containers have started at least once and are not ready.
fn not_ready(containers: &str) -> String {
    format!("phase: Running\n{UNREADY_CONDITIONS}{containers}{ADDRESSES}")
}

/// A pod whose containers cannot even be created.
fn waits(state: &str) -> String {
    format!("{UNREADY_CONDITIONS}{}{ADDRESSES}", containers(state, 0, ""))
}

/// The state of every container; `restarts` are added to the count so far.
fn containers(state: &str, restarts: u8, last: &str) -> String {
    format!(
        r"
containerStatuses:
{{{{ range $index, $item := .spec.containers }}}}
{{{{ $before := dict }}}}
{{{{ with $pod.status.containerStatuses }}}}{{{{ $before = index . $index }}}}{{{{ end }}}}
- name: {{{{ $item.name | Quote }}}}
  image: {{{{ $item.image | Quote }}}}
  imageID: ''
  ready: false
  started: false
  restartCount: {{{{ add ( or $before.restartCount 0 ) {restarts} }}}}
  state:
    {state}
{last}
{{{{ end }}}}
"
    )
}
