use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn spec(yaml: &str) -> ProductionServiceSpec {
    serde_saphyr::from_str(yaml).unwrap()
}

/// `{name: {text: {key: text}, binary: {key: base64}}}`.
fn config_maps(value: &Value) -> BTreeMap<String, Contents> {
    let texts = |value: &Value| -> BTreeMap<String, String> { serde_json::from_value(value.clone()).unwrap_or_default() };
    let entries = value.as_object().into_iter().flatten();
    entries
        .map(|(name, contents)| (name.clone(), Contents { text: texts(&contents["text"]), binary: texts(&contents["binary"]) }))
        .collect()
}

#[test]
fn no_release_changes_the_hash_of_an_old_spec() {
    let cases: Vec<Value> = serde_saphyr::from_str(include_str!("golden.yaml")).unwrap();
    assert!(cases.len() >= 7);
    for case in cases {
        let spec = serde_json::from_value(case["spec"].clone()).unwrap();
        assert_eq!(identity(&spec, &config_maps(&case["configMaps"])), case["hash"], "{}", case["why"]);
    }
}

#[test]
fn one_intent_has_one_hash() {
    let cases = [
        ("an empty list", "{image: a}", "{image: a, command: []}"),
        ("an empty section", "{image: a}", "{image: a, podMetadata: {labels: {}}, config: {files: {}}, health: {}, affinity: {}}"),
        ("an empty restart", "{image: a}", "{image: a, restart: ''}"),
        (
            "quantities",
            "{image: a, resources: {limits: {cpu: 1, memory: 1Gi}}}",
            "{image: a, resources: {limits: {cpu: 1000m, memory: 1024Mi}}}",
        ),
        ("a fraction", "{image: a, resources: {limits: {cpu: 0.5}}}", "{image: a, resources: {limits: {cpu: 500m}}}"),
        (
            "a sidecar's quantities",
            "{image: a, sidecars: [{name: s, image: s, resources: {limits: {cpu: 1}}}]}",
            "{image: a, sidecars: [{name: s, image: s, resources: {limits: {cpu: 1000m}}}]}",
        ),
        (
            "a volume's size",
            "{image: a, volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}]}",
            "{image: a, volumes: [{name: v, emptyDir: {sizeLimit: 1024Ki}}]}",
        ),
        (
            "what is not part of a revision",
            "{image: a}",
            "{image: a, replicas: 7, scaling: {maxReplicas: 9, cpuUtilization: 50}, availability: {maxUnavailable: 1}, network: {policy: isolated}, \
             objectives: [{name: e, errorRate: {atMost: 1%}}], rollout: {bakeSeconds: 1}, control: {paused: true}, deletionPolicy: orphan, \
             serviceAccount: {annotations: {a: b}}}",
        ),
    ];
    for (why, one, other) in cases {
        assert_eq!(identity(&spec(one), &BTreeMap::new()), identity(&spec(other), &BTreeMap::new()), "{why}");
    }
}

