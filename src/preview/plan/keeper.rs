//! The keeper's pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, LocalObjectReference, PodReadinessGate, PodSecurityContext, PodSpec,
    PodTemplateSpec, ResourceRequirements, SeccompProfile, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;

use super::connections::{AllowedConnection, AllowedPort, Connections, Direction, Opens, Peer};
use super::labels::Labels;
use super::{Account, Request, labels, rights};
use crate::contract::assignment::Assignment;
use crate::session::{ASSIGNMENT, GATE, Role};

/// The name of the keeper's container, and the subcommand that it runs.
const KEEPER: &str = "keeper";

/// How long the keeper may take to have its rules dropped, in seconds.
const GRACE_SECONDS: i64 = 15;

/// The keeper's resource requests and limits: a quota of the namespace may demand
/// both. With 500 pods of the target it uses half of them.
const REQUESTS: &[(&str, &str)] = &[("cpu", "10m"), ("memory", "32Mi")];
const LIMITS: &[(&str, &str)] = &[("cpu", "1"), ("memory", "128Mi")];

/// The ports that API servers usually listen on.
const API_PORTS: [u16; 2] = [443, 6443];
const DNS_PORT: u16 = 53;

/// The connections of the keeper. The API server is not a pod: a policy that does
/// not know its address can only name its port. Canaries go to the target's pods.
pub(super) fn connections(assignment: &Assignment, labels: Labels, api_port: u16) -> Connections {
    let mut api = API_PORTS.to_vec();
    if !api.contains(&api_port) {
        api.push(api_port);
    }
    let rule = |peers, ports| AllowedConnection { peers, ports, opens: Opens::ThesePorts };
    let target = &assignment.target;
    Connections {
        role: Role::Keeper,
        labels,
        direction: Direction::Egress,
        rules: vec![
            rule(Vec::new(), api.into_iter().map(AllowedPort::tcp).collect()),
            rule(Vec::new(), vec![AllowedPort::udp(DNS_PORT), AllowedPort::tcp(DNS_PORT)]),
            rule(
                vec![Peer::Target],
                assignment.ports.iter().map(|port| AllowedPort::tcp(port.port)).collect(),
            ),
        ],
        blocked: format!("the keeper, which proves the route, from the pods of `{target}`"),
        opened: format!("lets it connect to the API server and to the pods of `{target}`"),
    }
}

/// The template of the root's pods, within the limits of the `restricted` Pod
/// Security Standard.
pub(super) fn template(request: &Request) -> PodTemplateSpec {
    let labels = labels::keeper(&request.identity, &request.agent.labels);
    let annotations = Some(request.agent.annotations.clone()).filter(|more| !more.is_empty());
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), annotations, ..ObjectMeta::default() }),
        spec: Some(pod(request)),
    }
}

fn pod(request: &Request) -> PodSpec {
    let routing = request.routing.as_ref();
    let assignment = routing
        .map(|routing| serde_json::to_string(&routing.assignment).expect("an assignment has a JSON form"));
    let mut secrets: Vec<LocalObjectReference> = of_target(request, "imagePullSecrets").unwrap_or_default();
    let named = request.agent.image_pull_secrets.iter();
    secrets.extend(named.map(|name| LocalObjectReference { name: name.clone() }));
    PodSpec {
        restart_policy: Some("OnFailure".to_owned()),
        service_account_name: routing.map(|routing| match &routing.account {
            Account::Own => rights::name(request),
            Account::Prepared(name) => name.clone(),
        }),
        automount_service_account_token: Some(routing.is_some()),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        // Whatever selects the keeper's pod, it is never Ready. The Job does not ask.
        readiness_gates: Some(vec![PodReadinessGate { condition_type: GATE.to_owned() }]),
        // Where the target runs its image is known to run: the agents' is the same.
        node_selector: of_target(request, "nodeSelector"),
        tolerations: of_target(request, "tolerations"),
        image_pull_secrets: Some(secrets).filter(|secrets| !secrets.is_empty()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(65532),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![Container {
            name: KEEPER.to_owned(),
            image: Some(request.agent.image.clone()),
            image_pull_policy: request
                .agent
                .image_pull_policy
                .map(|policy| policy.as_kubernetes().to_owned()),
            args: Some(vec![KEEPER.to_owned()]),
            env: assignment.map(|value| {
                vec![EnvVar { name: ASSIGNMENT.to_owned(), value: Some(value), value_from: None }]
            }),
            resources: Some(ResourceRequirements {
                requests: Some(quantities(REQUESTS)),
                limits: Some(quantities(LIMITS)),
                ..ResourceRequirements::default()
            }),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                read_only_root_filesystem: Some(true),
                capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
                ..SecurityContext::default()
            }),
            ..Container::default()
        }],
        ..PodSpec::default()
    }
}

/// A field of the target's pods.
fn of_target<T: DeserializeOwned>(request: &Request, field: &str) -> Option<T> {
    let value = request.source.template.get("spec")?.get(field)?;
    serde_json::from_value(value.clone()).ok()
}

fn quantities(given: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    given.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect()
}
