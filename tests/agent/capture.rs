//! Which connections the agent captures, by each method, and that the application gets
//! all of them afterwards.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::agent::Agent;
use crate::support::load::Load;
use crate::support::server::Server;
use crate::support::{MAX_WAIT, POD4, POD6, Place, World, read_until, wait_until};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n";

/// The methods of capturing.
pub(crate) const METHODS: [&str; 2] = ["sk_lookup", "nftables"];

#[test]
#[ignore = "needs root and network namespaces"]
fn fifty_attach_and_detach_cycles_under_load_fail_no_request() {
    for method in METHODS {
        let world = World::new();
        let app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
        let mut agent = Agent::start(&world, &["--method", method]);
        let load = Load::start(&world, 8080, 1_000);
        let mut passed = 0;
        for _ in 0..50 {
            assert_eq!(agent.steal(&[8080])["type"], "accepted");
            thread::sleep(Duration::from_millis(30));
            passed += agent.counts("s1")["passed"].as_u64().unwrap();
            agent.withdraw("s1");
            thread::sleep(Duration::from_millis(30));
        }
        let outcomes = load.stop();
        let failed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err()).collect();
        report!(
            "{method}, 50 cycles: {} of {} failed, {} accepted, {passed} of them by way of the agent",
            failed.len(),
            outcomes.len(),
            app.accepted()
        );
        assert!(outcomes.len() > 2_000);
        assert!(passed > 500, "{passed}");
        assert_eq!(failed, Vec::<&String>::new());
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_application_is_captured_on_every_address_on_which_it_listens() {
    for method in METHODS {
        for (listens, dialled, from) in [
            ("0.0.0.0", POD4, Place::Client),
            ("0.0.0.0", "127.0.0.1", Place::Pod),
            ("0.0.0.0", POD4, Place::Pod),
            ("::", POD4, Place::Client),
            ("::", POD6, Place::Client),
            ("::", "::1", Place::Pod),
            ("::", "127.0.0.1", Place::Pod),
            (POD4, POD4, Place::Client),
            (POD6, POD6, Place::Client),
            (POD6, POD6, Place::Pod),
            ("127.0.0.1", "127.0.0.1", Place::Pod),
            ("::1", "::1", Place::Pod),
        ] {
            let world = World::new();
            let app = Server::http(world.listen(Place::Pod, listens, 8080), "app");
            let mut agent = Agent::stealing_by(method, &world, &[8080]);
            let mut client = world.try_connect(from, dialled, 8080).unwrap();
            client.write_all(REQUEST).unwrap();
            read_until(&mut client, b"app / 0\n");
            assert_eq!(
                agent.counts("s1")["passed"],
                1,
                "{method}, {listens} by {dialled}: {}",
                agent.status()
            );
            assert_eq!(app.accepted(), 1, "one connection to the application for one from the client");
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_address_without_a_listener_refuses_connections_as_without_the_agent() {
    for method in METHODS {
        let world = World::new();
        let _app = Server::http(world.listen(Place::Pod, "127.0.0.1", 8080), "app");
        let mut agent = Agent::stealing_by(method, &world, &[8080]);
        assert_eq!(agent.status()["captured"].as_array().unwrap().len(), 1);
        let refused = world.try_connect(Place::Client, POD4, 8080).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_port_is_captured_only_while_the_application_listens_on_it() {
    for method in METHODS {
        let world = World::new();
        let mut agent = Agent::start(&world, &["--method", method]);
        let reply = agent.steal(&[8080, 8081]);
        assert_eq!(reply["not_listening"], serde_json::json!([8080, 8081]));
        let refused = || world.try_connect(Place::Client, POD4, 8080).is_err();
        assert!(refused(), "a probe of a stopped application must fail");
        let app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
        wait_until("the port is captured", || agent.status()["captured"].as_array().unwrap().len() == 1);
        let mut held = world.connect(8080);
        held.write_all(REQUEST).unwrap();
        read_until(&mut held, b"app / 0\n");
        drop(app);
        wait_until("connections are refused again", refused);
        // The application restarts while an earlier connection is still open.
        let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
        wait_until("the port is captured again", || {
            agent.status()["captured"].as_array().unwrap().len() == 1
        });
        let mut client = world.connect(8080);
        client.write_all(REQUEST).unwrap();
        read_until(&mut client, b"app / 0\n");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn connections_from_before_the_capture_go_to_the_application_and_are_counted() {
    for method in METHODS {
        let world = World::new();
        let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
        let mut before = world.connect(8080);
        before.write_all(REQUEST).unwrap();
        read_until(&mut before, b"app / 0\n");
        let mut agent = Agent::stealing_by(method, &world, &[8080]);
        let mut after = world.connect(8080);
        after.write_all(REQUEST).unwrap();
        read_until(&mut after, b"app / 0\n");
        let status = agent.status();
        assert_eq!((&status["connections"], &status["predating"]), (&1.into(), &1.into()), "{status}");
        agent.withdraw("s1");
        for client in [&mut before, &mut after] {
            client.write_all(REQUEST).unwrap();
            read_until(client, b"app / 0\n");
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn without_bpf_the_agent_captures_by_nftables_and_its_status_names_the_method() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let mut agent = Agent::start_with("-all,+net_admin", &world);
    agent.steal(&[8080]);
    let mut client = world.connect(8080);
    client.write_all(REQUEST).unwrap();
    read_until(&mut client, b"app / 0\n");
    let status = agent.status();
    assert_eq!((&status["method"], &status["connections"]), (&"nftables".into(), &1.into()), "{status}");
    assert!(agent.log().contains("BPF sk_lookup: Operation not permitted"), "{}", agent.log());
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_hook_of_a_killed_agent_is_gone_before_the_next_one_starts() {
    for method in METHODS {
        let world = World::new();
        let app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
        for round in 1..=3 {
            // The kernel would refuse the table's name if the last table still existed.
            let mut agent = Agent::stealing_by(method, &world, &[8080]);
            let mut client = world.connect(8080);
            client.write_all(REQUEST).unwrap();
            read_until(&mut client, b"app / 0\n");
            assert_eq!((agent.counts("s1")["passed"].clone(), app.accepted()), (1.into(), round));
            agent.signal(Signal::SIGKILL);
            agent.ended();
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_agent_raises_the_limit_of_descriptors_that_containers_start_with() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let mut agent = Agent::start_limited(&world, 64, 1_024, &[]);
    agent.steal(&[8080]);
    let mut clients: Vec<_> = (0..200).map(|_| world.connect(8080)).collect();
    for client in &mut clients {
        client.write_all(REQUEST).unwrap();
        read_until(client, b"app / 0\n");
    }
    assert_eq!(agent.status()["connections"], 200);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn without_capabilities_the_agent_ends_with_both_errors_and_a_hint() {
    let world = World::new();
    let mut agent = Agent::start_with("-all", &world);
    assert!(!agent.ended());
    let words = agent.termination_message();
    for expected in ["BPF sk_lookup: Operation not permitted", "nftables tproxy: ", "NET_ADMIN"] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_second_agent_ends_at_once_with_a_reason() {
    let world = World::new();
    let mut first = Agent::start(&world, &[]);
    first.status();
    let mut second = Agent::start(&world, &[]);
    assert!(!second.ended());
    assert!(second.termination_message().contains("another agent"), "{}", second.termination_message());
    assert!(first.is_running());
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_agents_own_port_closes_direct_connections() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _agent = Agent::stealing(&world, &[8080]);
    for (table, loopback, written) in
        [("tcp", "127.0.0.1", "0100007F"), ("tcp6", "::1", "00000000000000000000000001000000")]
    {
        let path = format!("/proc/thread-self/net/{table}");
        let sockets = world.within(Place::Pod, || std::fs::read_to_string(path).unwrap());
        // State 0A is LISTEN. Listeners are the application, and the agent on loopback.
        let listening: Vec<_> = sockets.lines().filter(|line| line.contains(" 0A ")).collect();
        let own: Vec<_> =
            listening.iter().filter_map(|line| line.split_once(&format!(" {written}:"))).collect();
        let apps = listening.iter().filter(|line| line.contains(" 00000000:1F90 ")).count();
        assert_eq!(listening.len(), own.len() + apps, "{listening:?}");
        assert!(!own.is_empty(), "{listening:?}");
        for (_, rest) in own {
            let port = u16::from_str_radix(&rest[..4], 16).unwrap();
            let mut client = world.try_connect(Place::Pod, loopback, port).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn silent_clients_get_keep_alive_probes() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    client.write_all(REQUEST).unwrap();
    read_until(&mut client, b"app / 0\n");
    let port = client.local_addr().unwrap().port();
    // Timer 02 is keep-alive, if no data waits for an acknowledgement.
    wait_until("the client has a keep-alive timer", || {
        let sockets =
            world.within(Place::Pod, || std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap());
        let to_client = sockets.lines().find(|line| line.contains(&format!(":{port:04X} 01 "))).unwrap();
        to_client.contains(" 02:")
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn without_descriptors_connections_go_to_the_application() {
    for method in METHODS {
        let world = World::new();
        let app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
        let mut agent = Agent::start_limited(&world, 256, 256, &["--method", method]);
        agent.steal(&[8080]);
        let mut clients: Vec<_> = (0..200).map(|_| world.connect(8080)).collect();
        for client in &mut clients {
            client.write_all(REQUEST).unwrap();
            read_until(client, b"app / 0\n");
        }
        assert_eq!(app.accepted(), 200);
        let connections = agent.status()["connections"].as_u64().unwrap();
        assert!((80..120).contains(&connections), "{method}: {connections}");
        drop(clients);
        // When connections have ended, the agent captures again, and has counted a lapse.
        wait_until("new connections are judged", || {
            world.connect(8080).write_all(REQUEST).unwrap();
            agent.counts("s1")["lapses"] == 1 && agent.status()["predating"] == 0
        });
        let before = agent.counts("s1")["passed"].as_u64().unwrap();
        let mut client = world.connect(8080);
        client.write_all(REQUEST).unwrap();
        read_until(&mut client, b"app / 0\n");
        assert_eq!(agent.counts("s1")["passed"], before + 1, "{method}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_stopped_agent_gets_no_more_connections_than_it_has_descriptors_for() {
    for method in METHODS {
        let world = World::new();
        let app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
        let mut agent = Agent::start_limited(&world, 256, 256, &["--method", method]);
        agent.steal(&[8080]);
        agent.signal(Signal::SIGSTOP);
        // Those beyond its queue try again after a second, and then go to the application.
        let mut clients: Vec<_> = (0..200).map(|_| world.connect(8080)).collect();
        agent.signal(Signal::SIGCONT);
        for client in &mut clients {
            client.write_all(REQUEST).unwrap();
            read_until(client, b"app / 0\n");
        }
        assert_eq!(app.accepted(), 200, "{method}");
        let connections = agent.status()["connections"].as_u64().unwrap();
        assert!((10..40).contains(&connections), "{method}: {connections}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn without_source_ports_connections_go_to_the_application() {
    for method in METHODS {
        let world = World::new();
        let _app = Server::http(world.listen(Place::Pod, "::", 8080), "app");
        let mut agent = Agent::stealing_by(method, &world, &[8080]);
        let own = std::process::id().to_string();
        let limit = std::process::Command::new("prlimit").args(["--pid", &own, "--nofile=20000:"]).status();
        assert!(limit.unwrap().success());
        let taken: Vec<_> = world.within(Place::Pod, || {
            let ports = (20_000..32_768).chain(61_000..=u16::MAX);
            ports.map(|port| TcpListener::bind((POD6, port)).unwrap()).collect()
        });
        // The agent accepts one more, and cannot connect to the application.
        let unlucky = world.try_connect(Place::Client, POD6, 8080).unwrap();
        wait_until("the agent logs it", || {
            agent.log().contains("new ones go to the application for a while")
        });
        let mut client = world.try_connect(Place::Client, POD6, 8080).unwrap();
        client.write_all(REQUEST).unwrap();
        read_until(&mut client, b"app / 0\n");
        assert_eq!(agent.counts("s1")["passed"], 0, "{method}");
        drop((unlucky, taken));
        wait_until("connections are judged again", || {
            let mut client = world.try_connect(Place::Client, POD6, 8080).unwrap();
            client.write_all(REQUEST).unwrap();
            read_until(&mut client, b"app / 0\n");
            agent.counts("s1")["passed"].as_u64() > Some(0)
        });
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn clients_from_outside_never_look_local_and_the_agents_own_connections_are_not_captured() {
    for method in METHODS {
        for (dialled, from) in
            [(POD4, Place::Client), (POD6, Place::Client), ("127.0.0.1", Place::Pod), ("::1", Place::Pod)]
        {
            let world = World::new();
            let listener = world.listen(Place::Pod, "::", 8080);
            let sources = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
            let seen = std::sync::Arc::clone(&sources);
            let _app =
                Server::new(listener, move |stream| seen.lock().unwrap().push(stream.peer_addr().unwrap()));
            let _agent = Agent::stealing_by(method, &world, &[8080]);
            for _ in 0..100 {
                let _ = world.try_connect(from, dialled, 8080).unwrap().read(&mut [0]);
            }
            let sources = sources.lock().unwrap();
            assert_eq!(sources.len(), 100, "{method}, {dialled}: one connection to the application for each");
            for source in sources.iter() {
                assert_eq!(
                    source.ip().to_canonical().to_string(),
                    dialled,
                    "{method}: the destination's own address"
                );
                assert!(
                    !(32_768..61_000).contains(&source.port()),
                    "{method}: a port that Linux does not pick: {source}"
                );
            }
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_connection_to_a_link_local_address_reaches_the_application() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "::", 8080), "app");
    let mut agent = Agent::stealing(&world, &[8080]);
    for (place, address) in [(Place::Pod, "fe80::77/64"), (Place::Client, "fe80::78/64")] {
        world.add_address(place, "v0", address);
    }
    let mut client = world.within(Place::Client, || {
        let to = SocketAddrV6::new("fe80::77".parse().unwrap(), 8080, 0, link_number("v0"));
        TcpStream::connect_timeout(&SocketAddr::from(to), MAX_WAIT).unwrap()
    });
    client.set_read_timeout(Some(MAX_WAIT)).unwrap();
    client.write_all(REQUEST).unwrap();
    read_until(&mut client, b"app / 0\n");
    assert_eq!(agent.counts("s1")["passed"], 1);
}

/// The index of a link in this thread's network namespace.
fn link_number(name: &str) -> u32 {
    let addresses = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
    let line = addresses.lines().find(|line| line.ends_with(name)).unwrap();
    u32::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
}