#[test]
fn what_changes_pods_changes_the_hash() {
    let specs = [
        "{image: a}",
        "{image: b}",
        "{image: a, command: [x]}",
        "{image: a, args: [x]}",
        "{image: a, args: ['']}",
        "{image: a, workingDir: /x}",
        "{image: a, env: [{name: A}]}",
        "{image: a, env: [{name: A, value: x}]}",
        "{image: a, envFrom: [{secretRef: {name: x}}]}",
        "{image: a, resources: {limits: {cpu: 1}}}",
        "{image: a, resources: {requests: {cpu: 1}}}",
        "{image: a, volumes: [{name: v, emptyDir: {}}]}",
        "{image: a, volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /v}]}",
        "{image: a, sidecars: [{name: s, image: s}]}",
        "{image: a, initContainers: [{name: s, image: s}]}",
        "{image: a, nodeSelector: {a: '1'}}",
        "{image: a, nodeSelector: {a: 1000m}}",
        "{image: a, tolerations: [{operator: Exists}]}",
        "{image: a, affinity: {nearServices: [{service: x, topology: host}]}}",
        "{image: a, affinity: {avoidServices: [{service: x, topology: host}]}}",
        "{image: a, priorityClassName: x}",
        "{image: a, imagePullSecrets: [{name: x}]}",
        "{image: a, securityContext: {runAsUser: 1}}",
        "{image: a, podMetadata: {labels: {a: b}}}",
        "{image: a, podMetadata: {annotations: {a: b}}}",
        "{image: a, restart: x}",
        "{image: a, ports: [{name: a, port: 1}]}",
        "{image: a, serviceAccount: {name: x}}",
        "{image: a, serviceAccount: {automountToken: true}}",
        "{image: a, config: {files: {/a: ''}}}",
        "{image: a, config: {env: {A: ''}}}",
        "{image: a, config: {configMapRefs: [{name: x}]}}",
        "{image: a, config: {configMapRefs: [{name: x, mount: /x}]}}",
        "{image: a, health: {readiness: {tcpSocket: {}}}}",
        "{image: a, health: {readiness: {httpGet: {}}}}",
        "{image: a, health: {startup: {httpGet: {}}}}",
        "{image: a, health: {drainSeconds: 1}}",
        "{image: a, availability: {spread: {zones: false}}}",
    ];
    let mut seen = BTreeMap::new();
    for text in specs {
        let hash = identity(&spec(text), &BTreeMap::new());
        assert_eq!(hash.len(), 10);
        assert_eq!(seen.insert(hash, text), None, "{text}");
    }
    let reference = spec("{image: a, config: {configMapRefs: [{name: x}]}}");
    let contents =
        [json!({"x": {}}), json!({"x": {"text": {"a": "1"}}}), json!({"x": {"text": {"a": "2"}}}), json!({"x": {"binary": {"a": "1"}}})];
    let hashes: std::collections::BTreeSet<_> = contents.iter().map(|contents| identity(&reference, &config_maps(contents))).collect();
    assert_eq!(hashes.len(), contents.len(), "contents of references are part of the revision");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_cannot_be_honoured_is_refused_with_its_path_and_remedy() {
    let flags = json!({"flags": {"text": {"A": "1", "1b": "2"}, "binary": {"logo.png": "AAAA"}}, "files": {"text": {"a.yaml": "1"}}, "good": {"text": {"A": "1"}}});
    let cases = [
        (
            "config: {configMapRefs: [{name: lost}]}",
            "spec.config.configMapRefs[0].name: ConfigMap lost does not exist in this namespace; create it",
        ),
        (
            "config: {configMapRefs: [{name: flags}]}",
            "spec.config.configMapRefs[0]: key \"1b\" of ConfigMap flags is no name of a variable; rename the key, or set mount to get files",
        ),
        (
            "config: {configMapRefs: [{name: flags}]}",
            "spec.config.configMapRefs[0]: key \"logo.png\" of ConfigMap flags is binary and cannot be a variable; set mount to get files",
        ),
        ("config: {env: {'A B': x}}", "spec.config.env: \"A B\" is no name of a variable; a name is letters"),
        (
            "config: {env: {A: x}}\nenv: [{name: A, value: y}]",
            "spec.env[0]: variable A is set by spec.config.env already; keep one of the two",
        ),
        (
            "config: {env: {A: x}, configMapRefs: [{name: good}]}",
            "spec.config.env: variable A is set by spec.config.configMapRefs[0] already",
        ),
        ("config: {files: {etc/a: x}}", "spec.config.files: \"etc/a\" is not absolute; begin with a slash"),
        ("config: {files: {/etc/../a: x}}", "spec.config.files: \"/etc/../a\" has a \"..\"; write where it leads"),
        ("config: {files: {/etc/: x}}", "spec.config.files: \"/etc/\" has an empty part"),
        ("config: {files: {'/a:b': x}}", "spec.config.files: \"/a:b\" has a colon"),
        (
            "config: {files: {/x: x}}\nvolumes: [{name: v, emptyDir: {}}]\nvolumeMounts: [{name: v, mountPath: /x/}]",
            "spec.config.files: /x is spec.volumeMounts[0].mountPath already",
        ),
        (
            "config: {files: {/etc/f/x: x}, configMapRefs: [{name: files, mount: /etc/f}]}",
            "spec.config.files: /etc/f/x lies inside /etc/f, which spec.config.configMapRefs[0].mount makes read-only",
        ),
        ("volumeMounts: [{name: v, mountPath: /x}]", "spec.volumeMounts[0].name: \"v\" is not one of spec.volumes; add it there"),
        (
            "sidecars: [{name: s, image: s, volumeMounts: [{name: v, mountPath: /x}]}]",
            "spec.sidecars[0].volumeMounts[0].name: \"v\" is not one of spec.volumes",
        ),
        (
            "volumes: [{name: plimsoll-config, emptyDir: {}}]",
            "spec.volumes[0].name: \"plimsoll-config\": names that begin with plimsoll- are taken",
        ),
        ("sidecars: [{name: app, image: s}]", "spec.sidecars[0].name: \"app\" is taken"),
        ("sidecars: [{name: s, image: s}]\ninitContainers: [{name: s, image: s}]", "spec.initContainers[0].name: \"s\" is taken"),
        (
            "resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}",
            "spec.resources.requests.memory: 2Gi is above the limit of 1Gi; lower it or raise the limit",
        ),
        ("resources: {limits: {mem: 1Gi}}", "spec.resources.limits.mem: no such resource; use cpu, memory, ephemeral-storage"),
        ("resources: {limits: {cpu: '1e99'}}", "spec.resources.limits.cpu: \"1e99\" is no quantity; write for example 500m, 256Mi or 2"),
        (
            "health: {readiness: {httpGet: {port: http}}}",
            "spec.health.readiness.httpGet.port: \"http\" is not one of spec.ports (which is empty); add it there or name one of them",
        ),
        (
            "health: {readiness: {tcpSocket: {}}}",
            "spec.health.readiness.tcpSocket.port: there is no TCP port in spec.ports to probe; add one, or use exec",
        ),
        (
            "ports: [{name: dns, port: 53, protocol: UDP}]\nhealth: {liveness: {grpc: {port: dns}}}",
            "spec.health.liveness.grpc.port: port \"dns\" is not TCP",
        ),
        (
            "health: {drainSeconds: 30, terminationGraceSeconds: 30}",
            "spec.health.terminationGraceSeconds: 30 seconds leave none after the drain of 30",
        ),
        ("ports: [{name: '80', port: 80}]", "spec.ports[0].name: \"80\" needs a letter"),
        ("ports: [{name: a, port: 80}, {name: b, port: 80}]", "spec.ports[1].port: port 80 is \"a\" already; keep one of the two"),
        ("podMetadata: {labels: {'a b': c}}", "spec.podMetadata.labels: \"a b\" is no valid key"),
        ("podMetadata: {labels: {a: 'b c'}}", "spec.podMetadata.labels.a: \"b c\" cannot be a label"),
        (
            "podMetadata: {annotations: {plimsoll.dev/revision: x}}",
            "spec.podMetadata.annotations: \"plimsoll.dev/revision\": keys under plimsoll.dev/ are taken",
        ),
        ("nodeSelector: {Bad/key: x}", "spec.nodeSelector: \"Bad/key\" is no valid key"),
        ("tolerations: [{value: x}]", "spec.tolerations[0].key: no key is given"),
        ("tolerations: [{operator: Exists, value: x}]", "spec.tolerations[0].value: operator Exists compares no value"),
        ("tolerations: [{key: x, tolerationSeconds: 1}]", "spec.tolerations[0].tolerationSeconds: counts only with effect: NoExecute"),
        (
            "affinity: {requiredNodes: [{key: a, operator: In}]}",
            "spec.affinity.requiredNodes[0].values: operator In needs at least one value",
        ),
        (
            "affinity: {preferredNodes: [{weight: 1, expressions: [{key: a, operator: Gt, values: [x]}]}]}",
            "spec.affinity.preferredNodes[0].expressions[0].values: operator Gt needs exactly one whole number",
        ),
        (
            "network: {policy: isolated, allowTo: [{cidr: 300.0.0.0/8}]}",
            "spec.network.allowTo[0].cidr: \"300.0.0.0/8\" is no range of addresses",
        ),
        ("network: {policy: isolated, allowFrom: [{cidr: 10.0.0.0/33}]}", "spec.network.allowFrom[0].cidr: \"10.0.0.0/33\" is no range"),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.hostNetwork}}}]",
            "spec.env[0].valueFrom.fieldRef.fieldPath: \"spec.hostNetwork\" is no field that a pod can see",
        ),
        (
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.gpu}}}]",
            "spec.env[0].valueFrom.resourceFieldRef.resource: \"gpu\" cannot be shown",
        ),
        ("env: [{name: 'Ä'}]", "spec.env[0].name: \"Ä\" is no name of a variable"),
        (
            "scaling: {maxReplicas: 2, metrics: [{containerResource: {name: cpu, container: x, target: {type: Utilization, averageUtilization: 1}}}]}",
            "spec.scaling.metrics[0].containerResource.container: \"x\" is neither app nor one of spec.sidecars",
        ),
    ];
    for (yaml, expected) in cases {
        let found = refusals(&spec(&format!("image: a\n{yaml}")), &config_maps(&flags));
        assert!(found.iter().any(|refusal| refusal.message.starts_with(expected)), "{yaml}:\n{found:#?}");
    }
}

