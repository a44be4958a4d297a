//! Carries out decisions, and feeds their results back into the observed state.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::conversation::{self, AgentEvent, AgentId, AgentPeer, Wanted};
use super::decide::Observations;
use super::link::Effect;
use super::pace::Pace;
use super::pods::{AgentState, Seen};
use super::status_writer::{StatusUpdate, StatusWriter};
use crate::cluster::{self, Cluster};
use crate::contract::report::Obstacle;
use crate::contract::{Assignment, Report, agent_container};
use crate::session::Session;
use crate::traffic::{Rules, rules};

/// How far this node's clock may differ from that of the node or machine that ends the
/// environment.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(5);
/// How long the agents may take to withdraw the rules at the end.
const WITHDRAWAL_WAIT: Duration = Duration::from_secs(5);
/// How long the watch may take to show a container that was attached.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);

/// The result of a task of the actor.
enum TaskResult {
    /// An attachment to the pod with this identifier.
    Attached(String, Attachment),
    /// A write of the report.
    Written(Box<(StatusUpdate, cluster::Result<()>)>),
}

/// The result of an attachment.
enum Attachment {
    Accepted,
    /// The pod has changed since this version of it was seen.
    Outdated(Option<String>),
    Refused {
        obstacle: Obstacle,
        is_passing: bool,
    },
}

/// Why a pod is not attached to again yet.
enum Attempt {
    UnderWay,
    /// The watch shows the container soon.
    AcceptedAt(Instant),
    /// The watch has not shown another version of the pod yet.
    Outdated(Option<String>),
}

/// The acting half of a keeper.
pub(super) struct Actor {
    pub(super) observed: Observations,
    cluster: Cluster,
    assignment: Arc<Assignment>,
    /// The place of the session among others; see [`Session::order`].
    order: u64,
    /// How long rules hold without a renewal.
    lease: Duration,
    /// The secret that only this keeper's agents know, new for each keeper.
    canary: String,
    wanted: watch::Sender<Wanted>,
    pace: Arc<Pace>,
    /// The generation of the newest rules of the keepers before, as the report has it.
    earlier_generation: u64,
    /// The generation of the newest rules, and the preview's addresses in them.
    newest: Option<(u64, Vec<IpAddr>)>,
    /// Conversations, by their pods' identifiers.
    conversations: BTreeMap<String, JoinHandle<()>>,
    addresses: BTreeMap<String, Arc<OnceLock<IpAddr>>>,
    attempts: BTreeMap<String, Attempt>,
    agent_events: mpsc::UnboundedReceiver<(AgentId, AgentEvent)>,
    agent_events_tx: mpsc::UnboundedSender<(AgentId, AgentEvent)>,
    task_results: mpsc::UnboundedReceiver<TaskResult>,
    task_results_tx: mpsc::UnboundedSender<TaskResult>,
    status_writer: StatusWriter,
}

// === impl Actor ===

impl Actor {
    /// An actor whose rules hold for `lease` without a renewal.
    pub(super) fn new(cluster: Cluster, assignment: Assignment, session: &Session, lease: Duration) -> Self {
        let (agent_events_tx, agent_events) = mpsc::unbounded_channel();
        let (task_results_tx, task_results) = mpsc::unbounded_channel();
        let before = Report::of(session);
        let observed = Observations {
            gone: before.as_ref().map(|report| report.gone).unwrap_or_default(),
            has_begun: session.ready_at.is_some()
                || before.as_ref().is_some_and(|report| report.begun || report.ready),
            image: assignment.agent.image.clone(),
            began: Timestamp::now(),
            ..Observations::default()
        };
        Self {
            observed,
            cluster,
            assignment: Arc::new(assignment),
            order: session.order(),
            lease,
            canary: Uuid::new_v4().simple().to_string(),
            wanted: watch::Sender::new(Wanted::Nothing),
            pace: Arc::default(),
            earlier_generation: before.as_ref().and_then(|report| report.generation).unwrap_or(0),
            newest: None,
            conversations: BTreeMap::new(),
            addresses: BTreeMap::new(),
            attempts: BTreeMap::new(),
            agent_events,
            agent_events_tx,
            task_results,
            task_results_tx,
            status_writer: StatusWriter::new(before),
        }
    }

    /// Waits for an event of an agent or a result of a task, and takes it in.
    pub(super) async fn receive(&mut self) {
        tokio::select! {
            Some((agent, event)) = self.agent_events.recv() => self.take_event(&agent, event),
            Some(result) = self.task_results.recv() => self.take_result(result),
        }
        // One decision serves all the events that have come meanwhile.
        while let Ok((agent, event)) = self.agent_events.try_recv() {
            self.take_event(&agent, event);
        }
    }

