//! What a keeper does: the hands to what `decide` decides.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::decide::{Link, Observed, Refused};
use super::link::{self, Peer, Said, Wanted};
use super::pace::Pace;
use super::pods::Seen;
use super::scribe::{Page, Scribe};
use crate::cluster::{self, Cluster};
use crate::contract::Assignment;
use crate::contract::agent_container;
use crate::contract::report::Obstacle;
use crate::session::Session;
use crate::traffic::{Refusal, Rules, rules};

/// The pause before a lost conversation is begun again.
const TALKS_AGAIN: SignedDuration = SignedDuration::from_secs(1);
/// The pause before a refused attachment is tried again.
const ATTACHES_AGAIN: SignedDuration = SignedDuration::from_secs(15);
/// How long the rules of an environment that ends may stand in the way.
const ENDS_WITHIN: SignedDuration = SignedDuration::from_secs(15);
/// How far this node's clock may be from that of whoever ends the environment.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(5);
/// How long the agents may take to drop the rules at the end.
const WITHDRAWAL_WAIT: Duration = Duration::from_secs(5);

/// What was heard from outside the watches.
enum Heard {
    /// An agent, by its pod's identifier.
    Agent(String, Said),
    /// How an attachment went.
    Attached(String, Attached),
    /// How the writing of a report went.
    Written(Box<(Page, cluster::Result<()>)>),
}

/// How an attachment went.
enum Attached {
    Taken,
    /// The pod was another by then than the version that was seen.
    Outdated(Option<String>),
    Refused {
        obstacle: Obstacle,
        is_passing: bool,
    },
}

/// An attachment that is not to be tried again yet.
enum Attempt {
    UnderWay,
    /// The watch shows it a moment later.
    TakenAt(Instant),
    /// Until the watch shows another version of the pod.
    Outdated(Option<String>),
}

/// The keeper's hands, and what they have hold of.
pub(super) struct Hands {
    pub(super) observed: Observed,
    cluster: Cluster,
    assignment: Arc<Assignment>,
    order: u64,
    /// How long rules hold without being sent again.
    lease: Duration,
    /// Made up anew by each keeper, and told to nobody but the agents.
    canary: String,
    wanted: watch::Sender<Wanted>,
    pace: Arc<Pace>,
    /// The newest rules, and where the preview was then.
    in_hand: Option<(u64, Vec<IpAddr>)>,
    talks: BTreeMap<String, JoinHandle<()>>,
    addresses: BTreeMap<String, Arc<OnceLock<IpAddr>>>,
    attaching: BTreeMap<String, Attempt>,
    said: mpsc::UnboundedReceiver<(String, Said)>,
    say: mpsc::UnboundedSender<(String, Said)>,
    heard: mpsc::UnboundedReceiver<Heard>,
    hear: mpsc::UnboundedSender<Heard>,
    scribe: Scribe,
}

// === impl Hands ===

impl Hands {
    /// With `lease`, how long this keeper's rules hold without it.
    pub(super) fn new(cluster: Cluster, assignment: Assignment, session: &Session, lease: Duration) -> Self {
        let (say, said) = mpsc::unbounded_channel();
        let (hear, heard) = mpsc::unbounded_channel();
        let before = crate::contract::Report::of(session);
        let observed = Observed {
            gone: before.as_ref().map(|report| report.gone).unwrap_or_default(),
            has_begun: session.ready_at.is_some()
                || before.as_ref().is_some_and(|report| report.begun || report.ready),
            image: assignment.agent.image.clone(),
            began: Timestamp::now(),
            ..Observed::default()
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
            in_hand: None,
            talks: BTreeMap::new(),
            addresses: BTreeMap::new(),
            attaching: BTreeMap::new(),
            said,
            say,
            heard,
            hear,
            scribe: Scribe::new(before),
        }
    }

