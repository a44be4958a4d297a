//! The sessions' rules in force and the capture that follows from them: only this
//! module changes either.

mod silent_keeper;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::capture::{Capture, Change, MAX_SILENCE, Place, Which};
use super::lease::Lease;
use super::older_connections::OlderConnections;
use super::overload::Overload;
use super::repeated_error::RepeatedError;
use super::shared::{Counters, Shared};
use super::unclaimed_ports::UnclaimedPorts;
use crate::contract::control::{AgentStatus, Captured, ControlRequest, PROTOCOL, Reply, SessionStatus};
use crate::traffic::judge::Session;
use crate::traffic::{Refusal, Rules};

/// The longest lease. A keeper that asks for more is wrong.
const MAX_LEASE: Duration = Duration::from_hours(1);

/// How long a connection from before the capture may take to become idle before it
/// is closed anyway.
const MAX_BUSY: Duration = Duration::from_secs(10);

/// How often connections from before the capture are looked at, to close them.
const CLOSES_EVERY: Duration = Duration::from_millis(200);

/// The rules in force, their leases, and the capture.
pub(super) struct RulesInForce {
    shared: Arc<Shared>,
    capture: RefCell<Capture>,
    older: OlderConnections,
    /// Each session's lease.
    leases: RefCell<BTreeMap<String, Lease>>,
    /// How many sessions there are.
    sessions: watch::Sender<usize>,
    /// How many places are captured.
    captured: watch::Sender<usize>,
    /// How many older connections were closed.
    reset: Cell<usize>,
    /// Whether the capture has ended for good.
    is_released: Cell<bool>,
    /// The last heartbeat.
    beaten: Cell<Instant>,
    overload: Cell<Overload>,
    unclaimed_ports: RefCell<UnclaimedPorts>,
    update_error: RepeatedError,
    heartbeat_error: RepeatedError,
    count_error: RepeatedError,
}

// === impl RulesInForce ===

impl RulesInForce {
    pub(super) fn new(shared: Arc<Shared>, capture: Capture, older: OlderConnections) -> Self {
        Self {
            shared,
            capture: RefCell::new(capture),
            older,
            leases: RefCell::default(),
            sessions: watch::Sender::new(0),
            captured: watch::Sender::new(0),
            reset: Cell::new(0),
            is_released: Cell::new(false),
            beaten: Cell::new(Instant::now()),
            overload: Cell::default(),
            unclaimed_ports: RefCell::default(),
            update_error: RepeatedError::default(),
            heartbeat_error: RepeatedError::default(),
            count_error: RepeatedError::default(),
        }
    }

