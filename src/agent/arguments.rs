//! What can be typed behind `mirrord agent`: nobody does by hand, the keeper
//! writes it into the target's pod.
#![expect(missing_docs, reason = "the help texts say it: a comment on a field becomes its help")]

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::contract::control::Method;

/// Where the agent is controlled: on its own container's file system, which
/// the application cannot reach.
pub const SOCKET: &str = "/run/mirrord-agent.sock";

/// Give the requests that a session wants to its preview, from inside the target's pod
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
    /// Where to be controlled
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub socket: PathBuf,
    /// Leave after so many seconds without rules and without connections
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub idle_seconds: u64,
    /// Carry open connections on for so many seconds at least when told to leave
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub drain_seconds: u64,
    /// Log nothing but how it ended
    #[arg(long)]
    pub quiet: bool,
    /// When told to leave, go on for so long: with new connections while the application listens, with open ones until they end
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub stay_seconds: u64,
    /// Carry new connections unread while more memory than this is in use
    #[arg(long, value_name = "MEBIBYTES", default_value_t = 128)]
    pub memory_mebibytes: u64,
    /// Where the reason for leaving is written
    #[arg(long, value_name = "PATH", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
    /// How to take connections over, instead of trying one way after the other
    #[arg(long, value_name = "METHOD", value_parser = method())]
    pub method: Option<Method>,
}

#[derive(Debug, Args)]
pub struct Control {
    /// Where the agent is controlled
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub socket: PathBuf,
}

/// Reads a [`Method`] by its word.
fn method() -> impl TypedValueParser<Value = Method> {
    PossibleValuesParser::new(Method::ALL.map(Method::as_str)).map(|word| {
        Method::ALL
            .into_iter()
            .find(|method| method.as_str() == word)
            .expect("the parser takes these words alone")
    })
}
