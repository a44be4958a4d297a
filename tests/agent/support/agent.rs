//! A running agent, and a keeper's end of its control socket.

use std::io::{BufRead as _, BufReader, PipeWriter, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{MAX_WAIT, PREVIEW4, Place, World};

pub(crate) struct Agent {
    child: Child,
    directory: TempDir,
    control: Option<BufReader<UnixStream>>,
    generation: u64,
}

/// The capabilities of the agent's container, in the syntax of `setpriv`.
const CAPABILITIES: &str = "-all,+bpf,+net_admin";

/// The program with only these capabilities.
fn privileged(capabilities: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--bounding-set={capabilities}")).arg(env!("CARGO_BIN_EXE_mirrord"));
    command
}

impl Agent {
    /// Starts an agent in the pod, with the capabilities of its container.
    pub(crate) fn start(world: &World, arguments: &[&str]) -> Self {
        Self::start_as(privileged(CAPABILITIES), world, arguments)
    }

    /// Starts an agent with only these capabilities.
    pub(crate) fn start_with(capabilities: &str, world: &World) -> Self {
        Self::start_as(privileged(capabilities), world, &[])
    }

    /// Starts an agent with this soft and this hard limit of descriptors.
    pub(crate) fn start_limited(world: &World, soft: u32, hard: u32, arguments: &[&str]) -> Self {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={soft}:{hard}")).arg(env!("CARGO_BIN_EXE_mirrord"));
        Self::start_as(command, world, arguments)
    }

    /// Starts an agent that logs into this pipe.
    pub(crate) fn start_logging_to(log: PipeWriter, world: &World) -> Self {
        Self::start_logging(privileged(CAPABILITIES), world, &[], Some(log))
    }

    fn start_as(command: Command, world: &World, arguments: &[&str]) -> Self {
        Self::start_logging(command, world, arguments, None)
    }

    fn start_logging(
        mut command: Command,
        world: &World,
        arguments: &[&str],
        pipe: Option<PipeWriter>,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let termination_log = directory.path().join("termination-log");
        std::fs::write(&termination_log, "").unwrap();
        command.arg("agent").arg("--socket").arg(directory.path().join("agent.sock"));
        command.arg("--termination-log").arg(termination_log).args(arguments);
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(pipe.map_or_else(|| Stdio::from(log), Stdio::from));
        let child = world.within(Place::Pod, || command.spawn().unwrap());
        Self { child, directory, control: None, generation: 0 }
    }

    /// Starts an agent with one session, which steals requests with the key `pr-1`.
    pub(crate) fn stealing(world: &World, ports: &[u16]) -> Self {
        Self::stealing_by("sk_lookup", world, ports)
    }

    /// The same, with this method of capturing.
    pub(crate) fn stealing_by(method: &str, world: &World, ports: &[u16]) -> Self {
        let mut agent = Self::start(world, &["--method", method]);
        let reply = agent.steal(ports);
        assert_eq!(reply["type"], "accepted", "{reply}");
        agent
    }

    pub(crate) fn steal(&mut self, ports: &[u16]) -> Value {
        self.rules("s1", "pr-1", "steal", ports, &json!({"baggage": "pr-1"}))
    }

    pub(crate) fn rules(
        &mut self,
        session: &str,
        key: &str,
        mode: &str,
        ports: &[u16],
        filter: &Value,
    ) -> Value {
        let rules = self.snapshot(session, key, mode, ports, filter);
        self.ask(&json!({"type": "rules", "rules": rules}))
    }

    /// A session's rules, for a test that changes them before it sends them.
    pub(crate) fn snapshot(
        &mut self,
        session: &str,
        key: &str,
        mode: &str,
        ports: &[u16],
        filter: &Value,
    ) -> Value {
        self.generation += 1;
        let ports: Vec<Value> = ports.iter().map(|port| json!({"port": port})).collect();
        json!({
            "version": 1, "session": session, "generation": self.generation, "key": key,
            "order": 1, "lease_seconds": 60, "mode": mode, "ports": ports,
            "filter": filter, "preview": [PREVIEW4],
        })
    }

    pub(crate) fn withdraw(&mut self, session: &str) {
        let reply = self.ask(&json!({"type": "withdraw", "session": session}));
        assert_eq!(reply["type"], "withdrawn", "{reply}");
    }

    pub(crate) fn status(&mut self) -> Value {
        self.ask(&json!({"type": "status"}))
    }

    /// The counters of a session.
    pub(crate) fn counts(&mut self, session: &str) -> Value {
        let status = self.status();
        let sessions = status["sessions"].as_array().unwrap();
        sessions.iter().find(|candidate| candidate["session"] == session).unwrap()["counts"].clone()
    }

    /// Sends a request and returns the answer.
    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        if self.control.is_none() {
            self.control = Some(self.connect());
            assert_eq!(self.read_reply()["type"], "hello");
        }
        let control = self.control.as_mut().unwrap();
        writeln!(control.get_mut(), "{request}").unwrap();
        self.read_reply()
    }

    pub(crate) fn read_reply(&mut self) -> Value {
        let mut line = String::new();
        self.control.as_mut().unwrap().read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the agent ended the conversation; its log: {}", self.log());
        serde_json::from_str(&line).unwrap()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    fn connect(&mut self) -> BufReader<UnixStream> {
        let start = Instant::now();
        loop {
            if let Ok(stream) = UnixStream::connect(self.socket()) {
                stream.set_read_timeout(Some(MAX_WAIT)).unwrap();
                return BufReader::new(stream);
            }
            assert!(start.elapsed() < MAX_WAIT, "no agent: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// The reason for ending that Kubernetes would show.
    pub(crate) fn termination_message(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("termination-log")).unwrap()
    }

    pub(crate) fn process(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.process(), signal).unwrap();
    }

    /// Waits until the process has ended; true if it was successful.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The process's rank among those that the kernel kills when memory runs out.
    pub(crate) fn oom_score_adjustment(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/oom_score_adj", self.child.id())).unwrap().trim().to_owned()
    }

    /// A line of `/proc/<pid>/status`, such as `VmRSS:`, in kibibytes.
    pub(crate) fn memory_kibibytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
