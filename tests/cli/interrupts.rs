//! Signals to a command that waits for the cluster.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::connection::REFUSING;

#[test]
fn a_verb_that_is_interrupted_ends_with_130_and_in_json_with_its_task() {
    let verbs = [
        (&["extend", "-k", "x", "--ttl", "5"][..], "mirrord preview extend"),
        (&["doctor", "-t", "deployment/shop"], "mirrord preview doctor"),
        (&["stop", "-k", "x"], "mirrord preview stop"),
        (&["status", "-w"], "mirrord"),
    ];
    for ((verb, task), signal) in verbs.into_iter().zip([Signal::SIGINT, Signal::SIGTERM].into_iter().cycle())
    {
        // A cluster that accepts connections and never answers.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let address = listener.local_addr().unwrap().to_string();
        std::fs::write(&kubeconfig, REFUSING.replace("127.0.0.1:1", &address)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_mirrord"))
            .env_clear()
            .env("KUBECONFIG", &kubeconfig)
            .env("MIRRORD_PROGRESS_MODE", "json")
            .arg("preview")
            .args(verb)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let connection = listener.accept().unwrap();
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(connection);
        assert_eq!(output.status.code(), Some(130), "{verb:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let objects = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let ended = objects.filter(|line| line["type"] == "FinishedTask" && line["name"] == task);
        let ended: Vec<_> = ended.collect();
        assert_eq!(ended.len(), 1, "{lines}");
        assert_eq!(ended[0]["success"], false);
        assert!(ended[0]["message"].as_str().unwrap().contains("interrupted"), "{lines}");
    }
}
