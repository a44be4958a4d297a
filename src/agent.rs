//! The agent: in a target pod's network namespace, it captures new connections to the
//! ports that sessions name. It sends each request that matches a session to the
//! session's preview, and everything else to the application, byte for byte.
//!
//! Whatever happens to the agent, the application keeps serving. The agent uses
//! sockets, and the kernel's hooks in [`capture`]. It never calls the Kubernetes API,
//! and knows only the rules that keepers send.

pub mod arguments;
mod capture;
mod clock;
mod closing;
mod connection;
pub mod control;
mod copies;
mod copy_budget;
mod detect;
mod filter_time;
mod http1;
mod http2;
mod keep_alive;
mod lease;
mod limits;
mod memory;
mod older_connections;
mod open_connections;
mod overload;
mod preview_answer;
mod preview_pods;
mod relay_buffer;
mod repeated_error;
mod rules_in_force;
mod shared;
mod shutdown;
mod tunnel;
mod unavailable;
mod unclaimed_ports;
mod watchdog;

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::logging::Log;
use crate::problem::{Exit, Explain as _, Problem};
use arguments::{Agent, Command, Run};
use capture::{Capture, Singleton, SocketTable};
use connection::ConnectionEnd;
#[cfg(fuzzing)]
pub use http1::fuzzing;
use limits::Limits;
use older_connections::OlderConnections;
use open_connections::Ends;
use rules_in_force::RulesInForce;
use shared::Shared;
use shutdown::{Deadlines, ShutdownReason};
use watchdog::Heartbeats;

/// How often the event loop sends its heartbeat: many times within the silence that
/// the kernel's hook allows.
const BEATS_EVERY: Duration = Duration::from_millis(50);

/// How often to look at the application's listeners, the leases, the memory and the
/// log.
const LOOKS_EVERY: Duration = Duration::from_millis(200);

/// How often to look at the application's listeners while one may appear soon: keyed
/// requests go to a restarted application for that long.
const AWAITS_EVERY: Duration = Duration::from_millis(20);

/// The descriptors that container runtimes give every process.
const LEAST_DESCRIPTORS: u64 = 1_024;

/// The pause after a failed accept: the process has no descriptors left, until
/// connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Runs the agent, or the bridge to it.
pub fn run(arguments: Agent) -> anyhow::Result<()> {
    match arguments.command {
        Some(Command::Control(control)) => control::bridge::run(&control.socket),
        None => {
            let log = Rc::new(Log::start(arguments.run.log_level.as_deref()));
            let termination_log = arguments.run.termination_log.clone();
            let result = serve(arguments.run, Rc::clone(&log));
            shutdown::write(&termination_log, &result);
            result.map(drop)
        }
    }
}

fn serve(arguments: Run, log: Rc<Log>) -> anyhow::Result<ShutdownReason> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .explain(|| Problem::new("could not start the event loop"))?;
    LocalSet::new().block_on(&runtime, work(arguments, log))
}

