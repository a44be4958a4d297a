//! `start`: create an environment, or replace the one with the same key and
//! target; wait until it is ready; report.

mod clean_up;
mod create;
mod record;
mod replace;
mod wait;

use anyhow::{Error, Result};
use jiff::Timestamp;
use uuid::Uuid;

use self::clean_up::Removal;
use self::create::Created;
use super::Interrupts;
use super::lifetime::CountedFrom;
use super::plan::{Account, Plan, Request};
use super::preflight::concurrent_steal::{self, OtherKeys};
use super::preflight::inspection::inspect;
use super::preflight::{admission, keeper_account, network_policies, rights, selectors};
use super::stop::Ending;
use super::{connected, features, render, stop};
use crate::cluster::{self, Cluster};
use crate::config::{Config, Environment, Overrides, wrong};
use crate::connection::Purpose;
use crate::output::format::ObjectFormat;
use crate::output::{self, Reporter};
use crate::problem::{Exit, Explain as _, Problem};
use crate::session::Session;
use crate::workload::Target;

/// How far `start` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Until the environment is ready.
    Ready,
    /// Until its objects are created.
    Created,
    /// Until its objects are planned; nothing is created.
    Planned,
}

/// What `start` was asked for beside the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How far to go.
    pub extent: Extent,
    /// How to print the objects, if at all.
    pub output: Option<ObjectFormat>,
}

/// Everything that is known before anything is created.
struct Prepared {
    cluster: Cluster,
    request: Request,
    plan: Plan,
    /// Whether the environment may be created.
    allowed: Result<()>,
    step: output::Step,
}

/// Starts an environment.
pub async fn start(
    flags: &Overrides,
    environment: &Environment,
    options: Options,
    reporter: &Reporter,
) -> Result<()> {
    let step = reporter.step("loading configuration");
    let config = Config::resolve(flags, environment, Uuid::new_v4())?;
    let target = checked(&config, reporter)?;
    step.done("configuration loaded");

    // Until the root is created, an interrupted command can simply end.
    let mut interrupts = Interrupts::listen()?;
    let prepared = prepared(&config, target, options.extent, reporter);
    let Prepared { cluster, request, plan, allowed, step } = tokio::select! {
        prepared = prepared => prepared.map_err(not_started)?,
        () = interrupts.next() => return Err(interrupted()),
    };
    if let Err(error) = allowed {
        drop(step);
        return Err(not_started(record::keep(&cluster, &plan, error).await));
    }
    if let Some(format) = options.output {
        let printed = reporter.data(&render::objects(&plan, format, reporter.mode())?);
        // Somebody who does not read the objects still wants the environment.
        if options.extent == Extent::Planned {
            printed?;
        }
    }
    if options.extent == Extent::Planned {
        step.done("planned; nothing is created");
        reporter.success(&[
            format!("key: {}", request.identity.key),
            format!("namespace: {}", request.namespace),
        ]);
        return Ok(());
    }

    let ending = Ending {
        namespace: request.namespace.clone(),
        root: plan.root_name().to_owned(),
        session: request.identity.id.clone(),
    };
    // An interrupt waits until creation is over: the objects that the API server
    // has taken must be known. The connection's time limits bound it.
    let created = match cluster.create_root(&plan.first_root()).await {
        // A refusal means that nothing was created. After other errors the root may exist.
        Err(error) if cluster::Error::among(&error).is_some_and(cluster::Error::is_final) => {
            drop(step);
            return Err(not_started(error));
        }
        Err(error) => Err(error),
        Ok(root) => create::owned(&cluster, &plan, &root).await,
    };
    let result = match created {
        Ok(created) => {
            step.done("preview session resource created");
            tokio::select! {
                result = run(&cluster, &request, &created, options.extent, reporter) => result,
                () = interrupts.next() => Err(interrupted()),
            }
        }
        Err(error) => {
            drop(step);
            Err(error)
        }
    };
    let (session, pods, step) = match result {
        Ok(ready) => ready,
        Err(error) => {
            let error = match clean_up::half_made(&cluster, &ending, &mut interrupts, reporter).await {
                Removal::Complete => record::keep(&cluster, &plan, error).await,
                Removal::Unfinished => error,
            };
            return Err(not_started(error));
        }
    };
    // The environment is up. A failure to end the one that it replaces is a warning
    // only; an interrupt does not keep the latter alive.
    let ended = replace::earlier(&cluster, &request, &session, step.as_ref(), reporter).await;
    let replaced = async {
        for old in ended? {
            let gone = stop::until_gone(&cluster, &Ending::of(&old), |_| {}).await;
            gone.explain(|| stop::unwatched(&old))?;
        }
        Ok(())
    };
    let replaced = tokio::select! {
        replaced = replaced => replaced,
        () = interrupts.next() => Err(Error::msg("interrupted: not waiting for the replaced environment to be gone")),
    };
    if let Err(error) = replaced {
        reporter.warning(&format!("{error:#}"));
    }
    if let Some(step) = step {
        step.done("preview pod is ready");
    }
    let contributed = features::started(&cluster, &request, &session).await;
    let now = cluster.clock(Timestamp::now());
    let typed = &config.selection.typed;
    reporter.success(&render::started(&session, &pods, contributed, typed, now));
    Ok(())
}

