//! Whatever happens to the agent, the application keeps serving.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use serde_json::json;

use crate::capture::METHODS;
use crate::support::agent::Agent;
use crate::support::cgroup::Cgroup;
use crate::support::load::{Load, Outcome};
use crate::support::server::Server;
use crate::support::shop::Shop;
use crate::support::{PREVIEW4, Place, World, read_until, wait_until};

/// The requests before and after an incident.
struct Aftermath {
    total: usize,
    failed: usize,
    /// Failed requests that had begun after the incident.
    failed_later: usize,
    /// From the incident to the answer of the first request that began after it.
    served_after: Duration,
}

fn aftermath(outcomes: &[Outcome], when: Instant) -> Aftermath {
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err());
    let served = outcomes
        .iter()
        .filter(|outcome| outcome.began >= when && outcome.result.is_ok())
        .map(|outcome| outcome.ended)
        .min();
    Aftermath {
        total: outcomes.len(),
        failed: failed.clone().count(),
        failed_later: failed.filter(|outcome| outcome.began >= when).count(),
        served_after: served.unwrap() - when,
    }
}

/// Runs `incident` on an agent under load, and reports. Returns the agent for further
/// checks, too.
fn under_load(
    method: &str,
    name: &str,
    incident: impl FnOnce(&Agent),
) -> (Aftermath, Vec<Outcome>, Instant, Agent) {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let agent = Agent::stealing_by(method, &world, &[8080]);
    let load = Load::start(&world, 8080, 1_000);
    thread::sleep(Duration::from_secs(1));
    let when = Instant::now();
    incident(&agent);
    thread::sleep(Duration::from_secs(2));
    let outcomes = load.stop();
    let aftermath = aftermath(&outcomes, when);
    for outcome in outcomes.iter().filter(|outcome| outcome.result.is_err()).take(20) {
        let result = &outcome.result;
        report!(
            "  {result:?} after {:?} took {:?}",
            outcome.began.saturating_duration_since(when),
            outcome.ended - outcome.began
        );
    }
    report!(
        "{method}, {name}: {} of {} failed, {} of them begun later; the application served after {:?}",
        aftermath.failed,
        aftermath.total,
        aftermath.failed_later,
        aftermath.served_after
    );
    (aftermath, outcomes, when, agent)
}

