//! The sessions in force and the capture that follows from them: the one place
//! where either changes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::capture::{Capture, Change, MAX_SILENCE, Place, Which};
use super::log::{self, Trouble};
use super::overload::Overload;
use super::shared::Shared;
use super::unclaimed_ports::UnclaimedPorts;
use crate::contract::control::{Captured, Event, PROTOCOL, Reply, Request, SessionStatus, Status};
use crate::traffic::judge::Session;
use crate::traffic::{Refusal, Rules};

/// A lease longer than this is a keeper's mistake.
const MAX_LEASE: Duration = Duration::from_hours(1);

/// How long a connection from before the capture may take to become idle
/// before it is closed all the same.
const MAX_BUSY: Duration = Duration::from_secs(10);

/// Events that a slow controller may be behind; older ones are lost to it.
const EVENTS: usize = 256;

/// The sessions of one agent.
pub(super) struct RulesInForce {
    shared: Arc<Shared>,
    capture: RefCell<Capture>,
    leases: RefCell<BTreeMap<String, Instant>>,
    events: broadcast::Sender<Event>,
    /// The sessions that still have older connections closed, and until when
    /// busy ones are spared.
    resets: RefCell<BTreeMap<String, Instant>>,
    /// How many were closed.
    reset: Cell<usize>,
    /// The capture was taken off for good.
    is_released: Cell<bool>,
    /// The last heartbeat.
    beaten: Cell<Instant>,
    /// For how long there is no room for more connections.
    overload: Cell<Overload>,
    /// The ports on which nobody listens.
    unclaimed_ports: RefCell<UnclaimedPorts>,
    /// What fails each time, as long as it fails.
    update_trouble: Trouble,
    beat_trouble: Trouble,
}

// === impl RulesInForce ===

impl RulesInForce {
    pub(super) fn new(shared: Arc<Shared>, capture: Capture) -> Self {
        Self {
            shared,
            capture: RefCell::new(capture),
            leases: RefCell::default(),
            events: broadcast::Sender::new(EVENTS),
            resets: RefCell::default(),
            reset: Cell::new(0),
            is_released: Cell::new(false),
            beaten: Cell::new(Instant::now()),
            overload: Cell::default(),
            unclaimed_ports: RefCell::default(),
            update_trouble: Trouble::default(),
            beat_trouble: Trouble::default(),
        }
    }

    /// Events from now on.
    pub(super) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Something happened: to the log, and to every controller.
    pub(super) fn tell(&self, event: Event) {
        log::event("agent", &event);
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// The first line of a conversation.
    pub(super) fn hello(&self) -> Reply {
        Reply::Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            method: self.capture.borrow().method(),
        }
    }

    /// Does what the keeper asks.
    pub(super) fn answer(&self, request: Request) -> Reply {
        match request {
            // Another agent follows; the keeper asks again.
            Request::Rules { .. } if self.is_released.get() => {
                Reply::Error { why: "this agent is leaving".to_owned() }
            }
            Request::Rules { rules } => match self.take(rules) {
                Ok(reply) => reply,
                Err(refusal) => {
                    log::event("refused", &refusal);
                    Reply::Refused(refusal)
                }
            },
            Request::Withdraw { session } => {
                self.withdraw(&session);
                Reply::Withdrawn { session }
            }
            Request::Status => Reply::Status(self.status()),
        }
    }

    fn take(&self, wire: Value) -> Result<Reply, Refusal> {
        let rules = Rules::read(wire).inspect_err(|refusal| self.refuse(refusal))?;
        let (session, generation) = (rules.session.clone(), rules.generation);
        let wanted: Vec<u16> = rules.ports.iter().map(|port| port.port).collect();
        let lease = Duration::from_secs(rules.lease_seconds).min(MAX_LEASE);
        let table = self.shared.rules();
        let known = table.get(&session);
        if known.is_none_or(|known| known.rules != rules) {
            let kept = known.map(|known| Arc::clone(&known.kept)).unwrap_or_default();
            let resets = rules.reset && known.is_none_or(|known| !known.rules.reset);
            let table = table.with(Session { rules, kept }).inspect_err(|refusal| {
                // Nor is an older snapshot, but that one came too late to say so.
                if refusal.conflicting_key.is_some() {
                    self.refuse(refusal);
                }
            })?;
            if resets {
                self.resets.borrow_mut().insert(session.clone(), Instant::now() + MAX_BUSY);
            }
            // First the rules, then the capture: no request comes that nobody can judge.
            self.shared.set_rules(table);
            log::event("rules", serde_json::json!({ "session": session, "generation": generation }));
        }
        self.leases.borrow_mut().insert(session.clone(), Instant::now() + lease);
        // Accepted rules hold from the very next connection, not from the next beat.
        self.beat();
        self.follow();
        let capture = self.capture.borrow();
        let is_captured = |port: &u16| capture.captured().iter().any(|place| place.port == *port);
        let not_listening = wanted.into_iter().filter(|port| !is_captured(port)).collect();
        Ok(Reply::Accepted { session, generation, not_listening })
    }

    /// What was in force until now is not what is wanted any more.
    fn refuse(&self, refusal: &Refusal) {
        if let Some(session) = &refusal.session {
            self.withdraw(session);
        }
    }

    fn withdraw(&self, session: &str) {
        self.leases.borrow_mut().remove(session);
        self.resets.borrow_mut().remove(session);
        let table = self.shared.rules().without(session);
        // First the capture, then the rules: new connections are the application's at once.
        self.capture_only(&table.ports());
        self.shared.set_rules(table);
    }

