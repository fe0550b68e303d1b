//! What a schema alone cannot say, as CEL: contradictions are refused by the API server at `kubectl apply`.
//!
//! Each message names the field, says what is wrong with it and what to write instead. The limits on lists, maps and strings are what
//! keeps the estimated cost of these rules far below the API server's budget; `tests/cluster/admission.rs` shows how far.

mod routes;

use kube::core::Rule;
pub use routes::{BAKE_CONTROL, BY_ROUTER, ENTRANCE, GRPC_RULES, MATCH, MIRROR, PREVIEW, RESILIENCE, ROUTE_REF, STEP_REPLICAS};

/// An expression and its message, as the derive of a schema takes them.
pub type Said = (&'static str, &'static str);

/// An image is a word.
pub const IMAGE: Said =
    (r"self.matches(r'^\S+$')", r#"an image must not contain white space: write for example "registry.example/shop:1.4.2""#);

/// What Kubernetes asks of a port's name beyond its letters.
pub const PORT_NAME: Said = (
    "self.matches('[a-z]') && !self.contains('--')",
    "a port's name needs at least one letter and no two dashes in a row: write for example \"http\"",
);

/// A Service cannot have the same port twice.
pub const PORTS: Said = (
    "self.all(a, self.exists_one(b, a.port == b.port && (has(a.protocol) ? a.protocol : 'TCP') == (has(b.protocol) ? b.protocol : 'TCP')))",
    "two ports have the same number and protocol: remove one of them",
);

/// Keys of labels and annotations.
pub const KEYS: Said = (
    r"self.all(key, key.matches(r'^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
    "a key is a name of at most 63 letters, digits, '-', '_' and '.', with a DNS name and a slash before it if need be: write for example \"example.com/team\"",
);

/// Keys that belong to plimsoll, Kubernetes or Argo CD, which would act on them.
pub const RESERVED_KEYS: Said = (
    r"self.all(key, !key.matches(r'^([-a-z0-9.]*\.)?(plimsoll\.dev|kubernetes\.io|k8s\.io|argoproj\.io)/'))",
    "keys under plimsoll.dev/, kubernetes.io/ (app.kubernetes.io/ and the like too), k8s.io/ and argoproj.io/ are taken: use a prefix of your own",
);

/// Names of resources.
pub const RESOURCES: Said = (
    r"self.all(name, size(name) <= 317 && name.matches(r'^(cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMG]i|[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)$'))",
    "a resource is cpu, memory, ephemeral-storage, hugepages-SIZE or an extended one such as example.com/gpu",
);

/// More than the limit cannot be reserved.
pub const REQUESTS: Said = (
    "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)",
    "a request is above its limit: raise the limit or lower the request",
);

/// A file inside a volume.
pub const PATH_IN_VOLUME: Said = (
    "!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')",
    "a path inside a volume is relative and without '..': write for example \"conf/app.yaml\"",
);

/// A folder or file in a container.
pub const MOUNT_PATH: Said = (
    r"self.matches(r'^(/[^/:]+)+$') && !self.matches(r'/[.][.]?(/|$)')",
    "a mount path is absolute, without ':', '.', '..', an empty part or a slash at its end: write for example \"/var/cache/shop\"",
);

/// Files of the configuration.
pub const FILES: Said = (
    r"self.all(path, size(path) <= 512 && path.matches(r'^(/[^/:]+)+$') && !path.matches(r'/[.][.]?(/|$)'))",
    "a file's path is absolute, at most 512 characters, without ':', '.', '..', an empty part or a slash at its end: write for example \"/etc/shop/app.yaml\"",
);

/// A path cannot be a file and a folder.
pub const NO_FILE_BELOW_A_FILE: Said = (
    "self.all(file, !self.exists(other, other.startsWith(file + '/')))",
    "one file's path is the folder of another one: rename one of them",
);

/// Names of environment variables.
pub const ENV_NAMES: Said = (
    r"self.all(name, size(name) <= 128 && name.matches(r'^[-._a-zA-Z][-._a-zA-Z0-9]*$'))",
    "a variable's name is made of letters, digits, '_', '-' and '.', not a digit first, at most 128: write for example \"LOG_LEVEL\"",
);

/// A `ConfigMap` holds 1 MiB, and what is referred to has to fit in as well.
pub const CONFIG_SIZE: Said = (
    "(has(self.files) ? self.files.map(path, size(self.files[path])).sum() : 0) + (has(self.env) ? self.env.map(name, size(self.env[name])).sum() : 0) <= 921600",
    "files and env have more than 900 KiB together: put large files into the image or a volume",
);

/// Two references at one place.
pub const CONFIG_MOUNTS: Said = (
    "self.all(a, !has(a.mount) || self.all(b, !has(b.mount) || a.name == b.name || !(b.mount + '/').startsWith(a.mount + '/')))",
    "two configMapRefs have the same mount, or one lies in the other: give each a folder of its own",
);

/// Pods cannot be root under the restricted standard.
pub const NOT_ROOT: Said =
    ("self != 0", "0 is root, which the restricted Pod Security standard refuses: write another number, for example 1000");

/// Files of the root group are the node's as well.
pub const NOT_ROOT_GROUP: Said = ("self != 0", "0 is the root group: write another number, for example 1000");

/// Weights only ever go up.
pub const STEPS: Said = (
    "self.map(step, step.weight).isSorted() && self.all(a, self.exists_one(b, a.weight == b.weight))",
    "each step's weight must be above the one before it: write for example 10, 25, 50",
);

/// Blue and green are both whole.
pub const BLUE_GREEN_SURGE: Said = (
    "!has(self.strategy) || !has(self.strategy.blueGreen) || !has(self.surge) || self.surge == '100%'",
    "blueGreen keeps both revisions whole: remove surge",
);

/// The one switch has no weights on its way.
pub const BLUE_GREEN_GATES: Said = (
    "!has(self.strategy) || !has(self.strategy.blueGreen) || !has(self.gates) || self.gates.all(gate, !has(gate.at.beforeWeight))",
    "blueGreen has no weights: put the gate at start or beforePromotion, both stand before the switch",
);

/// An objective is one thing.
pub const OBJECTIVE: Said = (
    "(has(self.errorRate) ? 1 : 0) + (has(self.latency) ? 1 : 0) + (has(self.promql) ? 1 : 0) == 1",
    "an objective is one of errorRate, latency and promql: set exactly one",
);

/// A number is held against one bound.
pub const BOUND: Said =
    ("has(self.atMost) != has(self.atLeast)", "an answer is held against one bound: set exactly one of atMost and atLeast");

/// A gate is one thing.
pub const GATE: Said = (
    "(has(self.approval) ? 1 : 0) + (has(self.job) ? 1 : 0) + (has(self.loadTest) ? 1 : 0) + (has(self.webhook) ? 1 : 0) == 1",
    "a gate waits for one thing: set exactly one of approval, job, loadTest and webhook",
);

/// The platform team's own addresses are not for everybody.
pub const WEBHOOK_URL: Said =
    ("isURL(self) && url(self).getHostname() != ''", "a url names a host: write for example https://hooks.example.com/deploys");

/// No load is no test.
pub const LOAD_TEST: Said = (
    "double(self.multipleOfPeak) > 0.0 && double(self.multipleOfPeak) <= 100.0",
    "multipleOfPeak is a number above 0, up to 100: write for example \"2\"",
);

/// The service itself does not end.
pub const JOB_GATE: Said =
    ("has(self.image) || has(self.command) || has(self.args)", "a job that runs the service itself never ends: set command, args or image");

/// A window has a length.
pub const WINDOW: Said = ("self.from != self.to", "from and to are the same: for a whole day write from: \"00:00\" and to: \"24:00\"");

/// A range of addresses.
pub const CIDR: Said = ("isCIDR(self)", "a cidr is a network in CIDR notation: write for example \"10.0.0.0/8\" or \"2001:db8::/32\"");

/// The drain is a part of the grace period.
pub const DRAIN: Said = (
    "(has(self.drainSeconds) ? self.drainSeconds : 5) < (has(self.terminationGraceSeconds) ? self.terminationGraceSeconds : 45)",
    "terminationGraceSeconds (45 when absent) includes the drain and must be more than drainSeconds (5 when absent): raise it or lower drainSeconds",
);

/// A chance, as a share.
pub const FALSE_ALARM: Said = (
    "self.matches(r'^[0-9]{1,3}([.][0-9]{1,6})?%?$') && (self.endsWith('%') ? double(self.replace('%', '')) : double(self) * 100.0) >= 0.01 && (self.endsWith('%') ? double(self.replace('%', '')) : double(self) * 100.0) <= 20.0",
    "falseAlarm is a share from 0.01% to 20%: write for example \"1%\" or \"0.01\"",
);

/// A difference between two shares.
pub const TOLERANCE: Said = (
    "self.matches(r'^[0-9]{1,3}([.][0-9]{1,6})?%?$') && (self.endsWith('%') ? double(self.replace('%', '')) : double(self) * 100.0) <= 20.0",
    "tolerance is a share from 0% to 20%: write for example \"0.1%\" or \"0.001\"",
);

/// A share of requests.
pub const AT_MOST: Said = (
    "self.matches(r'^[0-9]{1,3}([.][0-9]{1,6})?%?$') && (self.endsWith('%') ? double(self.replace('%', '')) : double(self) * 100.0) <= 99.0",
    "atMost is a share from 0% to 99%: write for example \"0.5%\" or \"0.005\"",
);

/// Names are one convention's or the app's own.
pub const CONVENTION: Said =
    ("!has(self.custom) || !has(self.convention)", "convention and custom both say how requests are known: remove one of them");

/// What a Prometheus knows, it has asked for by itself.
pub const PROVIDER: Said = (
    "!has(self.provider) || !has(self.port) && !has(self.path)",
    "port and path are for reading from the pods; with a provider Prometheus has its own: remove either",
);

/// How failures are told.
pub const FAILURES: Said = (
    "has(self.metric) ? !has(self.label) && !has(self.matches) : has(self.label) && has(self.matches)",
    "failures are told by metric, or by label and matches together: write for example {label: code, matches: \"5..\"}",
);

/// How a toleration's fields go together.
pub const TOLERATIONS: [Said; 3] = [
    (
        "!has(self.operator) || self.operator != 'Exists' || !has(self.value)",
        "a toleration with operator Exists has no value: remove value, or write operator: Equal",
    ),
    (
        "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
        "a toleration without a key is for every taint and needs operator: Exists",
    ),
    (
        "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
        "tolerationSeconds needs effect: NoExecute; only that one takes running pods away",
    ),
];

/// How an expression over node labels goes together.
pub const NODE_VALUES: Said = (
    "self.operator in ['Exists', 'DoesNotExist'] ? (!has(self.values) || size(self.values) == 0) : (self.operator in ['In', 'NotIn'] ? (has(self.values) && size(self.values) > 0) : (has(self.values) && size(self.values) == 1 && self.values.all(value, value.matches('^-?[0-9]{1,18}$'))))",
    "In and NotIn need values, Exists and DoesNotExist have none, Gt and Lt have exactly one whole number",
);

/// The name of the resource. It stands in the name of everything that is made, and these have at most 63 characters.
pub const NAME: Said = (
    "size(self.metadata.name) <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name has at most 52 lower-case letters, digits and dashes, a letter first and no dash last: write for example \"checkout\"",
);

/// Rules between the sections of the spec. Each is reported at a field below it.
pub fn of_spec() -> Vec<Rule> {
    let (rule, message) = RESILIENCE;
    let mut rules = vec![
        at(".resilience", rule, message),
        at(".rollout", PREVIEW.0, PREVIEW.1),
        at(
            ".config",
            "!has(self.config) || !has(self.config.env) || !has(self.env) || self.env.all(variable, !(variable.name in self.config.env))",
            "a variable stands in both env and config.env: remove one of them",
        ),
        at(
            ".config",
            "!has(self.config) || !has(self.config.files) || !has(self.volumeMounts) || self.volumeMounts.all(mount, !(mount.mountPath in self.config.files))",
            "a path stands in both config.files and volumeMounts: move one of them",
        ),
        at(
            ".config",
            "!has(self.config) || !has(self.config.configMapRefs) || self.config.configMapRefs.all(reference, !has(reference.mount) || ((!has(self.config.files) || self.config.files.all(file, !(file + '/').startsWith(reference.mount + '/') && !reference.mount.startsWith(file + '/'))) && (!has(self.volumeMounts) || !self.volumeMounts.exists(mount, mount.mountPath == reference.mount))))",
            "the mount of a configMapRef is also in config.files or volumeMounts, or holds a file of config.files: move one of them",
        ),
        at(
            ".volumeMounts",
            "!has(self.volumeMounts) || self.volumeMounts.all(mount, has(self.volumes) && self.volumes.exists(volume, volume.name == mount.name))",
            "a mount's name must be that of one of spec.volumes: add the volume or correct the name",
        ),
        at(
            ".initContainers",
            "!has(self.initContainers) || !has(self.sidecars) || self.sidecars.all(sidecar, !self.initContainers.exists(container, container.name == sidecar.name))",
            "a sidecar and an init container have the same name: rename one of them",
        ),
        at(
            ".objectives",
            "!has(self.objectives) || self.objectives.all(objective, has(objective.promql)) || (has(self.ports) && size(self.ports) > 0)",
            "objectives are measured by the app's own metrics, and spec.ports is empty: add the port of the metrics",
        ),
        at(
            ".objectives",
            "!has(self.objectives) || self.objectives.all(objective, !has(objective.promql) || has(objective.promql.provider) || (has(self.observability) && has(self.observability.metrics) && has(self.observability.metrics.provider)))",
            "a promql objective needs a Prometheus to ask: set its provider, or observability.metrics.provider",
        ),
        at(
            ".observability",
            "!has(self.observability) || !has(self.observability.metrics) || !has(self.observability.metrics.port) || (has(self.ports) && self.ports.exists(port, port.name == self.observability.metrics.port && (!has(port.protocol) || port.protocol == 'TCP')))",
            "observability.metrics.port must be the name of one of spec.ports, a TCP one: add the port or correct the name",
        ),
        at(
            ".rollout",
            "!has(self.rollout) || !has(self.rollout.strategy) || !has(self.rollout.strategy.canary) || !has(self.rollout.strategy.canary.router) || self.rollout.strategy.canary.router != 'gatewayApi' || has(self.expose) != has(self.rollout.strategy.canary.routeRef)",
            "rollout.strategy.canary.router: gatewayApi moves the weights of one route: add expose with the Gateway, or routeRef with a route of your own, not both; or remove router",
        ),
        at(
            ".rollout",
            "!has(self.expose) || !has(self.expose.protocol) || self.expose.protocol != 'grpc' || !has(self.rollout) || !has(self.rollout.strategy) || !has(self.rollout.strategy.canary) || !has(self.rollout.strategy.canary.match) || self.rollout.strategy.canary.match.all(request, has(request.header))",
            "gRPC has neither cookies nor a query: let canary.match know requests by a header, which metadata are",
        ),
        at(
            ".expose",
            "!has(self.expose) || (has(self.ports) && size(self.ports) > 0)",
            "expose needs a port that requests can be sent to: add it to ports",
        ),
        at(
            ".expose",
            "!has(self.expose) || !has(self.expose.port) || !has(self.ports) || self.ports.exists(port, port.name == self.expose.port)",
            "expose.port must be the name of one of spec.ports: correct it, or leave it out for the first one",
        ),
        at(
            ".network",
            "!has(self.network) || !has(self.network.allowFrom) || size(self.network.allowFrom) == 0 || (has(self.ports) && size(self.ports) > 0)",
            "network.allowFrom lets others reach spec.ports, and there are none: add the ports or remove allowFrom",
        ),
        at(
            ".network",
            "!has(self.network) || !has(self.network.allowFrom) || self.network.allowFrom.all(source, !has(source.port) || !has(self.ports) || self.ports.exists(port, port.port == source.port))",
            "network.allowFrom.port must be the number of one of spec.ports: correct it, or leave it out to allow all of them",
        ),
        at(
            ".scaling",
            format!(
                "!has(self.scaling) || !has(self.scaling.metrics) || self.scaling.metrics.all(metric, !has(metric.containerResource) || (metric.containerResource.container == 'app' ? {} : (has(self.sidecars) && self.sidecars.exists(sidecar, sidecar.name == metric.containerResource.container && {}))))",
                requested("self", "metric.containerResource.name"),
                requested("sidecar", "metric.containerResource.name"),
            ),
            "scaling.metrics.containerResource must name app or a sidecar that requests that resource: a percentage of nothing cannot be measured",
        ),
    ];
    rules.extend(["cpu", "memory"].map(utilization));
    rules.extend(["sidecars", "initContainers"].map(mounts));
    rules.extend(["startup", "readiness", "liveness"].into_iter().flat_map(probe));
    rules
}

fn at(path: &str, rule: impl Into<String>, message: &str) -> Rule {
    Rule::new(rule).message(message).field_path(path)
}

/// Whether a container requests a resource. Kubernetes takes the limit for the request where only that is given.
fn requested(container: &str, resource: &str) -> String {
    let given = |kind: &str| format!("(has({container}.resources.{kind}) && {resource} in {container}.resources.{kind})");
    format!("(has({container}.resources) && ({} || {}))", given("requests"), given("limits"))
}

fn utilization(resource: &str) -> Rule {
    let name = format!("'{resource}'");
    at(
        ".scaling",
        format!(
            "!has(self.scaling) || !has(self.scaling.{resource}Utilization) || ({} && (!has(self.sidecars) || self.sidecars.all(sidecar, {})))",
            requested("self", &name),
            requested("sidecar", &name)
        ),
        &format!(
            "scaling.{resource}Utilization is a percentage of the {resource} request, and a percentage of nothing cannot be measured: set resources.requests.{resource} for every container, sidecars included"
        ),
    )
}

fn mounts(containers: &str) -> Rule {
    at(
        &format!(".{containers}"),
        format!(
            "!has(self.{containers}) || self.{containers}.all(container, !has(container.volumeMounts) || container.volumeMounts.all(mount, has(self.volumes) && self.volumes.exists(volume, volume.name == mount.name)))"
        ),
        "a mount's name must be that of one of spec.volumes: add the volume or correct the name",
    )
}

fn probe(name: &str) -> [Rule; 2] {
    let path = format!(".health.{name}");
    let probe = format!("self.health.{name}");
    let known = |kind: &str| {
        format!(
            "(!has({probe}.{kind}) || !has(self.ports) || size(self.ports) == 0 || (has({probe}.{kind}.port) ? self.ports.exists(port, port.name == {probe}.{kind}.port && (!has(port.protocol) || port.protocol == 'TCP')) : (!has(self.ports[0].protocol) || self.ports[0].protocol == 'TCP')))"
        )
    };
    [
        at(
            &path,
            format!("!has(self.health) || !has({probe}) || has({probe}.exec) || (has(self.ports) && size(self.ports) > 0)"),
            "without spec.ports only exec can probe: add the port or write an exec probe",
        ),
        at(
            &path,
            format!("!has(self.health) || !has({probe}) || ({} && {} && {})", known("httpGet"), known("tcpSocket"), known("grpc")),
            "the probe's port (the first one when absent) must be the name of one of spec.ports, a TCP one: add the port or correct the name",
        ),
    ]
}