    /// The first line of a conversation.
    pub(super) fn hello(&self) -> Reply {
        Reply::Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            method: self.capture.borrow().method(),
            renews: true,
            reads_canary_request: true,
        }
    }

    /// Serves a request of a keeper.
    pub(super) async fn answer(self: &Rc<Self>, request: ControlRequest) -> Reply {
        match request {
            // Another agent follows, and the keeper asks that one.
            ControlRequest::Rules { .. } | ControlRequest::Renew { .. } if self.is_released.get() => {
                Reply::Error { why: "this agent is leaving".to_owned() }
            }
            ControlRequest::Rules { rules } => match self.take(rules) {
                Ok(reply) => reply,
                Err(refusal) => {
                    let Refusal { session, why, .. } = &refusal;
                    warn!(session, why, "refused rules");
                    Reply::Refused(refusal)
                }
            },
            ControlRequest::Renew { session, generation } => self.renew(session, generation),
            ControlRequest::Withdraw { session } => {
                self.withdraw(&session);
                Reply::Withdrawn { session }
            }
            ControlRequest::Status { session } => Reply::Status(self.status(session.as_deref()).await),
        }
    }

    fn take(self: &Rc<Self>, wire: Value) -> Result<Reply, Refusal> {
        let rules = Rules::read(wire).inspect_err(|refusal| self.withdraw_refused(refusal))?;
        let (session, generation) = (rules.session.clone(), rules.generation);
        let table = self.shared.rules();
        let known = table.get(&session);
        if known.is_none_or(|known| known.rules != rules) {
            let kept = known.map(|known| Arc::clone(&known.kept)).unwrap_or_default();
            let resets = rules.reset && known.is_none_or(|known| !known.rules.reset);
            let table = table.with(Session { rules, kept }).inspect_err(|refusal| {
                // An older generation is refused too, but the newer one stays in force.
                if refusal.conflicting_key.is_some() {
                    self.withdraw_refused(refusal);
                }
            })?;
            // First the rules, then the capture: every request that comes can be judged.
            self.shared.set_rules(table);
            info!(session, generation, "took rules");
            if resets {
                spawn_local(Rc::clone(self).close_older(session.clone()));
            }
        }
        // Accepted rules hold from the next connection, not only from the next heartbeat.
        self.beat();
        self.follow();
        Ok(self.extend(session, generation))
    }

    fn renew(&self, session: String, generation: u64) -> Reply {
        if self.generation(&session) != Some(generation) {
            return Reply::NotHeld { session };
        }
        self.restore(&session);
        self.extend(session, generation)
    }

    fn generation(&self, session: &str) -> Option<u64> {
        self.shared.rules().get(session).map(|session| session.rules.generation)
    }

    /// Begins another lease of rules that are in force.
    fn extend(&self, session: String, generation: u64) -> Reply {
        let table = self.shared.rules();
        let rules = &table.get(&session).expect("the rules are in force").rules;
        let length = Duration::from_secs(rules.lease_seconds).min(MAX_LEASE);
        let lease = Lease::renew(self.leases.borrow().get(&session), length, Instant::now());
        self.leases.borrow_mut().insert(session.clone(), lease);
        self.sessions.send_replace(self.leases.borrow().len());
        let captured = self.captured_ports();
        let wanted = rules.ports.iter().map(|port| port.port);
        let not_listening = wanted.filter(|port| !captured.contains(port)).collect();
        Reply::Accepted { session, generation, not_listening }
    }

    /// Withdraws the rules that refused ones should have replaced.
    fn withdraw_refused(&self, refusal: &Refusal) {
        if let Some(session) = &refusal.session {
            self.withdraw(session);
        }
    }

    fn withdraw(&self, session: &str) {
        self.leases.borrow_mut().remove(session);
        let table = self.shared.rules().without(session);
        // First the capture, then the rules: new connections go to the application at once.
        self.capture_only(&table.ports());
        self.shared.set_rules(table);
        self.sessions.send_replace(self.leases.borrow().len());
    }

    /// Withdraws the sessions whose leases have ended.
    pub(super) fn expire(&self) {
        let now = Instant::now();
        let expired: Vec<String> = {
            let leases = self.leases.borrow();
            leases
                .iter()
                .filter(|(_, lease)| lease.until <= now)
                .map(|(session, _)| session.clone())
                .collect()
        };
        for session in expired {
            self.withdraw(&session);
            warn!(session, "a lease has ended without a renewal");
        }
    }

    /// Captures the ports that sessions want and on which the application listens.
    pub(super) fn follow(&self) {
        let ports = self.shared.rules().ports();
        self.capture_only(&ports);
    }

    /// Closes connections from before the capture for a session that asks for it:
    /// idle ones at once, and those that are still busy after [`MAX_BUSY`].
    async fn close_older(self: Rc<Self>, session: String) {
        let until = Instant::now() + MAX_BUSY;
        loop {
            let Some(ports) = self.ports_to_reset(&session) else { return };
            let places: BTreeSet<Place> = {
                let capture = self.capture.borrow();
                capture.captured().iter().filter(|place| ports.contains(&place.port)).copied().collect()
            };
            let is_last = Instant::now() >= until;
            let which = if is_last { Which::All } else { Which::Idle };
            match self.older.close(places, which).await {
                Ok(closed) => self.reset.set(self.reset.get() + closed),
                Err(error) => {
                    error!(session, %error, "could not close older connections");
                    return;
                }
            }
            if is_last {
                return;
            }
            sleep(CLOSES_EVERY).await;
        }
    }

    /// The ports of a session that has older connections closed.
    fn ports_to_reset(&self, session: &str) -> Option<Vec<u16>> {
        let table = self.shared.rules();
        let rules = &table.get(session).filter(|session| session.rules.reset)?.rules;
        Some(rules.ports.iter().map(|port| port.port).collect())
    }

    fn capture_only(&self, ports: &[u16]) {
        if self.is_released.get() {
            return;
        }
        let (Change { added, removed }, result) = self.capture.borrow_mut().update(ports);
        for Place { address, port } in removed {
            info!(%address, port, "released");
        }
        for Place { address, port } in added {
            info!(%address, port, "captured");
        }
        self.update_error.note(&result, "could not update the capture");
        self.captured.send_replace(self.capture.borrow().captured().len());
        let captured = self.captured_ports();
        let ports = ports.iter().map(|port| (*port, captured.contains(port)));
        self.unclaimed_ports.borrow_mut().follow(ports, Instant::now());
    }

    fn captured_ports(&self) -> BTreeSet<u16> {
        self.capture.borrow().captured().iter().map(|place| place.port).collect()
    }

    /// Tells the kernel that the agent is alive. If the last heartbeat is so long ago
    /// that new connections went to the application, the sessions count a lapse.
    pub(super) fn beat(&self) {
        let now = Instant::now();
        if self.is_released.get() || self.overload.get().is_on(now) || self.shared.connections.is_full() {
            return;
        }
        let silence = now.saturating_duration_since(self.beaten.replace(now));
        if silence > MAX_SILENCE && self.is_capturing() {
            self.shared.rules().sessions().for_each(|session| session.kept.lapsed());
            let milliseconds = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
            warn!(milliseconds, "lapsed: new connections went to the application");
        }
        self.heartbeat_error.note(&self.capture.borrow().beat(), "could not send the heartbeat");
    }

    /// Pauses the capture, because there are no descriptors or source ports for
    /// another connection. It is counted as a lapse.
    pub(super) fn pause(&self) {
        let mut overload = self.overload.get();
        if self.is_released.get() || !overload.begin(Instant::now()) {
            return;
        }
        self.overload.set(overload);
        let connections = self.shared.connections.count();
        warn!(connections, "at the limit of connections: new ones go to the application for a while");
        if let Err(error) = self.capture.borrow_mut().pause() {
            error!(%error, "could not pause the capture at once");
        }
    }

    /// Ends the capture for good.
    pub(super) fn release(&self) {
        self.is_released.set(true);
        if let Err(error) = self.capture.borrow_mut().release() {
            error!(%error, "could not remove the capture");
        }
        self.captured.send_replace(0);
    }

    /// The number of sessions, now and whenever it changes.
    pub(super) fn watch_sessions(&self) -> watch::Receiver<usize> {
        self.sessions.subscribe()
    }

    /// The number of captured places, now and whenever it changes.
    pub(super) fn watch_captured(&self) -> watch::Receiver<usize> {
        self.captured.subscribe()
    }

    fn is_capturing(&self) -> bool {
        !self.capture.borrow().captured().is_empty()
    }

    /// Whether the application may start to listen on a port of a session soon: it
    /// stopped listening a short while ago, or the session is that new.
    pub(super) fn awaits_listeners(&self) -> bool {
        !self.is_released.get() && self.unclaimed_ports.borrow().is_urgent(Instant::now())
    }

    /// The listeners that accept captured connections, and their addresses.
    pub(super) fn listeners(&self) -> io::Result<(Vec<TcpListener>, Vec<SocketAddr>)> {
        let capture = self.capture.borrow();
        Ok((capture.listeners()?, capture.addresses()))
    }

    async fn status(&self, only: Option<&str>) -> AgentStatus {
        let predating = self.older.count(self.captured_ports()).await;
        self.count_error.note(&predating, "could not count older connections");
        let now = Instant::now();
        let leases = self.leases.borrow();
        let status = |session: &Arc<Session<Arc<Counters>>>| {
            let Session { rules, kept } = &**session;
            let until = leases.get(&rules.session).map_or(now, |lease| lease.until);
            SessionStatus {
                session: rules.session.clone(),
                key: rules.key.clone(),
                generation: rules.generation,
                lease_seconds_left: until.saturating_duration_since(now).as_secs(),
                counts: kept.counts(),
                suspended_after_milliseconds: kept.filter_time.suspended_after_milliseconds(),
            }
        };
        let is_asked_for = |session: &&Arc<Session<_>>| only.is_none_or(|only| session.rules.session == only);
        let capture = self.capture.borrow();
        AgentStatus {
            method: capture.method(),
            captured: capture.captured().iter().map(|place| (*place).into()).collect(),
            connections: self.shared.connections.count(),
            predating: predating.unwrap_or(0),
            reset: self.reset.get(),
            sessions: self.shared.rules().sessions().filter(is_asked_for).map(status).collect(),
        }
    }
}

impl From<Place> for Captured {
    fn from(Place { address, port }: Place) -> Self {
        Self { address, port }
    }
}
