//! Rules start and end with requests, or with their lease.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::{MAX_WAIT, PREVIEW4, Place, World, read_until, wait_until};

fn rules(session: &str, lease_seconds: u64, filter: &Value) -> Value {
    json!({"type": "rules", "rules": {
        "version": 1, "session": session, "generation": 1, "key": format!("key-{session}"),
        "order": 1, "lease_seconds": lease_seconds, "mode": "steal",
        "ports": [{"port": 8080}], "filter": filter, "preview": [PREVIEW4],
    }})
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_lease_that_is_not_renewed_ends_the_session_and_its_capture() {
    let world = World::new();
    let app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let mut agent = Agent::start(&world, &[]);
    let lease = rules("s1", 1, &json!({"baggage": "pr-1"}));
    for _ in 0..4 {
        assert_eq!(agent.ask(&lease)["type"], "accepted");
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(agent.status()["sessions"].as_array().unwrap().len(), 1, "renewed in time");
    }
    wait_until("the lease has run out", || agent.status()["sessions"].as_array().unwrap().is_empty());
    assert_eq!(agent.status()["captured"], json!([]));
    let mut client = world.connect(8080);
    client.write_all(b"GET / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\n\r\n").unwrap();
    read_until(&mut client, b"app / 0\n");
    assert_eq!(app.accepted(), 1);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_address_that_changes_hands_while_the_keeper_is_silent_gets_no_request() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let mut agent = Agent::start(&world, &[]);
    let accepted = rules("s1", 60, &json!({"baggage": "pr-1"}));
    assert_eq!(agent.ask(&accepted)["type"], "accepted");
    // From the second renewal on, the agent knows how often they come.
    assert_eq!(agent.ask(&accepted)["type"], "accepted");
    let ask = |end: &[u8]| {
        let mut client = world.connect(8080);
        client.write_all(b"GET / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\n\r\n").unwrap();
        String::from_utf8(read_until(&mut client, end)).unwrap()
    };
    // The keeper is silent and the preview is there: nothing changes.
    wait_until("the preview is tried", || preview.accepted() >= 2);
    ask(b"preview / 0\n");
    assert!(!agent.log().contains("preview pods are gone"), "{}", agent.log());

    drop(preview);
    wait_until("the agent has noticed", || agent.log().contains("preview pods are gone"));
    let stranger = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "stranger");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let answer = ask(b"no preview pod is ready\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(stranger.accepted(), 0);
    let sessions = agent.status()["sessions"].clone();
    assert_eq!(sessions.as_array().unwrap().len(), 1, "the session keeps its requests");

    // The next renewal says that the address is the preview's after all.
    let renewed = agent.ask(&json!({"type": "renew", "session": "s1", "generation": 1}));
    assert_eq!(renewed["type"], "accepted", "{renewed}");
    ask(b"stranger / 0\n");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn unknown_rules_end_their_session_and_no_other() {
    let world = World::new();
    let mut agent = Agent::start(&world, &[]);
    for session in ["s1", "s2"] {
        let filter = json!({"baggage": session});
        assert_eq!(agent.ask(&rules(session, 60, &filter))["type"], "accepted");
    }
    let reply = agent.ask(&rules("s1", 60, &json!({"moon_phase": "full"})));
    assert_eq!((&reply["type"], &reply["session"]), (&"refused".into(), &"s1".into()), "{reply}");
    assert!(reply["why"].as_str().unwrap().contains("moon_phase"), "{reply}");
    let status = agent.status();
    let sessions: Vec<_> =
        status["sessions"].as_array().unwrap().iter().map(|session| &session["session"]).collect();
    assert_eq!(sessions, ["s2"]);
    assert_eq!(agent.ask(&json!({"type": "dance"}))["type"], "error");
    assert_eq!(agent.ask(&json!([1]))["type"], "error");
    assert_eq!(agent.status()["type"], "status", "the conversation goes on");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_session_with_another_sessions_filter_is_refused_with_the_others_key() {
    let world = World::new();
    let mut agent = Agent::start(&world, &[]);
    let filter = json!({"header": "x-user: ann"});
    assert_eq!(agent.ask(&rules("s1", 60, &filter))["type"], "accepted");
    let reply = agent.ask(&rules("s2", 60, &filter));
    assert_eq!((&reply["type"], &reply["conflicting_key"]), (&"refused".into(), &"key-s1".into()), "{reply}");
    assert_eq!(agent.status()["sessions"].as_array().unwrap().len(), 1);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_agent_without_rules_ends_by_itself_with_a_reason() {
    let world = World::new();
    let mut agent = Agent::start(&world, &["--idle-seconds", "1"]);
    assert_eq!(agent.ask(&rules("s1", 60, &json!({"baggage": "k"})))["type"], "accepted");
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert!(agent.is_running(), "it has rules");
    agent.withdraw("s1");
    assert!(agent.ended());
    assert_eq!(agent.termination_message(), "no rules for a while");
    assert!(agent.log().lines().last().unwrap().contains("no rules for a while"), "{}", agent.log());
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_terminated_agent_finishes_open_requests() {
    let world = World::new();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |mut stream| {
        read_until(&mut stream, b"\r\n\r\n");
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
    });
    let mut agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    agent.signal(Signal::SIGTERM);
    std::thread::sleep(std::time::Duration::from_millis(100));
    // An agent that is leaving captures no more, and so accepts no rules.
    assert_eq!(agent.steal(&[8080])["type"], "error");
    read_until(&mut client, b"slow");
    drop(client);
    assert!(agent.ended());
    assert_eq!(agent.termination_message(), "told to stop");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_bridge_connects_the_keeper_and_the_log_has_no_header_values() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let agent = Agent::start(&world, &[]);
    let mut bridge = Command::new(env!("CARGO_BIN_EXE_mirrord"))
        .args(["agent", "control", "--socket"])
        .arg(agent.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(bridge.stdout.take().unwrap()).lines();
    let mut hear = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(hear()["type"], "hello");
    let mut input = bridge.stdin.take().unwrap();
    writeln!(input, "{}", rules("s1", 60, &json!({"header": "x-token: hunter2"}))).unwrap();
    assert_eq!(hear()["type"], "accepted");
    let mut client = world.connect(8080);
    client.write_all(b"GET / HTTP/1.1\r\nx-token: hunter2\r\n\r\n").unwrap();
    read_until(&mut client, b"\n");
    writeln!(input, "{}", json!({"type": "status"})).unwrap();
    assert_eq!(hear()["captured"], json!([{"address": "0.0.0.0", "port": 8080}]));
    drop(input);
    assert!(bridge.wait().unwrap().success());
    let log = agent.log();
    assert!(log.contains("took rules") && log.contains("captured"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn over_its_memory_budget_the_agent_does_not_read_connections_and_is_killed_before_the_application() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let mut agent = Agent::start(&world, &["--memory-mebibytes", "1"]);
    assert_eq!(agent.ask(&rules("s1", 60, &json!({"baggage": "pr-1"})))["type"], "accepted");
    wait_until("the budget was checked", || agent.log().contains("\"exceeded\":true"));
    let mut client = world.connect(8080);
    client.write_all(b"GET / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\n\r\n").unwrap();
    read_until(&mut client, b"app / 0\n");
    assert_eq!(agent.oom_score_adjustment(), "1000");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_agent_without_rules_stays_while_a_connection_is_open() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let mut agent = Agent::start(&world, &["--idle-seconds", "1", "--drain-seconds", "0"]);
    assert_eq!(agent.ask(&rules("s1", 60, &json!({"baggage": "k"})))["type"], "accepted");
    let mut client = world.connect(8080);
    let mut ask = || {
        client.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
        read_until(&mut client, b"app / 0\n");
    };
    ask();
    agent.withdraw("s1");
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    assert!(agent.is_running(), "its end would end the connection");
    ask();
    drop(client);
    assert!(agent.ended());
    assert_eq!(agent.termination_message(), "no rules for a while");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn open_requests_may_take_all_the_time_that_the_pod_has() {
    let world = World::new();
    let app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |mut stream| {
        read_until(&mut stream, b"\r\n\r\n");
        std::thread::sleep(std::time::Duration::from_secs(3));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
    });
    let mut agent = Agent::start(&world, &["--drain-seconds", "1", "--stay-seconds", "6"]);
    agent.steal(&[8080]);
    let mut client = world.connect(8080);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    wait_until("the application has the request", || app.accepted() == 1);
    // The pod ends: the application stops listening, and finishes its request.
    agent.signal(Signal::SIGTERM);
    drop(app);
    read_until(&mut client, b"slow");
    drop(client);
    assert!(agent.ended());
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_connection_that_only_the_preview_serves_does_not_hold_a_pod_that_ends() {
    let world = World::new();
    let app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |mut stream| {
        read_until(&mut stream, b"\r\n\r\n");
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").unwrap();
        let _ = std::io::Read::read(&mut stream, &mut [0]);
    });
    let mut agent = Agent::start(&world, &["--stay-seconds", "119"]);
    agent.steal(&[8080]);
    let mut client = world.connect(8080);
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    write!(client, "GET / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\n{upgrade}\r\n").unwrap();
    read_until(&mut client, b"\r\n\r\n");
    agent.signal(Signal::SIGTERM);
    drop(app);
    let begun = std::time::Instant::now();
    wait_until("the agent has ended", || !agent.is_running());
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_session_that_is_refused_for_a_conflict_has_no_rules_in_force() {
    let world = World::new();
    let mut agent = Agent::start(&world, &[]);
    let take = |agent: &mut Agent, session: &str, generation: u64, user: &str| {
        let mut request = rules(session, 60, &json!({"header": format!("x-user: {user}")}));
        request["rules"]["generation"] = generation.into();
        agent.ask(&request)["type"].clone()
    };
    let sessions = |agent: &mut Agent| {
        let status = agent.status();
        let sessions = status["sessions"].as_array().unwrap().iter();
        sessions.map(|session| session["session"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(take(&mut agent, "s1", 1, "ann"), "accepted");
    assert_eq!(take(&mut agent, "s2", 2, "bob"), "accepted");
    assert_eq!(take(&mut agent, "s2", 1, "eve"), "refused", "an older snapshot");
    assert_eq!(sessions(&mut agent).len(), 2, "the newer rules stay in force");
    assert_eq!(take(&mut agent, "s2", 3, "ann"), "refused");
    assert_eq!(sessions(&mut agent), ["s1"]);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_line_in_pieces_may_be_no_longer_than_one_at_once() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let mut agent = Agent::start(&world, &[]);
    agent.status();
    let mut control = UnixStream::connect(agent.socket()).unwrap();
    control.set_read_timeout(Some(MAX_WAIT)).unwrap();
    let mut lines = BufReader::new(control.try_clone().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("hello"));
    let half = vec![b' '; 700 * 1024];
    control.write_all(&half).unwrap();
    // The agent serves others in the middle of the line.
    agent.steal(&[8080]);
    agent.withdraw("s1");
    // The agent may have closed the conversation before the line ends.
    let _ = control.write_all(&half).and_then(|()| control.write_all(b"\n"));
    assert!(
        !lines.map_while(Result::ok).any(|line| line.contains("error")),
        "more than a mebibyte was taken for a line"
    );
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_renewal_names_the_generation_that_the_agent_holds_or_is_not_accepted() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let mut agent = Agent::start(&world, &[]);
    let renew = |generation: u64| json!({"type": "renew", "session": "s1", "generation": generation});
    assert_eq!(agent.ask(&renew(1)), json!({"type": "not_held", "session": "s1"}));
    assert_eq!(agent.ask(&rules("s1", 1, &json!({"baggage": "pr-1"})))["type"], "accepted");
    assert_eq!(agent.ask(&renew(2))["type"], "not_held");
    for _ in 0..4 {
        let accepted = json!({"type": "accepted", "session": "s1", "generation": 1, "not_listening": []});
        assert_eq!(agent.ask(&renew(1)), accepted);
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(agent.status()["sessions"].as_array().unwrap().len(), 1, "renewed in time");
    }
    wait_until("the lease has ended", || agent.status()["sessions"].as_array().unwrap().is_empty());
    assert_eq!(agent.ask(&renew(1))["type"], "not_held");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_status_of_one_session_lists_no_other() {
    let world = World::new();
    let mut agent = Agent::start(&world, &[]);
    for session in ["s1", "s2"] {
        assert_eq!(agent.ask(&rules(session, 60, &json!({"baggage": session})))["type"], "accepted");
    }
    let sessions = |status: &Value| status["sessions"].as_array().unwrap().len();
    assert_eq!(sessions(&agent.status()), 2);
    let one = agent.ask(&json!({"type": "status", "session": "s2"}));
    assert_eq!((sessions(&one), &one["sessions"][0]["session"]), (1, &"s2".into()));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn hundreds_of_status_requests_list_the_pods_sockets_once_a_second() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let mut agent = Agent::stealing(&world, &[8080]);
    let mut clients: Vec<_> = (0..1_000).map(|_| world.connect(8080)).collect();
    for client in &mut clients {
        client.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
        read_until(client, b"app / 0\n");
    }
    let start = std::time::Instant::now();
    for _ in 0..500 {
        let status = agent.status();
        assert_eq!((&status["connections"], &status["predating"]), (&1_000.into(), &0.into()), "{status}");
    }
    // Each list takes milliseconds.
    report!("500 status requests beside 1,000 connections: {:?}", start.elapsed());
    assert!(start.elapsed() < std::time::Duration::from_millis(500), "{:?}", start.elapsed());
}
