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
use crate::support::load::{Fate, Load};
use crate::support::server::Server;
use crate::support::shop::Shop;
use crate::support::{PREVIEW4, Place, World, read_until, wait_until};

/// How it went after an incident at `when`.
struct Aftermath {
    total: usize,
    failed: usize,
    /// Requests begun after the incident that failed.
    failed_later: usize,
    /// From the incident to the end of the first request begun after it that was served.
    served_after: Duration,
}

fn aftermath(fates: &[Fate], when: Instant) -> Aftermath {
    let failed = fates.iter().filter(|fate| fate.result.is_err());
    let served =
        fates.iter().filter(|fate| fate.began >= when && fate.result.is_ok()).map(|fate| fate.ended).min();
    Aftermath {
        total: fates.len(),
        failed: failed.clone().count(),
        failed_later: failed.filter(|fate| fate.began >= when).count(),
        served_after: served.unwrap() - when,
    }
}

/// Lets something happen to the agent under load, and reports. The agent comes
/// back for what there is to be seen of it afterwards.
fn under_load(
    method: &str,
    name: &str,
    incident: impl FnOnce(&Agent),
) -> (Aftermath, Vec<Fate>, Instant, Agent) {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let agent = Agent::stealing_by(method, &world, &[8080]);
    let load = Load::start(&world, 8080, 1_000);
    thread::sleep(Duration::from_secs(1));
    let when = Instant::now();
    incident(&agent);
    thread::sleep(Duration::from_secs(2));
    let fates = load.stop();
    let aftermath = aftermath(&fates, when);
    for fate in fates.iter().filter(|fate| fate.result.is_err()).take(20) {
        let result = &fate.result;
        report!(
            "  {result:?} after {:?} took {:?}",
            fate.began.saturating_duration_since(when),
            fate.ended - fate.began
        );
    }
    report!(
        "{method}, {name}: {} of {} failed, {} of them begun later; the application served after {:?}",
        aftermath.failed,
        aftermath.total,
        aftermath.failed_later,
        aftermath.served_after
    );
    (aftermath, fates, when, agent)
}

#[test]
#[ignore = "needs root and network namespaces"]
fn after_kill_9_the_application_answers_within_10_ms_and_only_what_was_in_flight_is_lost() {
    for method in METHODS {
        let (aftermath, fates, when, _agent) =
            under_load(method, "SIGKILL", |agent| agent.signal(Signal::SIGKILL));
        assert!(aftermath.total > 2_000);
        assert!(aftermath.served_after < Duration::from_millis(10), "{:?}", aftermath.served_after);
        // In flight: begun before the kernel had finished with the process.
        let settled = when + Duration::from_millis(10);
        assert_eq!(fates.iter().filter(|fate| fate.began >= settled && fate.result.is_err()).count(), 0);
        assert!(aftermath.failed <= 16, "{} failed", aftermath.failed);
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_stopped_agent_loses_new_connections_to_the_application_within_a_second() {
    for method in METHODS {
        let (aftermath, fates, when, mut agent) =
            under_load(method, "SIGSTOP", |agent| agent.signal(Signal::SIGSTOP));
        assert!(aftermath.served_after < Duration::from_secs(1), "{:?}", aftermath.served_after);
        agent.signal(Signal::SIGCONT);
        // Whose requests may have gone to the wrong side, is told.
        wait_until("the lapse is counted", || agent.counts("s1")["lapses"].as_u64() > Some(0));
        assert!(agent.log().contains("lapsed: new connections went to the application"), "{}", agent.log());
        let settled = when + Duration::from_millis(900);
        assert_eq!(fates.iter().filter(|fate| fate.began >= settled && fate.result.is_err()).count(), 0);
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_terminated_agent_loses_no_request_at_all() {
    for method in METHODS {
        let (aftermath, ..) = under_load(method, "SIGTERM", |agent| agent.signal(Signal::SIGTERM));
        assert_eq!(aftermath.failed, 0);
        assert!(aftermath.served_after < Duration::from_millis(100), "{:?}", aftermath.served_after);
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_hung_event_loop_loses_new_connections_within_a_second_and_is_ended_by_the_watchdog() {
    // One thread alone is held: a signal would stop the watchdog too.
    let hold = |agent: &Agent| {
        ptrace::seize(agent.process(), ptrace::Options::empty()).unwrap();
        ptrace::interrupt(agent.process()).unwrap();
        waitpid(agent.process(), None).unwrap();
    };
    for method in METHODS {
        let (aftermath, fates, when, mut agent) = under_load(method, "hung event loop", hold);
        assert!(aftermath.served_after < Duration::from_secs(1), "{:?}", aftermath.served_after);
        let settled = when + Duration::from_millis(900);
        assert_eq!(fates.iter().filter(|fate| fate.began >= settled && fate.result.is_err()).count(), 0);
        assert!(!agent.ended());
        let took = when.elapsed();
        report!("{method}, hung event loop: ended within {took:?}");
        assert!(agent.log().contains("the event loop has stopped"), "{}", agent.log());
    }
}

#[test]
#[ignore = "needs root, network namespaces and the memory cgroup"]
fn where_memory_runs_out_the_agent_is_ended_and_the_application_serves_on() {
    let cgroup = Cgroup::new("memory", 16 * 1024 * 1024);
    let world = World::new();
    let mut app = Shop::start(&world);
    wait_until("the application listens", || world.try_connect(Place::Pod, "127.0.0.1", 8080).is_ok());
    let mut agent = Agent::start(&world, &["--memory-mebibytes", "4096"]);
    agent.steal(&[8080]);
    cgroup.take(app.process());
    cgroup.take(agent.process().as_raw().unsigned_abs());
    // The application's part comes first, so that it asks for nothing while
    // memory is short: the kernel ends the next one when the first has not
    // quite given its memory back.
    let mut clients: Vec<_> = (0..500).map(|_| world.connect(8080)).collect();
    wait_until("all have arrived", || agent.status()["connections"] == clients.len());
    // Heads that do not end are held by the agent, not by the application.
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
    wait_until("the kernel has ended the agent", || !agent.is_running());
    let when = Instant::now();
    let mut client = world.connect(8080);
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
    read_until(&mut client, b"\n");
    report!("out of memory after {heads} heads; the application answered after {:?}", when.elapsed());
    assert!(when.elapsed() < Duration::from_secs(1));
    thread::sleep(Duration::from_secs(1));
    let fates = load.stop();
    let aftermath = aftermath(&fates, when);
    report!(
        "out of memory: {} of {} failed, {} of them begun later; the application served after {:?}",
        aftermath.failed,
        aftermath.total,
        aftermath.failed_later,
        aftermath.served_after
    );
    assert_eq!(aftermath.failed_later, 0);
    assert!(aftermath.served_after < Duration::from_secs(1), "{:?}", aftermath.served_after);
    // Those that were under way, which a machine short of memory takes longer for.
    assert!(aftermath.failed * 4 < aftermath.total, "{} of {}", aftermath.failed, aftermath.total);
    assert_eq!(cgroup.kills(), 1);
    assert!(app.is_running(), "the application was not ended");
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
