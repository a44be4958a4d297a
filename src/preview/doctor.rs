//! `doctor`: what would stop `start` here. It asks, and creates nothing.

use anyhow::Result;
use serde_json::json;

use super::connected;
use super::features::{self, FEATURES};
use super::plan::{Account, Plan, Request};
use super::preflight::admission::{self, Which};
use super::preflight::{self, inspection, keeper_account, network_policies, nodes};
use super::rights::{self, Document, GRANTING, Right};
use crate::cluster::{Cluster, Verdict};
use crate::config::{Config, Environment, Overrides};
use crate::output::{Mode, Reporter};
use crate::problem::{Exit, Problem, Report};

/// The oldest Kubernetes that has all we ask of it, as minor version.
const OLDEST_MINOR: u32 = 30;

/// What was found.
#[derive(Default)]
struct Findings {
    /// What would stop `start`.
    obstacles: usize,
    /// Rights that lack, and have to be given.
    missing: Vec<Right>,
    /// Whether something else stops it for want of rights.
    is_forbidden: bool,
}

/// What is asked about.
struct Case<'a> {
    cluster: &'a Cluster,
    config: &'a Config,
    namespace: &'a str,
    reporter: &'a Reporter,
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
    let case = Case { cluster: &cluster, config: &config, namespace: &namespace, reporter };
    let found = case.target(&mut findings).await;
    case.rights(found.as_ref(), &mut findings).await?;
    let needs_keeper = !rights::keeper(&features::of(&config, found.as_ref().ok())).is_empty();
    let account = if needs_keeper { case.keeper(&mut findings).await? } else { None };
    if let Ok(request) = found {
        case.request(request, account, &mut findings).await;
    }
    end(&findings, &namespace, reporter)
}

/// The Role that gives what lacks.
fn role(missing: &[Right], namespace: &str, mode: Mode) -> Result<String> {
    let document = Document {
        comment: "What lacks, for an admin to give to you in a RoleBinding:".to_owned(),
        object: json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "mirrord-preview-missing", "namespace": namespace},
        }),
        rules: missing.to_vec(),
    };
    rights::text(&[document], mode)
}