    fn take_event(&mut self, AgentId { uid, container }: &AgentId, event: AgentEvent) {
        let link = self.observed.links.get_mut(uid);
        // The pod may have another agent by now.
        let Some(link) = link.filter(|link| link.container == *container) else { return };
        let of = (self.assignment.namespace.as_str(), self.assignment.session.as_str());
        if let Effect::Ended(log) = link.apply(event, of, Timestamp::now()) {
            self.conversations.remove(uid);
            if let Some(log) = log {
                tracing::warn!(pod = uid, "{log}");
            }
        }
    }

    fn take_result(&mut self, result: TaskResult) {
        match result {
            TaskResult::Attached(uid, Attachment::Accepted) => {
                self.observed.attached(&uid);
                self.attempts.insert(uid, Attempt::AcceptedAt(Instant::now()));
            }
            TaskResult::Attached(uid, Attachment::Outdated(version)) => {
                self.attempts.insert(uid, Attempt::Outdated(version));
            }
            TaskResult::Attached(uid, Attachment::Refused { obstacle, is_passing }) => {
                self.attempts.remove(&uid);
                self.observed.attachment_refused(uid, obstacle, is_passing, Timestamp::now());
            }
            TaskResult::Written(written) => {
                let (update, result) = *written;
                if let Err(error) = &result {
                    tracing::warn!("could not write the report: {error}");
                }
                self.status_writer.written(update, &result);
            }
        }
    }

    /// Decides, and carries out the decision.
    pub(super) fn act(&mut self, now: Timestamp) {
        // A pod keeps its address.
        for pod in self.observed.targets.iter() {
            if let (Some(place), Some(address)) = (self.addresses.get(&pod.uid), pod.address) {
                let _ = place.set(address);
            }
        }
        let decision = self.observed.decide(now);
        if let Some(preview) = decision.preview {
            self.send_rules(preview);
        }
        for uid in decision.forget {
            self.observed.forget(&uid);
            self.attempts.remove(&uid);
            self.addresses.remove(&uid);
            if let Some(conversation) = self.conversations.remove(&uid) {
                conversation.abort();
            }
        }
        for (pod, name) in decision.attach {
            self.attach(&pod, &name);
        }
        for (pod, container) in decision.open {
            self.open(pod, container);
        }
        self.report();
    }

    /// Gives every agent rules with these addresses of the preview.
    fn send_rules(&mut self, mut preview: Vec<IpAddr>) {
        preview.sort_unstable();
        if self.newest.as_ref().is_some_and(|(_, known)| *known == preview) {
            return;
        }
        self.observed.has_begun = true;
        // Larger than any generation of an earlier keeper, because it is the time. By the
        // cluster's clock: the earlier keeper may have been on a node with another clock. The
        // API servers' clocks may differ, too, or step back.
        let now = self.cluster.clock(Timestamp::now());
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let last = self.newest.as_ref().map_or(self.earlier_generation, |(last, _)| *last);
        let generation = milliseconds.max(last.saturating_add(1));
        let rules = Rules {
            version: rules::VERSION,
            session: self.assignment.session.clone(),
            generation,
            key: self.assignment.key.clone(),
            order: self.order,
            lease_seconds: self.lease.as_secs(),
            mode: self.assignment.mode,
            ports: self.assignment.ports.clone(),
            filter: self.assignment.filter.clone(),
            preview: preview.clone(),
            canary: Some(self.canary.clone()),
            reset: self.assignment.reset,
            yields: self.assignment.yields || self.assignment.overrides,
        };
        self.newest = Some((generation, preview));
        self.wanted.send_replace(Wanted::Rules(Arc::new(rules)));
    }

