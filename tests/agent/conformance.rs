//! Conformance of HTTP/2 and gRPC: h2spec and gRPC's interoperability suite, both
//! Go programs, through the agent and without it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::{POD4, Place, World, wait_until};

const GRPC: u16 = 5001;
const HTTP2: u16 = 5002;

/// The Go program, built once.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance");
        let mut go = Command::new("go");
        go.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agent/go"));
        go.args(["build", "-o"]).arg(&program).arg(".");
        let built = go.status().expect("these tests need Go (go.dev/dl), which is not here");
        assert!(built.success(), "the Go program does not build");
        program
    })
}

/// The Go program's servers.
struct Servers(Child);

impl Servers {
    fn start(world: &World, place: Place, key: &str) -> Self {
        let mut command = Command::new(program());
        command.args(["serve", &GRPC.to_string(), &HTTP2.to_string(), key]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = world.within(place, || command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the Go program in one of the namespaces. Returns for each case whether it passed.
fn verdicts(world: &World, from: Place, arguments: &[&str]) -> BTreeMap<String, bool> {
    let mut command = Command::new(program());
    command.args(arguments).stderr(Stdio::inherit());
    let output = world.within(from, || command.output().unwrap());
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let verdict = |line: &str| {
        let (verdict, name) = line.split_once(' ').unwrap();
        (name.to_owned(), verdict != "fail")
    };
    text.lines().map(verdict).collect()
}

fn failed(verdicts: &BTreeMap<String, bool>) -> BTreeSet<&str> {
    verdicts.iter().filter(|(_, passed)| !**passed).map(|(name, _)| name.as_str()).collect()
}

#[test]
#[ignore = "needs root, network namespaces and Go"]
fn h2spec_finds_no_more_failures_through_the_agent_than_without_it() {
    let world = World::new();
    let _app = Servers::start(&world, Place::Pod, "");
    let _preview = Servers::start(&world, Place::Preview, "");
    let port = HTTP2.to_string();
    let run = |from, address| verdicts(&world, from, &["h2spec", address, &port]);
    let mut agent = Agent::start(&world, &[]);
    // The rules match one path only; h2spec asks for `/`.
    let take = |agent: &mut Agent, path: &str| {
        let reply = agent.rules("s1", "pr-1", "steal", &[HTTP2], &json!({"path": path}));
        assert_eq!(reply["type"], "accepted", "{reply}");
    };
    // Some cases depend on time and fail now and then everywhere. A failure counts if
    // it happens in every round, and only through the agent.
    let mut worse = BTreeMap::new();
    for round in 1..=3 {
        take(&mut agent, "^/preview");
        // Without the agent: the same server in a namespace without an agent.
        let (direct, unmatched) = std::thread::scope(|scope| {
            let direct = scope.spawn(|| run(Place::Preview, "127.0.0.1"));
            let unmatched = run(Place::Client, POD4);
            (direct.join().unwrap(), unmatched)
        });
        take(&mut agent, "^/$");
        let matched = run(Place::Client, POD4);
        report!(
            "h2spec, round {round}: {} cases, of which {} fail without the agent",
            direct.len(),
            failed(&direct).len()
        );
        assert!(direct.len() > 100 && failed(&direct).len() < 30, "{direct:?}");
        for (name, through) in [("unmatched", unmatched), ("matched", matched)] {
            report!("  {name}: {:?}", failed(&through));
            assert!(through.keys().eq(direct.keys()));
            let now: BTreeSet<String> =
                failed(&through).difference(&failed(&direct)).map(|name| (*name).to_owned()).collect();
            let before = worse.entry(name).or_insert_with(|| now.clone());
            before.retain(|case| now.contains(case));
        }
        if worse.values().all(BTreeSet::is_empty) {
            break;
        }
    }
    assert!(worse.values().all(BTreeSet::is_empty), "these pass without the agent: {worse:?}");
    let counts = agent.counts("s1");
    let passed = counts["passed"].as_u64().unwrap();
    assert!(passed > 50 && counts["matched"].as_u64().unwrap() > 50, "{counts}");
}

/// The least and the most requests that gRPC's cases send. Ten cases send one and two send two; the
/// others (`cancel_after_begin`, and `timeout_on_sleeping_server` with its limit of a millisecond for
/// connecting too) may give up before their request is sent.
const REQUESTS: RangeInclusive<u64> = 14..=16;

#[test]
#[ignore = "needs root, network namespaces and Go"]
fn the_grpc_interoperability_suite_passes_matched_and_unmatched() {
    let world = World::new();
    let _app = Servers::start(&world, Place::Pod, "");
    // The preview's server fails at a request without the key, the application's at one with it.
    let _preview = Servers::start(&world, Place::Preview, "pr-1");
    let mut agent = Agent::stealing(&world, &[GRPC]);
    assert_eq!(agent.status()["captured"].as_array().unwrap().len(), 2);
    let address = format!("{POD4}:{GRPC}");
    for key in ["", "pr-1"] {
        let verdicts = verdicts(&world, Place::Client, &["grpc", &address, key]);
        assert_eq!(verdicts.len(), 14);
        assert_eq!(failed(&verdicts), BTreeSet::new(), "with the key {key:?}");
    }
    let counts = agent.counts("s1");
    report!("gRPC: 14 cases each way, {counts}");
    for way in ["matched", "passed"] {
        assert!(REQUESTS.contains(&counts[way].as_u64().unwrap()), "{counts}");
    }
}

#[test]
#[ignore = "needs root, network namespaces and Go"]
fn the_grpc_interoperability_suite_passes_while_a_preview_gets_copies() {
    let world = World::new();
    let _app = Servers::start(&world, Place::Pod, "pr-1");
    let _preview = Servers::start(&world, Place::Preview, "pr-1");
    let mut agent = Agent::start(&world, &[]);
    agent.rules("s1", "pr-1", "mirror", &[GRPC], &json!({"baggage": "pr-1"}));
    let verdicts = verdicts(&world, Place::Client, &["grpc", &format!("{POD4}:{GRPC}"), "pr-1"]);
    assert_eq!((verdicts.len(), failed(&verdicts)), (14, BTreeSet::new()));
    let mut counts = agent.counts("s1");
    wait_until("every request was copied, or given up with its client", || {
        counts = agent.counts("s1");
        REQUESTS.contains(&(counts["mirrored"].as_u64().unwrap() + counts["dropped"].as_u64().unwrap()))
    });
    report!("gRPC: 14 cases with copies, {counts}");
    // A case that breaks off before its request is whole takes its copy with it.
    assert!(counts["mirrored"].as_u64().unwrap() >= 11, "{counts}");
}