fn end(findings: &Findings, namespace: &str, reporter: &Reporter) -> Result<()> {
    if !findings.missing.is_empty() {
        reporter.data(&role(&findings.missing, namespace, reporter.mode())?)?;
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
    let is_forbidden = findings.is_forbidden || !findings.missing.is_empty();
    Err(problem.exit(if is_forbidden { Exit::NotAllowed } else { Exit::Failed }).into())
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

// === impl Case ===

impl Case<'_> {
    /// The target, read as `start` reads it; nothing where none is named.
    async fn target(&self, findings: &mut Findings) -> Result<Request, Option<Exit>> {
        let Some(target) = self.config.selection.target.clone() else {
            self.reporter.warning("no target is named, so none was looked at: pass `-t <kind>/<name>`");
            return Err(None);
        };
        let step = self.reporter.step("looking at the target");
        let (path, image) = (target.path(), self.config.image.clone());
        let request = inspection::without_image(
            self.cluster,
            self.config,
            target,
            image,
            self.namespace,
            self.reporter,
        )
        .await;
        match request {
            Ok(request) => {
                step.done(&format!("{path}: container `{}` gets the image", request.container.name));
                Ok(request)
            }
            Err(error) => {
                findings.obstacles += 1;
                let exit = Report::of(&error).exit;
                findings.is_forbidden |= exit == Exit::NotAllowed;
                step.failed(&in_a_line(&error));
                Err(Some(exit))
            }
        }
    }

    /// What the user may do, of what this configuration needs.
    async fn rights(&self, found: Result<&Request, &Option<Exit>>, findings: &mut Findings) -> Result<()> {
        let step = self.reporter.step("asking for your rights");
        let looked = matches!(found, Ok(_) | Err(Some(Exit::NotAllowed)));
        // Of a target that is not there nothing is needed.
        let target = self.config.selection.target.as_ref().filter(|_| looked);
        let facts = preflight::rights::facts(self.config, target, found.ok());
        let needed = self.missing(&rights::needed(&facts)).await?;
        let useful = self.missing(&rights::useful(&facts)).await?;
        if needed.is_empty() {
            step.done("you have the rights to start, look at and stop previews");
        } else {
            // That the target cannot be looked at is the same thing, said again.
            if !matches!(found, Err(Some(Exit::NotAllowed))) {
                findings.obstacles += 1;
            }
            step.failed(&format!("you lack rights to {}", rights::named(&needed)));
            findings.missing.extend(needed);
        }
        if !useful.is_empty() {
            self.reporter.warning(&format!(
                "some things would go unsaid or unused, for want of rights to {}",
                rights::named(&useful)
            ));
        }
        Ok(())
    }

    /// Whose rights the keeper can have; nothing where nobody's.
    async fn keeper(&self, findings: &mut Findings) -> Result<Option<Account>> {
        let step = self.reporter.step("asking for the keeper's rights");
        match keeper_account::account(self.cluster, self.namespace, &self.config.agent).await {
            Ok(account) => {
                step.done(&match &account {
                    Account::Own => "the keeper gets a Role of its own, gone with the environment".to_owned(),
                    Account::Prepared(name) if self.config.agent.service_account.is_some() => {
                        format!("the keeper runs as ServiceAccount `{name}`, which the configuration names")
                    }
                    Account::Prepared(name) => {
                        format!("the keeper runs as ServiceAccount `{name}`, which is there")
                    }
                });
                Ok(Some(account))
            }
            Err(error) => {
                findings.obstacles += 1;
                findings.is_forbidden |= Report::of(&error).exit == Exit::NotAllowed;
                let lacking = self.missing(&[GRANTING, &rights::keeper(FEATURES)].concat()).await?;
                step.failed(&if lacking.is_empty() {
                    in_a_line(&error)
                } else {
                    format!(
                        "the keeper cannot have its rights: you cannot grant {}; an admin can apply what `mirrord preview \
                         rbac -n {}` prints",
                        rights::named(&lacking),
                        self.namespace
                    )
                });
                Ok(None)
            }
        }
    }

    async fn missing(&self, rights: &[Right]) -> Result<Vec<Right>> {
        let refused = self.cluster.refused(self.namespace, rights::questions(rights)).await;
        let refused = refused.map_err(|error| error.into_problem("could not ask for your rights"))?;
        Ok(rights::lacking(rights, &refused))
    }

    /// What the cluster says to agents, to the pods, and to what comes between.
    async fn request(&self, mut request: Request, account: Option<Account>, findings: &mut Findings) {
        if let Some(routing) = &mut request.routing {
            // Without an account there will be no agents to ask for.
            if let Some(account) = account {
                routing.account = account;
                let step = self.reporter.step("asking for an agent");
                let may =
                    keeper_account::may_attach(self.cluster, &routing.assignment, &routing.account).await;
                match may {
                    Ok(()) => {
                        let ports = routing.assignment.ports.iter().map(|port| port.port.to_string());
                        step.done(&format!(
                            "agents may be attached; requests to port {} can come to the preview",
                            ports.collect::<Vec<_>>().join(", ")
                        ));
                    }
                    Err(error) => {
                        findings.obstacles += 1;
                        step.failed(&in_a_line(&error));
                    }
                }
            }
            nodes::inspect(self.cluster, &request, self.reporter).await;
            network_policies::admitted(self.cluster, &mut request, self.reporter).await;
        }
        self.admitted(&request, findings).await;
    }

    /// Whether the pods would be taken.
    async fn admitted(&self, request: &Request, findings: &mut Findings) {
        let plan = Plan::of(request);
        self.reporter.warnings(&plan.warnings);
        let step = self.reporter.step("asking for the pods");
        let verdicts = admission::pods(self.cluster, request, &plan).await;
        for (which, verdict) in &verdicts {
            if let Verdict::Refused(why) | Verdict::NotNow(why) = verdict {
                findings.obstacles += 1;
                let which = match which {
                    Which::Preview => "preview",
                    Which::Keeper => "keeper",
                };
                return step.failed(&format!("the {which} pod would be refused: {why}"));
            }
        }
        step.done(if verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Untold) {
            "whether quotas and policies let the pods in is not for you to ask"
        } else {
            "quotas, limits and policies let the preview's pods in"
        });
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
    use serde_json::Value;

    use super::*;
    use crate::preview::rights::{Facts, needed};

    #[test]
    fn the_role_that_lacks_is_the_same_in_both_forms_whatever_the_namespace_is_called() {
        let missing = needed(&Facts { features: FEATURES.to_vec(), ..Facts::default() });
        for namespace in ["123", "true", "1e3", "no", "shop"] {
            let yaml = role(&missing, namespace, Mode::Plain).unwrap();
            let json = role(&missing, namespace, Mode::Json).unwrap();
            assert_eq!(json.lines().count(), 1);
            let (yaml, json): (Value, Value) =
                (serde_saphyr::from_str(&yaml).unwrap(), serde_json::from_str(&json).unwrap());
            assert_eq!(yaml, json);
            assert_eq!(json["metadata"]["namespace"], namespace);
            assert_eq!(json["rules"][0]["verbs"].as_array().unwrap().len(), 6);
        }
    }
}
