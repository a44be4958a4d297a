//! `start`: create an environment, or replace the one with the same key and
//! target; wait until it is ready; report.

mod record;
mod wait;

use std::time::Duration;

use anyhow::{Error, Result};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Interrupts;
use super::lifetime::{self, CountedFrom};
use super::plan::{Plan, Request};
use super::preflight::concurrent_steal::{self, Extent as OtherKeys};
use super::preflight::{admission, inspection, keeper_account, network_policies, rights, selectors};
use super::stop::Ending;
use super::{connected, features, render, stop};
use crate::cluster::{self, Cluster, Deadline, Scope, persist};
use crate::config::{Config, Environment, Overrides, wrong};
use crate::output::format::ObjectFormat;
use crate::output::{self, Reporter};
use crate::problem::{Exit, Explain as _, Problem};
use crate::session::{KEY, READY_AT, REPLACED_BY, Session, Ttl};
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

/// An environment under way.
struct Started {
    session: Session,
    uid: String,
}

/// What has become of what a failed start had created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undone {
    /// Nothing is left.
    Fully,
    /// It ends without being watched.
    NotYet,
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
    let (target, image) = checked(&config, reporter)?;
    step.done("configuration loaded");

    // Until the root is created an interrupt needs no more than to leave.
    let mut interrupts = Interrupts::listen()?;
    let prepared = prepared(&config, target, image, options.extent, reporter);
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
        // A reader that has gone away still wants its environment.
        if options.extent == Extent::Planned {
            printed?;
        }
    }
    if options.extent == Extent::Planned {
        step.done("planned, and nothing created");
        reporter.success(&[
            format!("key: {}", request.identity.key),
            format!("namespace: {}", request.namespace),
        ]);
        return Ok(());
    }

    let root = plan.root.metadata.name.clone().unwrap_or_default();
    // Creation is not cut short: what the server has taken must be known. The
    // connection's own time limits bound it.
    let ending = Ending { namespace: request.namespace.clone(), root, session: request.identity.id.clone() };
    let created = match cluster.create_root(&plan.first_root()).await {
        // Nothing was made, so there is nothing to remove. A server in trouble may have made it
        // all the same, and a name that is taken is only ever our own.
        Err(error) if cluster::Error::among(&error).is_some_and(cluster::Error::is_final) => {
            drop(step);
            return Err(not_started(error));
        }
        Err(error) => Err(error),
        Ok(root) => create_owned(&cluster, &plan, &root).await,
    };
    let result = match created {
        Ok(started) => {
            step.done("preview session resource created");
            tokio::select! {
                result = run(&cluster, &request, &started, options.extent, reporter) => result,
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
            let error = match clean_up(&cluster, &ending, &mut interrupts, reporter).await {
                Undone::Fully => record::keep(&cluster, &plan, error).await,
                Undone::NotYet => error,
            };
            return Err(not_started(error));
        }
    };
    // The environment is up; whatever becomes of the one it replaces does not
    // change that any more. It is told to end whatever happens here.
    let told = replace(&cluster, &request, &session, step.as_ref(), reporter).await;
    let replaced = async {
        for old in told? {
            let gone = stop::until_gone(&cluster, &Ending::of(&old), |_| {}).await;
            gone.explain(|| stop::unwatched(&old))?;
        }
        Ok(())
    };
    let replaced = tokio::select! {
        replaced = replaced => replaced,
        () = interrupts.next() => Err(Error::msg("interrupted; what it replaces ends without being watched")),
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

/// Reads, plans and asks; nothing is created.
async fn prepared(
    config: &Config,
    target: Target,
    image: String,
    extent: Extent,
    reporter: &Reporter,
) -> Result<Prepared> {
    let cluster = connected(&config.selection, reporter).await?;
    let namespace = config.selection.namespace.clone().unwrap_or_else(|| cluster.default_namespace.clone());
    let step = reporter.step("creating preview session resource");
    let counted_from = if extent == Extent::Created { CountedFrom::Creation } else { CountedFrom::Readiness };
    let mut request =
        inspection::request(&cluster, config, target, image, &namespace, counted_from, reporter).await?;
    if let Some(routing) = request.routing.take() {
        request.routing = Some(keeper_account::prepared(&cluster, routing.assignment, &config.agent).await?);
    }
    network_policies::admitted(&cluster, &mut request, reporter).await;
    let plan = Plan::of(&request);
    let labels = plan.pod_labels();
    let (others, mut allowed) = futures::join!(selectors::warnings(&cluster, &request, &labels), async {
        // A plan needs no rights but to read.
        if extent == Extent::Planned {
            return Ok(());
        }
        rights::held(&cluster, config, &request).await?;
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

/// What can be checked without a cluster.
fn checked(config: &Config, reporter: &Reporter) -> Result<(Target, String)> {
    reporter.warnings(&config.selection.warnings);
    let missing = |what: &str, hint: &str| Error::from(wrong(format!("no {what} is named")).hint(hint));
    let target = config.selection.target.clone().ok_or_else(|| {
        missing("target", "pass `-t deployment/<name>`, or set `target` in the configuration file")
    })?;
    let image = config.image.clone().ok_or_else(|| {
        missing("image", "pass `-i <image>`, or set `feature.preview.image` in the configuration file")
    })?;
    if image.is_empty() || image.chars().any(|character| character.is_whitespace() || character.is_control())
    {
        return Err(wrong(format!("`{image}` is no image")).hint("pass `-i <image>`").into());
    }
    Ok((target, image))
}

/// Waits until it is ready, and starts the clock. The step is left open while
/// what is replaced goes.
async fn run(
    cluster: &Cluster,
    request: &Request,
    started: &Started,
    extent: Extent,
    reporter: &Reporter,
) -> Result<(Session, Vec<String>, Option<output::Step>)> {
    if extent == Extent::Created {
        // Nobody knows the names of its pods yet: theirs begin with the name of the ReplicaSet.
        let name = request.identity.id.preview_name(&request.identity.target);
        return Ok((started.session.clone(), vec![name], None));
    }
    let step = reporter.step("waiting for preview to be ready");
    let ready = wait::until_ready(cluster, request, &started.session.root, &step, reporter).await?;
    let session = start_clock(cluster, started, ready.at).await?;
    for note in ready.report.iter().flat_map(|report| &report.notes) {
        reporter.warning(note);
    }
    Ok((session, ready.pods, Some(step)))
}

async fn create_owned(cluster: &Cluster, plan: &Plan, root: &Job) -> Result<Started> {
    let uid = root.metadata.uid.clone().unwrap_or_default();
    let session = Session::of(root).ok_or_else(|| {
        Problem::new("the root was changed while it was created, and cannot be read").exit(Exit::Bug)
    })?;
    for object in plan.owned_by(&uid) {
        cluster.create(object).await?;
    }
    if plan.has_keeper() {
        cluster.begin(&plan.root).await?;
    }
    let started = Started { session, uid };
    if !plan.ends_early() {
        return Ok(started);
    }
    let session = set_deadline(cluster, &started, |_, _| plan.deadline(), json!({})).await?;
    Ok(Started { session, ..started })
}

/// Sets the end of the environment's life, counted from readiness. Both
/// instants are the cluster's own: the laptop's clock has no part in it.
async fn start_clock(cluster: &Cluster, started: &Started, ready_at: Timestamp) -> Result<Session> {
    let noted = json!({"annotations": {READY_AT: ready_at.to_string()}});
    // Somebody may have extended it while it started.
    let deadline =
        |root: &Job, seen: &Session| lifetime::counted_from(root, seen.ttl.unwrap_or(Ttl::DEFAULT), ready_at);
    set_deadline(cluster, started, deadline, noted).await
}

/// Sets the deadline of a root that nobody has stopped or replaced.
async fn set_deadline(
    cluster: &Cluster,
    started: &Started,
    deadline: impl Fn(&Job, &Session) -> Option<i64>,
    noted: Value,
) -> Result<Session> {
    let session = &started.session;
    let problem = || {
        Problem::new(format!(
            "could not start the clock of `{}` in namespace `{}`",
            session.root, session.namespace
        ))
    };
    let change = |root: &Job, seen: &Session| {
        let is_ours = !seen.ending && root.metadata.uid.as_ref() == Some(&started.uid);
        is_ours.then(|| Deadline { seconds: deadline(root, seen), metadata: noted.clone() })
    };
    // Everything exists by now: a short silence of the API server must not undo it.
    let root = persist(async || {
        let changed = cluster.change_deadline(&session.namespace, &session.root, change).await;
        Ok(changed.map_err(|error| error.into_problem(problem().to_string()))?)
    });
    let root = root.await?;
    let session = root.as_ref().and_then(Session::of);
    session.ok_or_else(|| problem().because_of("somebody has stopped or replaced it").into())
}

/// Tells the earlier sessions of the same key on the same target to end, and
/// returns those that go now: at once where the new pods are ready by now; where
/// nobody waits for them, once they have had the time to be. The newest that is
/// ready gets the requests meanwhile.
async fn replace(
    cluster: &Cluster,
    request: &Request,
    session: &Session,
    step: Option<&output::Step>,
    reporter: &Reporter,
) -> Result<Vec<Session>> {
    let scope = Scope::Namespace(session.namespace.clone());
    let labels = [(KEY, session.key.label_value())];
    let found = persist(async || cluster.sessions(&scope, &labels).await).await?;
    let replaced: Vec<Session> = found.sessions.into_iter().filter(|old| session.replaces(old)).collect();
    // All are told, whatever becomes of one of them.
    let mut untold = None;
    for old in &replaced {
        let told = match (&old.failed, step) {
            // Only its root is there, and no clock of a keeper's to wait for.
            (Some(_), _) => persist(async || cluster.delete(&old.namespace, &old.root).await).await,
            (None, None) => retire(cluster, old, session, request.patience(), reporter).await,
            (None, Some(step)) => {
                step.update(&format!("removing `{}`, which it replaces", old.root));
                persist(async || cluster.end(&old.namespace, &old.root).await).await
            }
        };
        untold = untold.or(told.err());
    }
    match untold {
        Some(error) => Err(error),
        None if step.is_some() => Ok(replaced),
        None => Ok(Vec::new()),
    }
}

/// Has a session end within `patience`, if it would live longer.
async fn retire(
    cluster: &Cluster,
    old: &Session,
    new: &Session,
    patience: Duration,
    reporter: &Reporter,
) -> Result<()> {
    let now = cluster.clock(Timestamp::now());
    let change = |root: &Job, _: &Session| {
        let metadata = json!({"annotations": {REPLACED_BY: new.id.as_str()}});
        Some(Deadline { seconds: lifetime::retiring(root, patience, now), metadata })
    };
    let changed = cluster.change_deadline(&old.namespace, &old.root, change).await;
    let problem = || format!("could not set an end to `{}`", old.root);
    if changed.map_err(|error| error.into_problem(problem()))?.is_none() {
        return Ok(());
    }
    reporter.warning(&format!(
        "`{}`, which it replaces, serves until the new pods are ready, and ends within {}",
        old.root,
        humantime::format_duration(patience)
    ));
    Ok(())
}

/// Removes a half-made environment. What cannot be removed now, the root's own
/// deadline removes; a second interrupt leaves it to that.
async fn clean_up(
    cluster: &Cluster,
    ending: &Ending,
    interrupts: &mut Interrupts,
    reporter: &Reporter,
) -> Undone {
    let Ending { namespace, root, .. } = ending;
    let step = reporter.step("removing what was created");
    let removal = async {
        persist(async || cluster.delete(namespace, root).await).await.explain(|| {
            Problem::new(format!(
                "`{root}` in namespace `{namespace}` could not be removed; Kubernetes does so at its deadline"
            ))
        })?;
        stop::until_gone(cluster, ending, |_| {}).await.explain(|| {
            Problem::new(format!("`{root}` in namespace `{namespace}` is removed, but its pods could not be watched to their end"))
        })
    };
    let outcome = tokio::select! {
        outcome = removal => outcome,
        () = interrupts.next() => Err(Error::msg(format!(
            "interrupted again: `{root}` in namespace `{namespace}` ends without being watched"
        ))),
    };
    match outcome {
        Ok(()) => {
            step.done("what was created is removed");
            Undone::Fully
        }
        Err(error) => {
            reporter.warning(&format!("{error:#}"));
            Undone::NotYet
        }
    }
}
