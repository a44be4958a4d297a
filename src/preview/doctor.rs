//! `doctor`: what would stop `start` here. It asks, and creates nothing.

use anyhow::Result;
use serde_json::Value;

use super::connected;
use super::plan::{Account, Plan, Request};
use super::rights::{Extent, GRANTING, KEEPER, Right, USER};
use super::start::{self, routing};
use crate::cluster::{Access, Cluster, explain, place};
use crate::config::{Config, Environment, Overrides};
use crate::keeper::assignment::Pods;
use crate::output::{self, Reporter};
use crate::problem::{Exit, Problem, Report};
use crate::session::SESSION;
use crate::target::Target;

/// The oldest Kubernetes that has all we ask of it, as minor version.
const OLDEST_MINOR: u32 = 30;

/// The oldest kernel with the capture of the first choice: BPF `sk_lookup`.
const OLDEST_KERNEL: (u32, u32) = (5, 9);

/// What was found.
#[derive(Default)]
struct Findings {
    /// What would stop `start`.
    obstacles: usize,
    /// Rights that lack, and have to be given.
    missing: Vec<&'static Right>,
}

/// Says what would stop `start` with this configuration.
pub async fn doctor(flags: &Overrides, environment: &Environment, reporter: &Reporter) -> Result<()> {
    let step = reporter.step("loading configuration");
    let config = Config::resolve(flags, environment, uuid::Uuid::new_v4())?;
    reporter.warnings(&config.selection.warnings);
    step.done("configuration loaded");
    let cluster = connected(&config.selection, reporter).await?;
    let namespace = config.selection.namespace.clone().unwrap_or_else(|| cluster.default_namespace.clone());
    let mut findings = Findings::default();
    version(&cluster, &mut findings, reporter).await;
    if cluster.has_namespace(&namespace).await == Some(false) {
        return Err(Problem::new(format!("there is no namespace `{namespace}`"))
            .hint("pass `-n <namespace>`")
            .exit(Exit::NotFound)
            .into());
    }
    rights(&cluster, &namespace, &mut findings, reporter).await?;
    match config.selection.target.clone() {
        Some(target) => look(&cluster, &config, target, &namespace, &mut findings, reporter).await,
        None => reporter.warning("no target is named, so none was looked at: pass `-t <kind>/<name>`"),
    }
    end(&findings, &namespace, reporter)
}

fn end(findings: &Findings, namespace: &str, reporter: &Reporter) -> Result<()> {
    if !findings.missing.is_empty() {
        let rules: String = findings.missing.iter().map(|right| right.lines()).collect();
        output::data(&format!(
            "# What lacks, for an admin to give to you in a RoleBinding:\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n\
             metadata: {{name: mirrord-preview-missing, namespace: {namespace}}}\nrules:\n{rules}"
        ))?;
    }
    if findings.obstacles == 0 {
        reporter.success(&[
            format!("namespace: {namespace}"),
            "start: nothing that is known would stop it".to_owned(),
        ]);
        return Ok(());
    }
    let problem = Problem::new(format!(
        "{} would stop `mirrord preview start` in namespace `{namespace}`",
        if findings.obstacles == 1 {
            "one thing".to_owned()
        } else {
            format!("{} things", findings.obstacles)
        }
    ));
    let exit = if findings.missing.is_empty() { Exit::Failed } else { Exit::NotAllowed };
    Err(problem.exit(exit).into())
}

async fn version(cluster: &Cluster, findings: &mut Findings, reporter: &Reporter) {
    let step = reporter.step("asking for the version");
    let Some(version) = cluster.version().await else {
        return step.done("the version of Kubernetes is not told");
    };
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_some_and(|minor| minor < OLDEST_MINOR) {
        findings.obstacles += 1;
        return step.failed(&format!("Kubernetes {version}: 1.{OLDEST_MINOR} or newer is needed"));
    }
    step.done(&format!("Kubernetes {version}"));
}

