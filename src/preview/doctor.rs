//! `doctor`: checks whether `start` would succeed. It creates nothing.

mod permissions;
mod target;

use anyhow::Result;

use self::target::TargetFinding;
use super::lifetime::CountedFrom;
use super::plan::{Account, Plan, Request};
use super::preflight::admission::{self, Admission};
use super::preflight::inspection::Inspection;
use super::preflight::{keeper_account, network_policies, nodes};
use super::rights::{self, Right};
use super::{connected, features};
use crate::cluster::Cluster;
use crate::config::{Config, Environment, Overrides};
use crate::connection::Purpose;
use crate::output::Reporter;
use crate::problem::{ErrorReport, Exit, Problem};
use crate::words;

/// The minor version of the oldest Kubernetes that mirrord supports.
const OLDEST_MINOR: u32 = 30;

/// The results of the checks.
#[derive(Default)]
struct Findings {
    /// The exit codes that `start` would have for each obstacle.
    obstacles: Vec<Exit>,
    /// The missing rights without which `start` would fail.
    missing: Vec<Right>,
}

/// What the checks are about.
struct Check<'a> {
    cluster: &'a Cluster,
    config: &'a Config,
    namespace: &'a str,
    reporter: &'a Reporter,
}

/// Checks whether `start` would succeed with this configuration.
///
/// # Errors
///
/// If `start` would fail: `NotAllowed` if a permission is missing, `NotFound` if the
/// namespace does not exist, else `Failed`.
pub async fn doctor(flags: &Overrides, environment: &Environment, reporter: &Reporter) -> Result<()> {
    let step = reporter.step("loading configuration");
    let config = Config::resolve(flags, environment, uuid::Uuid::new_v4())?;
    reporter.warnings(&config.selection.warnings);
    step.done("configuration loaded");
    let cluster = connected(&config.selection, Purpose::Look, reporter).await?;
    let namespace = config.selection.namespace.clone().unwrap_or_else(|| cluster.default_namespace.clone());
    let check = Check { cluster: &cluster, config: &config, namespace: &namespace, reporter };
    let mut findings = Findings::default();
    check.version(&mut findings).await;
    if cluster.has_namespace(&namespace).await == Some(false) {
        return Err(Problem::new(format!("there is no namespace `{namespace}`"))
            .hint("pass `-n <namespace>`")
            .exit(Exit::NotFound)
            .into());
    }
    let target = check.target(&mut findings).await;
    check.rights(&target, &mut findings).await?;
    let keeper = rights::keeper(&features::of(&config, target.inspection()));
    let account = if keeper.is_empty() { None } else { check.keeper(&keeper, &mut findings).await? };
    if let TargetFinding::Read(inspection) = target {
        check.pods(*inspection, account, &mut findings).await;
    }
    findings.report(&namespace, reporter)
}

// === impl Findings ===

impl Findings {
    /// Adds an obstacle that is an error of `start`.
    fn error(&mut self, error: &anyhow::Error) {
        self.obstacles.push(ErrorReport::of(error).exit);
    }

    /// Prints the Role with the missing rights, and ends the command.
    fn report(self, namespace: &str, reporter: &Reporter) -> Result<()> {
        if !self.missing.is_empty() {
            reporter.data(&permissions::role(&self.missing, namespace, reporter.mode())?)?;
        }
        if self.obstacles.is_empty() {
            reporter.success(&[format!("namespace: {namespace}"), "start: no known obstacles".to_owned()]);
            return Ok(());
        }
        let is_forbidden = !self.missing.is_empty() || self.obstacles.contains(&Exit::NotAllowed);
        Err(Problem::new(format!(
            "found {} to `mirrord preview start` in namespace `{namespace}`",
            words::count(self.obstacles.len(), "obstacle")
        ))
        .exit(if is_forbidden { Exit::NotAllowed } else { Exit::Failed })
        .into())
    }
}

// === impl Check ===

impl Check<'_> {
    /// Checks the version of Kubernetes.
    async fn version(&self, findings: &mut Findings) {
        let step = self.reporter.step("checking the version of Kubernetes");
        let Some(version) = self.cluster.version().await else {
            return step.done("the version of Kubernetes is unknown: the API server does not report it");
        };
        let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        if minor.is_some_and(|minor| minor < OLDEST_MINOR) {
            findings.obstacles.push(Exit::Failed);
            return step.failed(&format!("Kubernetes {version}: 1.{OLDEST_MINOR} or newer is needed"));
        }
        step.done(&format!("Kubernetes {version}"));
    }

    /// Checks whether agents can be attached, the nodes, the network policies and the pods.
    async fn pods(&self, inspection: Inspection, account: Option<Account>, findings: &mut Findings) {
        if let Some(assignment) = &inspection.assignment {
            // No keeper means no agents.
            if let Some(account) = &account {
                let step = self.reporter.step("checking whether agents can be attached");
                match keeper_account::may_attach(self.cluster, assignment, account).await {
                    Ok(()) => {
                        let ports = assignment.ports.iter().map(|port| port.port.to_string());
                        step.done(&format!(
                            "agents can be attached; requests to port {} can come to the preview",
                            ports.collect::<Vec<_>>().join(", ")
                        ));
                    }
                    Err(error) => {
                        // Admission refuses the agent, not the user: no permission is missing.
                        findings.obstacles.push(Exit::Failed);
                        step.failed(&in_a_line(&error));
                    }
                }
            }
            nodes::inspect(self.cluster, assignment, self.reporter).await;
        }
        let isolation =
            network_policies::isolation(self.cluster, &inspection, self.config, self.reporter).await;
        let account = account.unwrap_or(Account::Own);
        let (counted_from, port) = (CountedFrom::Readiness, self.cluster.port());
        let request = inspection.request(self.config, counted_from, port, account, isolation);
        pods(self.cluster, &request, self.reporter, findings).await;
    }
}

/// Checks whether the cluster would admit the pods, as `start` does.
async fn pods(cluster: &Cluster, request: &Request, reporter: &Reporter, findings: &mut Findings) {
    let plan = Plan::of(request);
    reporter.warnings(&plan.warnings);
    let step = reporter.step("checking quotas and policies");
    let verdicts = admission::pods(cluster, request, &plan).await;
    match admission::judged(&verdicts) {
        Admission::Allowed => step.done("quotas, limits and policies admit the preview's pods"),
        Admission::Unknown => step.done(
            "could not check quotas and policies: you may not create pods, or a webhook does not support dry runs",
        ),
        Admission::Delayed(pod, why) => {
            reporter.warning(&format!(
                "the {pod} pod is refused at the moment, and Kubernetes will try again: {why}"
            ));
            step.done("quotas, limits and policies may admit the preview's pods later");
        }
        Admission::Refused(pod, why) => {
            findings.obstacles.push(Exit::Failed);
            step.failed(&format!("the {pod} pod would be refused: {why}"));
        }
    }
}

/// An error in one line: its causes and its hint.
fn in_a_line(error: &anyhow::Error) -> String {
    let ErrorReport { what, causes, hint, .. } = ErrorReport::of(error);
    let mut parts = vec![what];
    parts.extend(causes);
    let line = parts.join(": ").replace('\n', " ");
    match hint {
        Some(hint) => format!("{line}; {hint}"),
        None => line,
    }
}

#[cfg(test)]
mod tests;