/// Inspects, asks and plans. Creates nothing.
async fn prepared(config: &Config, target: Target, extent: Extent, reporter: &Reporter) -> Result<Prepared> {
    let purpose = if extent == Extent::Planned { Purpose::Look } else { Purpose::Change };
    let cluster = connected(&config.selection, purpose, reporter).await?;
    let namespace = config.selection.namespace.clone().unwrap_or_else(|| cluster.default_namespace.clone());
    let step = reporter.step("creating preview session resource");
    let counted_from = if extent == Extent::Created { CountedFrom::Creation } else { CountedFrom::Readiness };
    let inspection = inspect(&cluster, config, target, &namespace, reporter).await?;
    let account = match &inspection.assignment {
        Some(assignment) => {
            let rights = inspection.keeper_rights(config);
            keeper_account::granted(&cluster, assignment, &config.agent, &rights).await?
        }
        None => Account::Own,
    };
    let isolation = network_policies::isolation(&cluster, &inspection, config, reporter).await;
    // Somebody who only plans needs rights to read alone.
    let needed = (extent != Extent::Planned).then(|| rights::facts_of(config, &inspection));
    let services = inspection.services.clone();
    let request = inspection.request(config, counted_from, cluster.port(), account, isolation);
    let plan = Plan::of(&request);
    let (others, mut allowed) = futures::join!(selectors::warnings(&cluster, &services, &request), async {
        let Some(needed) = needed else { return Ok(()) };
        rights::held(&cluster, &namespace, &needed).await?;
        admission::allowed(&cluster, &request, &plan).await
    });
    reporter.warnings(&plan.warnings);
    reporter.warnings(&others);
    // Other keys are stopped only for an environment that can be created.
    if let (Ok(()), Some(routing)) = (&allowed, &request.routing) {
        let others = if extent == Extent::Planned { OtherKeys::Report } else { OtherKeys::Act };
        allowed = concurrent_steal::resolve(&cluster, &routing.assignment, config, others, reporter).await;
    }
    Ok(Prepared { cluster, request, plan, allowed, step })
}

fn interrupted() -> Error {
    Problem::new("interrupted").exit(Exit::Interrupted).into()
}

fn not_started(error: Error) -> Error {
    error.context("could not start the preview")
}

/// The checks that need no cluster. Returns the target.
fn checked(config: &Config, reporter: &Reporter) -> Result<Target> {
    reporter.warnings(&config.selection.warnings);
    let missing = |what: &str, hint: &str| Error::from(wrong(format!("no {what} is named")).hint(hint));
    let target = config.selection.target.clone().ok_or_else(|| {
        missing("target", "pass `-t deployment/<name>`, or set `target` in the configuration file")
    })?;
    let image = config.image.as_ref().ok_or_else(|| {
        missing("image", "pass `-i <image>`, or set `feature.preview.image` in the configuration file")
    })?;
    if image.is_empty() || image.chars().any(|character| character.is_whitespace() || character.is_control())
    {
        return Err(wrong(format!("`{image}` is not a valid image")).hint("pass `-i <image>`").into());
    }
    Ok(target)
}

/// Waits until the environment is ready, and sets its deadline. Returns its session,
/// the names of its pods, and the step, which stays open while it replaces others.
async fn run(
    cluster: &Cluster,
    request: &Request,
    created: &Created,
    extent: Extent,
    reporter: &Reporter,
) -> Result<(Session, Vec<String>, Option<output::Step>)> {
    if extent == Extent::Created {
        return Ok((created.session.clone(), vec![future_pods(request)], None));
    }
    let step = reporter.step("waiting for preview to be ready");
    let ready = wait::until_ready(cluster, request, &created.session.root, &step, reporter).await?;
    let session = created.count_from(cluster, ready.at).await?;
    for note in &ready.notes {
        reporter.warning(note);
    }
    Ok((session, ready.pods, Some(step)))
}

/// The beginning of the names of pods that may not exist yet: the ReplicaSet's name.
fn future_pods(request: &Request) -> String {
    request.identity.id.preview_name(&request.identity.target)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::preview::plan::tests::request;

    #[test]
    fn without_waiting_the_name_of_the_pods_is_right_for_a_long_target_too() {
        let mut request = request(&json!({"spec": {"containers": [{"name": "web", "image": "shop:1"}]}}));
        request.identity.target = format!("deployment/{}", "a".repeat(80)).parse().unwrap();
        let plan = Plan::of(&request);
        assert_eq!(plan.replica_set["metadata"]["name"], future_pods(&request));
        // The root's name leaves more room for the target's.
        assert_ne!(plan.root_name().replacen("preview-keeper", "preview-session", 1), future_pods(&request));
    }
}
