//! The agent: in a target pod's network namespace, it takes over new inbound
//! connections of the ports that sessions name, gives each request that a
//! session wants to its preview, and everything else to the application, byte
//! for byte.
//!
//! Whatever happens to it, the application keeps serving. It touches sockets,
//! and the kernel's hooks in [`capture`] alone; it never speaks to the
//! Kubernetes API, and knows nothing but the rules it is handed.

pub mod arguments;
mod capture;
mod clock;
mod closing;
mod connection;
pub mod control;
mod detect;
mod http1;
mod http2;
mod keep_alive;
mod limits;
mod log;
mod memory;
mod overload;
mod preview_pods;
mod relay_buffer;
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

use crate::contract::control::Event;
use crate::problem::{Exit, Explain as _, Problem};
use arguments::{Agent, Command, Run};
use capture::{Capture, Singleton};
use connection::Begun;
#[cfg(fuzzing)]
pub use http1::fuzzing;
use limits::Limits;
use rules_in_force::RulesInForce;
use shared::Shared;
use shutdown::{Deadlines, Reason};
use watchdog::Pulse;

/// How often the event loop says that it is alive: many times within the
/// silence that the kernel's hook allows.
const BEATS_EVERY: Duration = Duration::from_millis(50);

/// How often the application's listeners, the leases and the memory are looked at.
const LOOKS_EVERY: Duration = Duration::from_millis(200);

/// How often, while a port that is wanted has no listener: so long an
/// application that is started again answers the key's requests.
const AWAITS_EVERY: Duration = Duration::from_millis(20);

/// The descriptors that container runtimes give every process.
const LEAST_DESCRIPTORS: u64 = 1_024;

/// The pause after a failed accept: out of descriptors, which others give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Runs the agent, or the bridge to it.
pub fn run(arguments: Agent) -> anyhow::Result<()> {
    match arguments.command {
        Some(Command::Control(control)) => control::bridge::run(&control.socket),
        None => {
            let log = arguments.run.termination_log.clone();
            let result = serve(arguments.run);
            shutdown::write(&log, &result);
            result.map(drop)
        }
    }
}

fn serve(arguments: Run) -> anyhow::Result<Reason> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .explain(|| Problem::new("could not start the event loop"))?;
    LocalSet::new().block_on(&runtime, work(arguments))
}

async fn work(arguments: Run) -> anyhow::Result<Reason> {
    if arguments.quiet {
        log::be_quiet();
    }
    memory::offer_to_die_first();
    let descriptors = limits::raise_descriptor_limit().unwrap_or_else(|error| {
        log::line("limits", &format!("the number of descriptors stays as it is: {error}"));
        LEAST_DESCRIPTORS
    });
    if let Err(error) = capture::ask_for_short_slices() {
        log::line("limits", &format!("slices of processor time stay as long as they are: {error}"));
    }
    let singleton = Singleton::take().explain(|| Problem::new("could not ask for other agents"))?;
    let Some(_singleton) = singleton else {
        return Err(Problem::new("another agent is at work in this pod").exit(Exit::Failed).into());
    };
    let limits = Limits::of(descriptors);
    let state = Arc::new(Shared::new(limits.connections));
    let capture = Capture::open(arguments.method, limits.backlog)?;
    let sessions = Rc::new(RulesInForce::new(Arc::clone(&state), capture));
    let (listeners, own) = sessions.listeners()?;
    let refusals = Rc::new(Notify::new());
    for listener in listeners {
        spawn_local(accept(listener, own.clone(), Arc::clone(&state), Rc::clone(&refusals)));
    }
    let socket = control::bind(&arguments.socket)
        .explain(|| Problem::new(format!("could not listen at `{}`", arguments.socket.display())))?;
    spawn_local(control::serve(socket, Rc::clone(&sessions)));
    let pulse = Pulse::default();
    watchdog::watch(pulse.clone()).explain(|| Problem::new("could not start the watchdog"))?;
    spawn_local(tend(Rc::clone(&sessions), Arc::clone(&state), refusals, pulse, arguments.memory_mebibytes));
    log::event("ready", serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }));

    let seconds = Duration::from_secs;
    let reason = shutdown::reason(&sessions, &state, seconds(arguments.idle_seconds)).await?;
    let (stay, drain) = (seconds(arguments.stay_seconds), seconds(arguments.drain_seconds));
    let deadlines = Deadlines::of(reason, Instant::now(), stay, drain);
    deadlines.stay(&sessions).await;
    sessions.release();
    sessions.tell(Event::Leaving { why: reason.to_string() });
    deadlines.drain(&state).await;
    Ok(reason)
}

/// Keeps everything up to date: heartbeat, listeners, leases, memory.
async fn tend(
    sessions: Rc<RulesInForce>,
    state: Arc<Shared>,
    refusals: Rc<Notify>,
    pulse: Pulse,
    mebibytes: u64,
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
                pulse.beat();
                sessions.beat();
            }
            _ = looks.tick() => {
                sessions.expire();
                sessions.follow();
                if let Some(over_memory_budget) = memory::judge(&state, mebibytes) {
                    sessions.tell(Event::Frugal { frugal: over_memory_budget });
                }
            }
            _ = awaits.tick(), if sessions.awaits_listeners() => sessions.follow(),
            () = refusals.notified() => sessions.follow(),
            () = state.exhausted.notified() => sessions.pass_by(),
        }
    }
}

async fn accept(listener: TcpListener, own: Vec<SocketAddr>, state: Arc<Shared>, refusals: Rc<Notify>) {
    let own: Rc<[SocketAddr]> = own.into();
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                if capture::is_exhausted(&error) {
                    state.exhausted.notify_one();
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (own, state, refusals) = (Rc::clone(&own), Arc::clone(&state), Rc::clone(&refusals));
        let open = state.open();
        let is_full = state.is_full();
        spawn_local(async move {
            let _open = open;
            if connection::serve(Arc::clone(&state), client, &own).await == Begun::Refused {
                refusals.notify_one();
            }
        });
        if is_full {
            // What has come already is for the agent: let no more of them come first.
            yield_now().await;
        }
    }
}