    /// Drops the sessions whose leases have run out.
    pub(super) fn expire(&self) {
        let now = Instant::now();
        let expired: Vec<String> = {
            let leases = self.leases.borrow();
            leases.iter().filter(|(_, until)| **until <= now).map(|(session, _)| session.clone()).collect()
        };
        for session in expired {
            self.withdraw(&session);
            self.tell(Event::Expired { session });
        }
    }

    /// Captures what the sessions want and the application listens on, now.
    pub(super) fn follow(&self) {
        let ports = self.shared.rules().ports();
        self.capture_only(&ports);
        self.close_predating();
    }

    /// Closes connections from before the capture for the sessions that ask for
    /// it: first the idle ones, at last the others.
    fn close_predating(&self) {
        self.resets.borrow_mut().retain(|session, until| {
            let table = self.shared.rules();
            let Some(session) = table.get(session) else { return false };
            let ports: Vec<u16> = session.rules.ports.iter().map(|port| port.port).collect();
            let is_over = Instant::now() >= *until;
            let which = if is_over { Which::All } else { Which::Idle };
            match self.capture.borrow_mut().close_predating(&ports, which) {
                Ok(closed) => self.reset.set(self.reset.get() + closed),
                Err(error) => {
                    log::line("capture", &format!("older connections could not be closed: {error}"));
                    return false;
                }
            }
            !is_over
        });
    }

    fn capture_only(&self, ports: &[u16]) {
        if self.is_released.get() {
            return;
        }
        let (Change { added, removed }, result) = self.capture.borrow_mut().update(ports);
        for place in removed {
            self.tell(Event::Released(place.into()));
        }
        for place in added {
            self.tell(Event::Captured(place.into()));
        }
        match result {
            Ok(()) => self.update_trouble.is_over(),
            Err(error) => {
                self.update_trouble.lasts("capture", &format!("could not be brought up to date: {error}"));
            }
        }
        let capture = self.capture.borrow();
        let is_captured = |port: u16| capture.captured().iter().any(|place| place.port == port);
        let ports = ports.iter().map(|port| (*port, is_captured(*port)));
        self.unclaimed_ports.borrow_mut().follow(ports, Instant::now());
    }

    /// Says to the kernel that the agent is alive, and to the sessions if the
    /// kernel had to think otherwise: what came meanwhile went to the application.
    pub(super) fn beat(&self) {
        let now = Instant::now();
        if self.is_released.get() || self.overload.get().is_on(now) || self.shared.is_full() {
            return;
        }
        let silence = now.saturating_duration_since(self.beaten.replace(now));
        if silence > MAX_SILENCE && self.is_capturing() {
            self.shared.rules().sessions().for_each(|session| session.kept.lapsed());
            let after_milliseconds = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
            self.tell(Event::Lapsed { after_milliseconds });
        }
        match self.capture.borrow().beat() {
            Ok(()) => self.beat_trouble.is_over(),
            Err(error) => self.beat_trouble.lasts("capture", &format!("the heartbeat failed: {error}")),
        }
    }

    /// There are no descriptors or source ports for another connection: new ones
    /// are the application's for a while, which is told as every silence is.
    pub(super) fn pass_by(&self) {
        let mut overload = self.overload.get();
        if self.is_released.get() || !overload.begin(Instant::now()) {
            return;
        }
        self.overload.set(overload);
        let connections = self.shared.connections.load(Relaxed);
        log::line("capture", &format!("no room beside {connections} connections: new ones pass for a while"));
        if let Err(error) = self.capture.borrow_mut().pause() {
            log::line("capture", &format!("could not be silenced at once: {error}"));
        }
    }

    /// Gives every new connection back to the application, for good.
    pub(super) fn release(&self) {
        self.is_released.set(true);
        if let Err(error) = self.capture.borrow_mut().release() {
            log::line("capture", &format!("could not be taken off: {error}"));
        }
    }

    /// Whether no session is in force.
    pub(super) fn is_idle(&self) -> bool {
        self.leases.borrow().is_empty()
    }

    /// Whether new connections come to the agent.
    pub(super) fn is_capturing(&self) -> bool {
        !self.capture.borrow().captured().is_empty()
    }

    /// Whether a port that a session wants had a listener of the application's
    /// until lately, or is wanted only since then.
    pub(super) fn awaits_listeners(&self) -> bool {
        !self.is_released.get() && self.unclaimed_ports.borrow().is_urgent(Instant::now())
    }

    /// The listeners at which captured connections arrive, and their addresses.
    pub(super) fn listeners(&self) -> io::Result<(Vec<TcpListener>, Vec<SocketAddr>)> {
        let capture = self.capture.borrow();
        Ok((capture.listeners()?, capture.addresses()))
    }

    fn status(&self) -> Status {
        let mut capture = self.capture.borrow_mut();
        let connections = self.shared.connections.load(Relaxed);
        let now = Instant::now();
        let leases = self.leases.borrow();
        let session = |session: &Arc<Session<_>>| -> SessionStatus {
            let Session { rules, kept } = &**session;
            let kept: &Arc<super::shared::Counters> = kept;
            let until = leases.get(&rules.session).copied().unwrap_or(now);
            SessionStatus {
                session: rules.session.clone(),
                key: rules.key.clone(),
                generation: rules.generation,
                lease_seconds_left: until.saturating_duration_since(now).as_secs(),
                counts: kept.counts(),
            }
        };
        Status {
            method: capture.method(),
            captured: capture.captured().iter().map(|place| (*place).into()).collect(),
            connections,
            predating: capture.predating(connections).unwrap_or(0),
            reset: self.reset.get(),
            sessions: self.shared.rules().sessions().map(session).collect(),
        }
    }
}

impl From<Place> for Captured {
    fn from(Place { address, port }: Place) -> Self {
        Self { address, port }
    }
}