#[test]
#[ignore = "needs root and network namespaces"]
fn after_kill_9_the_application_answers_within_10_ms_and_only_requests_in_flight_fail() {
    for method in METHODS {
        let (aftermath, outcomes, when, _agent) =
            under_load(method, "SIGKILL", |agent| agent.signal(Signal::SIGKILL));
        assert!(aftermath.total > 2_000);
        assert!(aftermath.served_after < Duration::from_millis(10), "{:?}", aftermath.served_after);
        // In flight: begun before the kernel had ended the process.
        let settled = when + Duration::from_millis(10);
        assert_eq!(
            outcomes.iter().filter(|outcome| outcome.began >= settled && outcome.result.is_err()).count(),
            0
        );
        assert!(aftermath.failed <= 16, "{} failed", aftermath.failed);
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn new_connections_of_a_stopped_agent_go_to_the_application_within_a_second() {
    for method in METHODS {
        let (aftermath, outcomes, when, mut agent) =
            under_load(method, "SIGSTOP", |agent| agent.signal(Signal::SIGSTOP));
        assert!(aftermath.served_after < Duration::from_secs(1), "{:?}", aftermath.served_after);
        agent.signal(Signal::SIGCONT);
        // The session counts that its requests may have gone to the application.
        wait_until("the lapse is counted", || agent.counts("s1")["lapses"].as_u64() > Some(0));
        assert!(agent.log().contains("lapsed: new connections went to the application"), "{}", agent.log());
        let settled = when + Duration::from_millis(900);
        assert_eq!(
            outcomes.iter().filter(|outcome| outcome.began >= settled && outcome.result.is_err()).count(),
            0
        );
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn terminating_the_agent_fails_no_request() {
    for method in METHODS {
        let (aftermath, ..) = under_load(method, "SIGTERM", |agent| agent.signal(Signal::SIGTERM));
        assert_eq!(aftermath.failed, 0);
        assert!(aftermath.served_after < Duration::from_millis(100), "{:?}", aftermath.served_after);
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn new_connections_of_a_hung_event_loop_go_to_the_application_and_the_watchdog_ends_it() {
    // Stops one thread: a signal would stop the watchdog too.
    let hold = |agent: &Agent| {
        ptrace::seize(agent.process(), ptrace::Options::empty()).unwrap();
        ptrace::interrupt(agent.process()).unwrap();
        waitpid(agent.process(), None).unwrap();
    };
    for method in METHODS {
        let (aftermath, outcomes, when, mut agent) = under_load(method, "hung event loop", hold);
        assert!(aftermath.served_after < Duration::from_secs(1), "{:?}", aftermath.served_after);
        let settled = when + Duration::from_millis(900);
        assert_eq!(
            outcomes.iter().filter(|outcome| outcome.began >= settled && outcome.result.is_err()).count(),
            0
        );
        assert!(!agent.ended());
        let took = when.elapsed();
        report!("{method}, hung event loop: ended within {took:?}");
        assert!(agent.log().contains("the event loop has stopped"), "{}", agent.log());
    }
}

#[test]
#[ignore = "needs root, network namespaces and the memory cgroup"]
fn when_memory_runs_out_the_kernel_kills_the_agent_and_the_application_serves_on() {
    let cgroup = Cgroup::new("memory", 16 * 1024 * 1024);
    let world = World::new();
    let mut app = Shop::start(&world);
    wait_until("the application listens", || world.try_connect(Place::Pod, "127.0.0.1", 8080).is_ok());
    let mut agent = Agent::start(&world, &["--memory-mebibytes", "4096"]);
    agent.steal(&[8080]);
    cgroup.add(app.process());
    cgroup.add(agent.process().as_raw().unsigned_abs());
    // The application's memory comes first, so that it needs none while memory is
    // short: the kernel kills the next process if the first has not released its
    // memory yet.
    let mut clients: Vec<_> = (0..500).map(|_| world.connect(8080)).collect();
    wait_until("all have arrived", || agent.status()["connections"] == clients.len());
    // The agent buffers heads that do not end; the application does not see them.
    let load = Load::start(&world, 8080, 100);
    thread::sleep(Duration::from_secs(1));
    let mut head = b"GET / HTTP/1.1\r\nX: ".to_vec();
    head.resize(60 * 1024, b'x');
    let mut heads = 0;
    for client in &mut clients {
        if !agent.is_running() {
            break;
        }
        client.set_nonblocking(true).unwrap();
        let _ = client.write(&head);
        heads += 1;
        thread::sleep(Duration::from_millis(2));
    }
    wait_until("the kernel has killed the agent", || !agent.is_running());
    let when = Instant::now();
    let mut client = world.connect(8080);
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
    read_until(&mut client, b"\n");
    report!("out of memory after {heads} heads; the application answered after {:?}", when.elapsed());
    assert!(when.elapsed() < Duration::from_secs(1));
    thread::sleep(Duration::from_secs(1));
    let outcomes = load.stop();
    let aftermath = aftermath(&outcomes, when);
    report!(
        "out of memory: {} of {} failed, {} of them begun later; the application served after {:?}",
        aftermath.failed,
        aftermath.total,
        aftermath.failed_later,
        aftermath.served_after
    );
    assert_eq!(aftermath.failed_later, 0);
    assert!(aftermath.served_after < Duration::from_secs(1), "{:?}", aftermath.served_after);
    // Requests in flight, which take longer on a machine short of memory.
    assert!(aftermath.failed * 4 < aftermath.total, "{} of {}", aftermath.failed, aftermath.total);
    assert_eq!(cgroup.kills(), 1);
    assert!(app.is_running(), "the application was not killed");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_agent_whose_log_nobody_reads_goes_on_and_counts_the_lines_that_it_drops() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut agent = Agent::start_logging_to(writer, &world);
    // Lines that nobody reads: more than the pipe and the agent's queue hold.
    let unreadable = json!({"type": "rules", "rules": {"session": "x".repeat(100)}});
    for _ in 0..4_000 {
        assert_eq!(agent.ask(&unreadable)["type"], "refused");
    }
    assert_eq!(agent.steal(&[8080])["type"], "accepted");
    // Longer than the watchdog allows the event loop to stop.
    thread::sleep(Duration::from_secs(3));
    let mut client = world.connect(8080);
    client.write_all(b"GET / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\n\r\n").unwrap();
    read_until(&mut client, b"preview / 0\n");
    let mut log = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    wait_until("the log says how many lines were dropped", || {
        let read = reader.read(&mut buffer).unwrap();
        log.extend_from_slice(&buffer[..read]);
        String::from_utf8_lossy(&log).contains("lines of this log were dropped")
    });
}
