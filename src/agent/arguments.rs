//! The arguments of `mirrord agent`, which the keeper writes into the target's pod.
#![expect(missing_docs, reason = "the comment on a field is its help text")]

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::contract::control::CaptureMethod;
use crate::logging::TERMINATION_LOG;

/// The socket for keepers, on the file system of the agent's own container, which the
/// application cannot reach.
pub const SOCKET: &str = "/run/mirrord-agent.sock";

/// Send the requests that match a session to its preview, from inside the target's pod
#[derive(Debug, Parser)]
#[command(name = "agent", bin_name = "mirrord agent", args_conflicts_with_subcommands = true)]
pub struct Agent {
    #[command(flatten)]
    pub run: Run,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bridge standard input and output to the agent in this container, as JSON lines
    Control(Control),
}

#[derive(Debug, Args)]
pub struct Run {
    /// Socket to listen on for keepers
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub socket: PathBuf,
    /// End after this time without rules and without connections
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub idle_seconds: u64,
    /// When told to end, let open connections go on for this time at least
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub drain_seconds: u64,
    /// What to log: off, error, warn, info, debug or trace, or a list like `mirrord=debug,warn`
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// When told to end, go on for this time: accept connections while the application listens, and let open ones finish
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub stay_seconds: u64,
    /// Do not read new connections while the agent uses more memory than this
    #[arg(long, value_name = "MEBIBYTES", default_value_t = 128)]
    pub memory_mebibytes: u64,
    /// File to write the reason for ending into
    #[arg(long, value_name = "PATH", default_value = TERMINATION_LOG)]
    pub termination_log: PathBuf,
    /// How to capture connections, instead of the first method that works
    #[arg(long, value_name = "METHOD", value_parser = method())]
    pub method: Option<CaptureMethod>,
}

#[derive(Debug, Args)]
pub struct Control {
    /// Socket of the agent
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub socket: PathBuf,
}

/// Reads a [`CaptureMethod`] from its name.
fn method() -> impl TypedValueParser<Value = CaptureMethod> {
    PossibleValuesParser::new(CaptureMethod::ALL.map(CaptureMethod::as_str)).map(|word| {
        CaptureMethod::ALL
            .into_iter()
            .find(|method| method.as_str() == word)
            .expect("the parser accepts only these names")
    })
}