/// What the user may do, and whose rights the keeper can have.
async fn rights(
    cluster: &Cluster,
    namespace: &str,
    findings: &mut Findings,
    reporter: &Reporter,
) -> Result<()> {
    let step = reporter.step("asking for your rights");
    let granting = missing(cluster, namespace, &GRANTING.iter().chain(KEEPER).collect::<Vec<_>>()).await?;
    let own = missing(cluster, namespace, &USER.iter().collect::<Vec<_>>()).await?;
    let (needed, useful): (Vec<_>, Vec<_>) =
        own.into_iter().partition(|right| right.extent != Extent::Useful);
    if needed.is_empty() {
        step.done("you have the rights to start, look at and stop previews");
    } else {
        findings.obstacles += 1;
        step.failed(&format!("you lack rights to {}", named(&needed)));
        findings.missing.extend(needed);
    }
    if !useful.is_empty() {
        reporter.warning(&format!(
            "some things would go unsaid or unused, for want of rights to {}",
            named(&useful)
        ));
    }
    let step = reporter.step("asking for the keeper's rights");
    if granting.is_empty() {
        step.done("the keeper gets a Role of its own, gone with the environment");
    } else if cluster.has_account(namespace, routing::PREPARED).await {
        step.done(&format!("the keeper runs as ServiceAccount `{}`, which is there", routing::PREPARED));
    } else {
        findings.obstacles += 1;
        step.failed(&format!(
            "the keeper cannot have its rights: you cannot grant {}; an admin can apply what `mirrord preview rbac -n {namespace}` prints",
            named(&granting)
        ));
    }
    Ok(())
}

async fn missing(
    cluster: &Cluster,
    namespace: &str,
    rights: &[&'static Right],
) -> Result<Vec<&'static Right>> {
    let asked = rights.iter().flat_map(|right| {
        right.verbs.iter().map(|verb| Access { group: right.group, resource: right.resource, verb })
    });
    let refused = cluster
        .refused(namespace, asked.collect())
        .await
        .map_err(|error| explain::api(&error, "could not ask for your rights"))?;
    let lacks = |right: &&&'static Right| {
        refused.iter().any(|access| (access.group, access.resource) == (right.group, right.resource))
    };
    Ok(rights.iter().filter(lacks).copied().collect())
}

fn named(rights: &[&Right]) -> String {
    let names: Vec<String> = rights.iter().map(|right| right.resource.to_owned()).collect();
    explain::listed(&names)
}

/// The target, its pods, and what the cluster says to the preview's.
async fn look(
    cluster: &Cluster,
    config: &Config,
    target: Target,
    namespace: &str,
    findings: &mut Findings,
    reporter: &Reporter,
) {
    let step = reporter.step("looking at the target");
    let path = target.path();
    let image = config.image.clone();
    let request = start::looked_at(cluster, config, target, image, namespace, reporter).await;
    let mut request = match request {
        Ok(request) => request,
        Err(error) => {
            findings.obstacles += 1;
            return step.failed(&in_a_line(&error));
        }
    };
    step.done(&format!("{path}: container `{}` gets the image", request.container.name));
    if let Some(routing) = request.routing.clone() {
        let step = reporter.step("asking for an agent");
        match routing::prepared(cluster, routing.assignment, &config.agent).await {
            Ok(routing) => {
                let ports = routing.assignment.ports.iter().map(|port| port.port.to_string());
                let ports = ports.collect::<Vec<_>>().join(", ");
                request.routing = Some(routing);
                step.done(&format!(
                    "agents may be attached; requests to port {ports} can come to the preview"
                ));
            }
            Err(error) => {
                findings.obstacles += 1;
                step.failed(&in_a_line(&error));
            }
        }
        surroundings(cluster, &request, reporter).await;
    }
    admitted(cluster, &request, findings, reporter).await;
}