async fn work(arguments: Run, log: Rc<Log>) -> anyhow::Result<ShutdownReason> {
    memory::raise_oom_score();
    let descriptors = limits::raise_descriptor_limit().unwrap_or_else(|error| {
        warn!(%error, "could not raise the limit of descriptors");
        LEAST_DESCRIPTORS
    });
    if let Err(error) = capture::ask_for_short_slices() {
        warn!(%error, "could not ask for short slices of processor time");
    }
    let singleton = Singleton::take().explain(|| Problem::new("could not look for other agents"))?;
    let Some(_singleton) = singleton else {
        return Err(Problem::new("another agent is running in this pod").exit(Exit::Failed).into());
    };
    let limits = Limits::of(descriptors);
    let shared = Arc::new(Shared::new(limits.connections));
    let capture = Capture::open(arguments.method, limits.backlog)?;
    let sockets =
        SocketTable::open().explain(|| Problem::new("could not ask the kernel for the pod's sockets"))?;
    let older = OlderConnections::start(sockets, Arc::clone(&shared.connections))
        .explain(|| Problem::new("could not start the thread that lists sockets"))?;
    let rules = Rc::new(RulesInForce::new(Arc::clone(&shared), capture, older));
    let (listeners, own) = rules.listeners()?;
    let refusals = Rc::new(Notify::new());
    for listener in listeners {
        spawn_local(accept(listener, own.clone(), Arc::clone(&shared), Rc::clone(&refusals)));
    }
    let socket = control::bind(&arguments.socket)
        .explain(|| Problem::new(format!("could not listen at `{}`", arguments.socket.display())))?;
    spawn_local(control::serve(socket, Rc::clone(&rules)));
    let heartbeats = Heartbeats::default();
    watchdog::watch(heartbeats.clone()).explain(|| Problem::new("could not start the watchdog"))?;
    spawn_local(tend(
        Rc::clone(&rules),
        Arc::clone(&shared),
        refusals,
        heartbeats,
        arguments.memory_mebibytes,
        log,
    ));
    info!(version = env!("CARGO_PKG_VERSION"), "ready");

    let seconds = Duration::from_secs;
    let reason = shutdown::reason(&rules, &shared.connections, seconds(arguments.idle_seconds)).await?;
    let (stay, drain) = (seconds(arguments.stay_seconds), seconds(arguments.drain_seconds));
    let deadlines = Deadlines::of(reason, Instant::now(), stay, drain);
    deadlines.stay(rules.watch_captured()).await;
    let has_stopped_listening = *rules.watch_captured().borrow() == 0 && *rules.watch_sessions().borrow() > 0;
    rules.release();
    info!(why = %reason, "leaving");
    let connections = &shared.connections;
    deadlines.drain(connections.watch(), || connections.reach_application(), has_stopped_listening).await;
    Ok(reason)
}

/// Keeps everything up to date: heartbeat, listeners, leases, memory.
async fn tend(
    rules: Rc<RulesInForce>,
    shared: Arc<Shared>,
    refusals: Rc<Notify>,
    heartbeats: Heartbeats,
    memory_mebibytes: u64,
    log: Rc<Log>,
) {
    let ticks = |every| {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let (mut beats, mut looks, mut awaits) = (ticks(BEATS_EVERY), ticks(LOOKS_EVERY), ticks(AWAITS_EVERY));
    loop {
        tokio::select! {
            // The heartbeat first: after a silence nothing is more urgent.
            biased;
            _ = beats.tick() => {
                heartbeats.beat();
                rules.beat();
            }
            _ = looks.tick() => {
                rules.expire();
                rules.watch_silent();
                rules.follow();
                memory::check_budget(&shared, memory_mebibytes);
                log.note_dropped();
            }
            _ = awaits.tick(), if rules.awaits_listeners() => rules.follow(),
            () = refusals.notified() => rules.follow(),
            () = shared.exhausted.notified() => rules.pause(),
        }
    }
}

async fn accept(listener: TcpListener, own: Vec<SocketAddr>, shared: Arc<Shared>, refusals: Rc<Notify>) {
    let own: Rc<[SocketAddr]> = own.into();
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let accepted = listener.accept().await;
        let ends =
            accepted.and_then(|(client, remote)| Ok((Ends::new(client.local_addr()?, remote), client)));
        let (ends, client) = match ends {
            Ok(accepted) => accepted,
            Err(error) => {
                if capture::is_exhausted(&error) {
                    shared.exhausted.notify_one();
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let open = shared.connections.open(ends);
        let is_full = shared.connections.is_full();
        if is_full {
            shared.exhausted.notify_one();
        }
        let (own, shared, refusals) = (Rc::clone(&own), Arc::clone(&shared), Rc::clone(&refusals));
        spawn_local(async move {
            let _open = open;
            if connection::serve(shared, client, &own).await == ConnectionEnd::Refused {
                refusals.notify_one();
            }
        });
        if is_full {
            // Connections that were accepted first must not wait for later ones.
            yield_now().await;
        }
    }
}