    /// Takes in what an agent said, or how something went.
    pub(super) async fn hear(&mut self) {
        let heard = tokio::select! {
            Some((uid, said)) = self.said.recv() => Heard::Agent(uid, said),
            Some(heard) = self.heard.recv() => heard,
        };
        self.take(heard);
        // What has come meanwhile needs no decision of its own.
        while let Ok((uid, said)) = self.said.try_recv() {
            self.take(Heard::Agent(uid, said));
        }
    }

    fn take(&mut self, heard: Heard) {
        match heard {
            Heard::Agent(uid, said) => self.take_said(&uid, said),
            Heard::Attached(uid, result) => match result {
                Attached::Taken => {
                    self.observed.refused.remove(&uid);
                    self.attaching.insert(uid, Attempt::TakenAt(Instant::now()));
                }
                Attached::Refused { obstacle, is_passing } => {
                    self.attaching.remove(&uid);
                    // Rights that were made a moment ago may not be known everywhere yet.
                    let is_first = obstacle.is_forbidden && !self.observed.refused.contains_key(&uid);
                    let (is_passing, pause) =
                        if is_first { (true, TALKS_AGAIN) } else { (is_passing, ATTACHES_AGAIN) };
                    let again = Timestamp::now().saturating_add(pause);
                    let again = again.unwrap_or(Timestamp::MAX);
                    self.observed.refused.insert(uid, Refused { obstacle, is_passing, again });
                }
                Attached::Outdated(version) => {
                    self.attaching.insert(uid, Attempt::Outdated(version));
                }
            },
            Heard::Written(written) => {
                let (page, result) = *written;
                if let Err(error) = &result {
                    log(&format!("could not write down how things stand: {error}"));
                }
                self.scribe.wrote(page, &result);
            }
        }
    }

    fn take_said(&mut self, uid: &str, said: Said) {
        let Some(link) = self.observed.links.get_mut(uid) else { return };
        match said {
            Said::Hello(method) => {
                link.has_spoken = true;
                link.forbidden = None;
                link.method = Some(method.as_str().to_owned());
                link.refused = None;
            }
            Said::Foreign(version) => {
                link.refused = Some(
                    Obstacle::new(format!(
                        "an agent of version {version} is at work there, which this version cannot speak with"
                    ))
                    .hint("stop the environments of that version on this target, and start again"),
                );
            }
            Said::InForce { generation } => {
                link.in_force = Some(generation);
                link.refused = None;
                link.contested = None;
            }
            Said::Refused(Refusal { why, conflicting_key, .. }) => {
                link.in_force = None;
                let obstacle = Obstacle::new(format!("the agent does not take the rules: {why}"));
                let Some(key) = conflicting_key else {
                    link.refused = Some(obstacle);
                    return;
                };
                // The other's environment may just be ending: the next renewal asks again.
                let obstacle = obstacle.hint(&format!(
                    "stop it with `mirrord preview stop --key {key} -n {}`, or use another filter",
                    self.assignment.namespace
                ));
                let now = Timestamp::now();
                let (since, obstacle) = link.contested.get_or_insert((now, obstacle));
                if now.duration_since(*since) >= ENDS_WITHIN {
                    link.refused = Some(obstacle.clone());
                }
            }
            Said::Proven { generation, notes } => {
                link.proven = Some((generation, notes));
                link.unproven = None;
            }
            Said::Unproven(unproven) => {
                link.unproven =
                    Some(Obstacle { why: unproven.why, hint: unproven.hint, is_forbidden: false });
            }
            Said::Status(status) => {
                let own = status.sessions.iter().find(|one| one.session == self.assignment.session);
                if let Some(own) = own {
                    link.counts = own.counts;
                }
                link.predating = status.predating;
            }
            Said::Withdrawn => link.is_withdrawn = true,
            // Rights that were made a moment ago may not be known everywhere yet.
            Said::Forbidden(why) if link.forbidden.is_none() => {
                link.forbidden = Some(Timestamp::now());
                link.is_open = false;
                link.pause = Timestamp::now().checked_add(TALKS_AGAIN).ok();
                self.talks.remove(uid);
                log(&format!("the keeper may not speak with the agent in pod {uid} yet: {why}"));
            }
            Said::Forbidden(why) => {
                link.is_open = false;
                link.pause = Timestamp::now().checked_add(ATTACHES_AGAIN).ok();
                let obstacle = Obstacle::new(format!("the keeper may not speak with its agents: {why}"))
                    .hint("the keeper needs the rights that `mirrord preview rbac` prints");
                link.refused = Some(Obstacle { is_forbidden: true, ..obstacle });
                self.talks.remove(uid);
            }
            Said::Over(why) => {
                link.is_open = false;
                link.in_force = None;
                if !std::mem::take(&mut link.has_spoken) {
                    // Out of reach for longer than rules hold: what was proven is so no more.
                    link.proven = None;
                }
                link.pause = Timestamp::now().checked_add(TALKS_AGAIN).ok();
                self.talks.remove(uid);
                log(&format!("the conversation with the agent in pod {uid} is over: {why}"));
            }
        }
    }