/// Whether the pods would be taken.
async fn admitted(cluster: &Cluster, request: &Request, findings: &mut Findings, reporter: &Reporter) {
    let plan = Plan::of(request);
    reporter.warnings(&plan.warnings);
    let step = reporter.step("asking for the pods");
    let mut pods: Vec<(&str, Value)> = vec![("preview", plan.pod_template())];
    if let (Some(keeper), true) = (plan.keeper_template(), request.routing.is_some()) {
        pods.push(("keeper", keeper));
    }
    for (which, mut template) in pods {
        // Its account is not there yet.
        let is_own = request.routing.as_ref().is_some_and(|routing| routing.account == Account::Own);
        if let Some(spec) = template["spec"].as_object_mut().filter(|_| which == "keeper" && is_own) {
            spec.remove("serviceAccountName");
        }
        match cluster.would_take_pod(&request.namespace, "mirrord-doctor-probe", &template).await {
            Ok(()) => {}
            Err(error)
                if explain::is_refused(&error) && error.to_string().contains("cannot create resource") =>
            {
                return step.done("whether quotas and policies let the pods in is not for you to ask");
            }
            Err(error) => {
                findings.obstacles += 1;
                return step.failed(&format!("the {which} pod would be refused: {error}"));
            }
        }
    }
    step.done("quotas, limits and policies let the preview's pods in");
}

/// Kernel, mesh and `NetworkPolicy`: what the proof may fail on.
async fn surroundings(cluster: &Cluster, request: &Request, reporter: &Reporter) {
    let Some(routing) = &request.routing else { return };
    let step = reporter.step("looking at the target's pods");
    let pods = match &routing.assignment.pods {
        Pods::Named(name) => cluster.pods_like(&request.namespace, None, Some(name)).await,
        Pods::Labelled(labels) => {
            cluster.pods_like(&request.namespace, Some(&format!("{labels},!{SESSION}")), None).await
        }
    };
    let (mut nodes, mut meshes) = (Vec::new(), Vec::new());
    for (node, found) in pods.iter().map(place) {
        nodes.extend(node);
        meshes.extend(found);
    }
    for list in [&mut nodes, &mut meshes] {
        list.sort_unstable();
        list.dedup();
    }
    let kernels = cluster.kernels(&nodes).await;
    for (node, kernel) in &kernels {
        if older(kernel) {
            reporter.warning(&format!(
                "node `{node}` has kernel {kernel}, which has no `sk_lookup`: agents there capture by nftables, if at all"
            ));
        }
    }
    if !meshes.is_empty() {
        reporter.warning(&format!(
            "the target's pods have a mesh's sidecar ({}): `start` proves whether requests come past it",
            explain::listed(&meshes)
        ));
    }
    let policies = cluster.policies_before(&request.namespace, &request.source.labels()).await;
    if !policies.is_empty() {
        reporter.warning(&format!(
            "NetworkPolicies decide what comes to the target's pods ({}): they must let the keeper in, by its label \
             `preview.mirrord.io/role=keeper`, for the proof",
            explain::listed(&policies)
        ));
    }
    step.done(&match kernels.first() {
        Some((_, kernel)) => format!("{} pods, on nodes with kernel {kernel}", pods.len()),
        None => format!("{} pods; their nodes' kernels are not for you to see", pods.len()),
    });
}

fn older(kernel: &str) -> bool {
    let mut numbers = kernel.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < OLDEST_KERNEL,
        _ => false,
    }
}

fn in_a_line(error: &anyhow::Error) -> String {
    let Report { what, causes, hint, .. } = Report::of(error);
    let mut words = vec![what];
    words.extend(causes);
    let line = words.join(": ").replace('\n', " ");
    match hint {
        Some(hint) => format!("{line}; {hint}"),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_older_by_its_first_two_numbers() {
        for (kernel, is_older) in [
            ("5.8.0-63-generic", true),
            ("4.18.0-553.el8", true),
            ("5.9", false),
            ("5.10.225-213.878.amzn2", false),
            ("6.18.44", false),
            ("unheard of", false),
        ] {
            assert_eq!(older(kernel), is_older, "{kernel}");
        }
    }
}