    fn attach(&mut self, pod: &Seen, name: &str) {
        let is_too_early = match self.attempts.get(&pod.uid) {
            None => false,
            Some(Attempt::UnderWay) => true,
            Some(Attempt::AcceptedAt(at)) => at.elapsed() < SHOWN_WITHIN,
            Some(Attempt::Outdated(version)) => *version == pod.resource_version,
        };
        if is_too_early {
            return;
        }
        self.attempts.insert(pod.uid.clone(), Attempt::UnderWay);
        let container = agent_container::container(name, pod.grace_seconds, &self.assignment.agent);
        let (cluster, results) = (self.cluster.clone(), self.task_results_tx.clone());
        let (namespace, pod) = (self.assignment.namespace.clone(), pod.clone());
        let pace = Arc::clone(&self.pace);
        tokio::spawn(async move {
            let _turn = pace.attachments().acquire().await;
            let version = pod.resource_version.as_deref();
            let result = match cluster.attach(&namespace, &pod.name, version, &container).await {
                Ok(_) => Attachment::Accepted,
                // Another keeper was faster, or the pod is gone: the watch shows it.
                Err(error) if error.is_conflict() || error.is_not_found() => {
                    Attachment::Outdated(pod.resource_version)
                }
                Err(error) => Attachment::Refused {
                    obstacle: error.attachment_obstacle(&pod.name),
                    is_passing: !error.is_final(),
                },
            };
            let _ = results.send(TaskResult::Attached(pod.uid, result));
        });
    }

    /// The cell that holds a pod's address once it is known.
    fn address_of(&mut self, pod: &Seen) -> Arc<OnceLock<IpAddr>> {
        let place = self.addresses.entry(pod.uid.clone()).or_default();
        if let Some(address) = pod.address {
            let _ = place.set(address);
        }
        Arc::clone(place)
    }

    fn open(&mut self, pod: Seen, container: String) {
        if self.observed.links.get(&pod.uid).is_some_and(|link| link.container != container) {
            self.observed.forget_link(&pod.uid);
        }
        self.observed.links.entry(pod.uid.clone()).or_default().open(&container);
        let peer = AgentPeer {
            namespace: self.assignment.namespace.clone(),
            pod: pod.name.clone(),
            has_run: pod.agents.iter().any(|one| one.name == container && one.state == AgentState::Running),
            agent: AgentId { uid: pod.uid.clone(), container },
            address: self.address_of(&pod),
            session: self.assignment.session.clone(),
            target: self.assignment.target.clone(),
            encrypted: self.assignment.encrypted.clone(),
            yields: self.assignment.yields,
        };
        let conversation = conversation::run(
            self.cluster.clone(),
            peer,
            self.wanted.subscribe(),
            Arc::clone(&self.pace),
            self.agent_events_tx.clone(),
        );
        if let Some(former) = self.conversations.insert(pod.uid, tokio::spawn(conversation)) {
            // It may still try to reach an agent that is gone.
            former.abort();
        }
    }

    /// Writes the report if a write is due.
    fn report(&mut self) {
        // A keeper that has just taken over knows nothing yet.
        if !self.observed.targets.is_known || !self.observed.previews.is_known {
            return;
        }
        // Another keeper has replaced this one, and it writes the report.
        if self.observed.links.values().any(|link| link.superseded_by.is_some()) {
            return;
        }
        let generation = self.newest.as_ref().map(|(generation, _)| *generation);
        let report = self.observed.report(self.assignment.mode, generation);
        let previews: Vec<String> = self.observed.previews.iter().map(|pod| pod.name.clone()).collect();
        let Some(update) = self.status_writer.next(report, &previews) else { return };
        let (cluster, assignment, results) =
            (self.cluster.clone(), Arc::clone(&self.assignment), self.task_results_tx.clone());
        tokio::spawn(async move {
            let result = update.write(&cluster, &assignment).await;
            let _ = results.send(TaskResult::Written(Box::new((update, result))));
        });
    }

    /// Whether the environment ends, and not this keeper alone.
    pub(super) async fn is_over(&self) -> bool {
        match self.cluster.root(&self.assignment.namespace, &self.assignment.root).await {
            Ok(Some(root)) => Session::of(&root).is_none_or(|session| {
                let now = self.cluster.clock(Timestamp::now());
                let soon = now.checked_add(CLOCK_SKEW).unwrap_or(now);
                session.ending || session.expiry.is_some_and(|expiry| expiry <= soon)
            }),
            Ok(None) => true,
            // The keeper's rights are removed after the root. Any other error says nothing
            // about the root, and the lease ends the rules.
            Err(error) => cluster::Error::among(&error).is_some_and(cluster::Error::is_refused),
        }
    }

    /// Withdraws the rules from every agent.
    pub(super) async fn withdraw(&mut self) {
        self.wanted.send_replace(Wanted::Withdrawal);
        let all = async {
            while self.observed.links.values().any(|link| link.is_open && !link.is_withdrawn) {
                self.receive().await;
            }
        };
        // The lease ends the rules of agents that cannot be reached.
        let _ = timeout(WITHDRAWAL_WAIT, all).await;
    }
}

#[cfg(test)]
mod tests;