    /// Decides and does what there is to do.
    pub(super) fn act(&mut self, now: Timestamp) {
        // A pod keeps its address for life.
        for pod in self.observed.targets.iter() {
            if let (Some(place), Some(address)) = (self.addresses.get(&pod.uid), pod.address) {
                let _ = place.set(address);
            }
        }
        let decision = self.observed.decide(now);
        if let Some(preview) = decision.preview {
            self.want(preview);
        }
        for uid in decision.forget {
            self.observed.refused.remove(&uid);
            self.attaching.remove(&uid);
            self.addresses.remove(&uid);
            self.part(&uid);
            if let Some(talk) = self.talks.remove(&uid) {
                talk.abort();
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

    /// Forgets an agent, but not what it counted.
    fn part(&mut self, uid: &str) {
        if let Some(link) = self.observed.links.remove(uid) {
            self.observed.gone = self.observed.gone.and(link.counts);
        }
    }

    /// Wants these rules of every agent, from now on.
    fn want(&mut self, mut preview: Vec<IpAddr>) {
        preview.sort_unstable();
        if self.in_hand.as_ref().is_some_and(|(_, known)| *known == preview) {
            return;
        }
        self.observed.has_begun = true;
        // Larger than whatever a keeper before has sent: time passes.
        // The cluster's clock: the keeper before may have been on a node with another.
        let now = self.cluster.clock(Timestamp::now());
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let generation = self.in_hand.as_ref().map_or(milliseconds, |(last, _)| milliseconds.max(last + 1));
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
        self.in_hand = Some((generation, preview));
        self.wanted.send_replace(Wanted::Rules(Arc::new(rules)));
    }

    fn attach(&mut self, pod: &Seen, name: &str) {
        /// How long the watch may take to show a new container.
        const SHOWS: Duration = Duration::from_secs(5);
        let is_too_early = match self.attaching.get(&pod.uid) {
            None => false,
            Some(Attempt::UnderWay) => true,
            Some(Attempt::TakenAt(at)) => at.elapsed() < SHOWS,
            Some(Attempt::Outdated(version)) => *version == pod.resource_version,
        };
        if is_too_early {
            return;
        }
        self.attaching.insert(pod.uid.clone(), Attempt::UnderWay);
        let container = agent_container::container(name, pod.grace_seconds, &self.assignment.agent);
        let (cluster, hear) = (self.cluster.clone(), self.hear.clone());
        let (namespace, pod) = (self.assignment.namespace.clone(), pod.clone());
        let pace = Arc::clone(&self.pace);
        tokio::spawn(async move {
            let _turn = pace.attachments().acquire().await;
            let version = pod.resource_version.as_deref();
            let result = match cluster.attach(&namespace, &pod.name, version, &container).await {
                Ok(_) => Attached::Taken,
                // Somebody was faster; the watch shows what there is now.
                Err(error) if error.is_conflict() || error.is_not_found() => {
                    Attached::Outdated(pod.resource_version)
                }
                Err(error) => Attached::Refused {
                    obstacle: error.attachment_obstacle(&pod.name),
                    is_passing: !error.is_final(),
                },
            };
            let _ = hear.send(Heard::Attached(pod.uid, result));
        });
    }

    /// Where a pod's address is written once it is known.
    fn place(&mut self, pod: &Seen) -> Arc<OnceLock<IpAddr>> {
        let place = self.addresses.entry(pod.uid.clone()).or_default();
        if let Some(address) = pod.address {
            let _ = place.set(address);
        }
        Arc::clone(place)
    }

    fn open(&mut self, pod: Seen, container: String) {
        if self.observed.links.get(&pod.uid).is_some_and(|link| link.container != container) {
            self.part(&pod.uid);
        }
        let begun = || Link { container: container.clone(), ..Link::default() };
        let link = self.observed.links.entry(pod.uid.clone()).or_insert_with(begun);
        link.is_open = true;
        link.pause = None;
        let peer = Peer {
            namespace: self.assignment.namespace.clone(),
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            address: self.place(&pod),
            container,
            session: self.assignment.session.clone(),
            target: self.assignment.target.clone(),
            encrypted: self.assignment.encrypted.clone(),
            yields: self.assignment.yields,
        };
        let talk = link::run(
            self.cluster.clone(),
            peer,
            self.wanted.subscribe(),
            Arc::clone(&self.pace),
            self.say.clone(),
        );
        self.talks.insert(pod.uid, tokio::spawn(talk));
    }

    /// Has it written how things stand.
    fn report(&mut self) {
        // A keeper that has just taken over has nothing to say yet.
        if !self.observed.targets.is_known || !self.observed.previews.is_known {
            return;
        }
        let generation = self.in_hand.as_ref().map(|(generation, _)| *generation);
        let report = self.observed.report(self.assignment.mode, generation);
        let previews: Vec<String> = self.observed.previews.iter().map(|pod| pod.name.clone()).collect();
        let Some(page) = self.scribe.page(report, &previews) else { return };
        let (cluster, assignment, hear) =
            (self.cluster.clone(), Arc::clone(&self.assignment), self.hear.clone());
        tokio::spawn(async move {
            let result = page.write(&cluster, &assignment).await;
            let _ = hear.send(Heard::Written(Box::new((page, result))));
        });
    }

    /// Whether the environment ends, rather than this keeper alone.
    pub(super) async fn is_over(&self) -> bool {
        let asked = self.cluster.root(&self.assignment.namespace, &self.assignment.root).await;
        match asked {
            Ok(Some(root)) => Session::of(&root).is_none_or(|session| {
                let now = self.cluster.clock(Timestamp::now());
                let soon = now.checked_add(CLOCKS_APART).unwrap_or(now);
                session.ending || session.expiry.is_some_and(|expiry| expiry <= soon)
            }),
            Ok(None) => true,
            // Its own rights go with the root. Of anything else, nothing is
            // known, and the lease settles it.
            Err(error) => cluster::Error::among(&error).is_some_and(cluster::Error::is_refused),
        }
    }

    /// Has every agent drop the rules.
    pub(super) async fn withdraw(&mut self) {
        self.wanted.send_replace(Wanted::Withdrawal);
        let all = async {
            while self.observed.links.values().any(|link| link.is_open && !link.is_withdrawn) {
                self.hear().await;
            }
        };
        // The lease ends what cannot be reached.
        let _ = timeout(WITHDRAWAL_WAIT, all).await;
    }
}

/// Writes a line to the keeper's log.
fn log(words: &str) {
    tracing::warn!("{words}");
}
