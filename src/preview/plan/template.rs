//! The preview's pod template: the target's, changed where it has to differ.

use serde_json::{Map, Value, json};

use super::connections::{AllowedConnection, AllowedPort, Connections, Direction, Opens, Peer};
use super::labels::Labels;
use super::{Request, env, mounts, overrides, repeats, scheduling, volumes};
use crate::contract::assignment::Assignment;
use crate::session::{GATE, IMAGE, Role};

/// Annotations in which network plugins note the addresses that they gave to one
/// pod: a second pod would ask for the same.
const NETWORK_ANNOTATIONS: &[&str] = &[
    "k8s.ovn.org/",
    "ovn.kubernetes.io/",
    "cni.projectcalico.org/podIP",
    "cni.projectcalico.org/podIPs",
    "cni.projectcalico.org/containerID",
    "k8s.v1.cni.cncf.io/network-status",
    "k8s.v1.cni.cncf.io/networks-status",
];

/// The connections of the preview pods: agents in the target's pods pass
/// requests on to them.
pub(super) fn connections(assignment: &Assignment, labels: Labels) -> Connections {
    let ports = assignment.ports.iter().map(|port| AllowedPort::tcp(port.preview_port.unwrap_or(port.port)));
    let target = &assignment.target;
    Connections {
        role: Role::Preview,
        labels,
        direction: Direction::Ingress,
        rules: vec![AllowedConnection {
            peers: vec![Peer::Target, Peer::Role(Role::Keeper)],
            ports: ports.collect(),
            opens: Opens::AllPorts,
        }],
        blocked: format!("the agents in the pods of `{target}` from passing requests on to the preview"),
        opened: format!("lets requests in from the pods of `{target}`"),
    }
}

/// Makes the preview's template from the target's.
pub(super) fn preview(request: &Request, name: &str, warnings: &mut Vec<String>) -> Value {
    let mut spec = object(request.source.template.get("spec"));
    image(&mut spec, request, warnings);
    if request.source.lived {
        strip_live_fields(&mut spec);
    }
    host_ports(&mut spec, warnings);
    volumes::change(&mut spec, request, warnings);
    let (live, labels) = (request.source.labels(), request.preview_labels());
    scheduling::relax(&mut spec, &live, &labels, &request.namespace, warnings);
    scheduling::priority(&mut spec, warnings);
    warnings.extend(repeats::warnings(&request.source, &request.identity.target.path()));
    mounts::mount(&mut spec, request, name, warnings);
    let mut gates =
        spec.remove("readinessGates").and_then(|gates| gates.as_array().cloned()).unwrap_or_default();
    gates.push(json!({"conditionType": GATE}));
    spec.insert("readinessGates".to_owned(), gates.into());
    spec.insert("restartPolicy".to_owned(), "Always".into());
    // A ReplicaSet's pods may not have one; the root's deadline ends them.
    spec.remove("activeDeadlineSeconds");
    json!({"metadata": metadata(request), "spec": spec})
}

fn metadata(request: &Request) -> Value {
    let original = object(request.source.template.get("metadata"));
    let labels = request.preview_labels();
    let mut annotations = object(original.get("annotations"));
    if request.source.lived {
        annotations.retain(|name, _| !is_networks(name));
    }
    for (name, value) in request.identity.annotations() {
        annotations.insert(name, value.into());
    }
    annotations.insert(IMAGE.to_owned(), request.image.clone().into());
    json!({"labels": labels, "annotations": annotations})
}

/// Whether it is one of [`NETWORK_ANNOTATIONS`], or of a subdomain.
fn is_networks(annotation: &str) -> bool {
    NETWORK_ANNOTATIONS.iter().any(|name| match name.strip_suffix('/') {
        Some(domain) => annotation.split_once('/').is_some_and(|(own, _)| {
            own == domain || own.strip_suffix(domain).is_some_and(|sub| sub.ends_with('.'))
        }),
        None => annotation == *name,
    })
}

/// Sets the user's image. A pull policy that is the default for the old reference
/// is dropped for the default of the new one; any other stays.
fn image(spec: &mut Map<String, Value>, request: &Request, warnings: &mut Vec<String>) {
    let container = chosen_container(spec, request);
    let old = container.insert("image".to_owned(), request.image.clone().into());
    let old = old.as_ref().and_then(Value::as_str).unwrap_or_default();
    if container.get("imagePullPolicy").and_then(Value::as_str) == Some(default_pull_policy(old)) {
        container.remove("imagePullPolicy");
    }
    env::change(container, &request.env, warnings);
    overrides::apply(container, &request.overrides, warnings);
}

/// The container that gets the image.
pub(super) fn chosen_container<'a>(
    spec: &'a mut Map<String, Value>,
    request: &Request,
) -> &'a mut Map<String, Value> {
    let containers = spec.get_mut("containers").and_then(|list| list.get_mut(request.container.index));
    containers.and_then(Value::as_object_mut).expect("the container was chosen among those of this template")
}

/// Kubernetes' rule: `latest`, explicit or implied, is always pulled.
fn default_pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().expect("a split text has a last part");
    let (reference, digest) =
        last.split_once('@').map_or((last, None), |(reference, digest)| (reference, Some(digest)));
    match (reference.split_once(':'), digest) {
        (Some((_, "latest")), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

/// Each host port exists once on a node: the preview would take it from the live
/// workload, or would never be scheduled. With the node's network the fields only
/// repeat the container's ports.
fn host_ports(spec: &mut Map<String, Value>, warnings: &mut Vec<String>) {
    if spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
        warnings.push(
            "the target uses its node's network: the preview competes with the target for the same ports"
                .to_owned(),
        );
        return;
    }
    let mut removed = false;
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for port in containers
            .into_iter()
            .flatten()
            .filter_map(|container| container.get_mut("ports")?.as_array_mut())
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            removed |= port.remove("hostPort").is_some();
            port.remove("hostIP");
        }
    }
    if removed {
        warnings.push("the target's host ports are left out: each exists once on a node".to_owned());
    }
}

/// Removes the fields that the cluster has set in a live pod: the node, the host
/// name, the token of the service account, the numeric priority, the debugging
/// containers.
fn strip_live_fields(spec: &mut Map<String, Value>) {
    for field in [
        "nodeName",
        "hostname",
        "subdomain",
        "ephemeralContainers",
        "priority",
        "preemptionPolicy",
        "serviceAccount",
    ] {
        spec.remove(field);
    }
    // The token in such a volume is bound to the pod.
    let is_token = |volume: &Value| {
        volume.get("name").and_then(Value::as_str).is_some_and(|name| name.starts_with("kube-api-access-"))
    };
    if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
        volumes.retain(|volume| !is_token(volume));
    }
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for mounts in containers
            .into_iter()
            .flatten()
            .filter_map(|container| container.get_mut("volumeMounts")?.as_array_mut())
        {
            mounts.retain(|mount| !is_token(mount));
        }
    }
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_pull_policy_is_kubernetes_own() {
        for (image, policy) in [
            ("app", "Always"),
            ("app:latest", "Always"),
            ("registry:5000/app", "Always"),
            ("registry:5000/app:1", "IfNotPresent"),
            ("app@sha256:00", "IfNotPresent"),
            ("app:latest@sha256:00", "Always"),
            ("app:1@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(default_pull_policy(image), policy, "{image}");
        }
    }
}