#[test]
fn what_is_too_large_for_a_config_map_is_refused() {
    let kib = |kib: usize| "x".repeat(kib * 1024);
    let mut large = spec("{image: a, config: {configMapRefs: [{name: big}]}}");
    let maps = |size: usize| config_maps(&json!({"big": {"text": {"A": kib(size)}}}));
    assert_eq!(refusals(&large, &maps(900)), []);
    let found = refusals(&large, &maps(901));
    assert_eq!(found[0].reason, "ConfigTooLarge");
    assert!(found[0].message.starts_with("spec.config: 901 KiB with the ConfigMaps it refers to, and 900 KiB is the most"), "{found:?}");
    large.args = vec![kib(60)];
    let found = refusals(&large, &maps(900));
    assert!(found[0].message.starts_with("spec: 1045 KiB in all, and 1024 KiB is the most"), "{found:?}");
}

#[test]
fn what_can_be_honoured_is_not_refused() {
    let good = [
        "image: a",
        "{image: a, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}], health: {readiness: {tcpSocket: {}}}}",
        "{image: a, config: {files: {/etc/a/x: '', /etc/a/y: ''}, env: {a.b-c_D: x}, configMapRefs: [{name: odd, mount: /etc/b}]}}",
        "{image: a, resources: {requests: {cpu: 1, example.com/gpu: 1}, limits: {cpu: 1000m, hugepages-2Mi: 4Mi}}}",
        "{image: a, podMetadata: {labels: {a: '', example.com/b: c}, annotations: {cluster-autoscaler.kubernetes.io/safe-to-evict: 'true'}}}",
        "{image: a, env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['team']\"}}}]}",
        "{image: a, tolerations: [{operator: Exists}], network: {policy: isolated, allowTo: [{cidr: 'fd00::/8'}]}}",
        "{image: a, volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /}, {name: v, mountPath: /x/, subPath: y}]}",
    ];
    for text in good {
        assert_eq!(refusals(&spec(text), &config_maps(&json!({"odd": {"text": {"1 x": ""}}}))), [], "{text}");
    }
}
