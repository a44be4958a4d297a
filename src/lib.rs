//! `mirrord` previews: preview environments in any Kubernetes namespace, with
//! nothing installed first and nothing left behind.
//!
//! One binary: the command line, the keeper and the agent. A module may use
//! those below it in this list, and `tests/architecture.rs` holds it to that:
//!
//! ```text
//!   run               chooses a mode, calls a verb, exits
//!   completion        what a shell offers while somebody types
//!   preview           the verbs; `plan` and `progress` decide and ask nothing
//!   keeper            the pod of an environment's root: observe, decide, act
//!   agent             inside a target's pod: capture, match, forward
//!   cluster           the only caller of the Kubernetes API
//!   cli               what can be typed
//!   config            flag, environment, file, default: one resolved answer
//!   output            the only writer of the command line
//!   contract          what command line, keeper and agent agree on
//!   traffic           rules and filters as values
//!   matching          patterns, jq programs, JSON paths, keys in baggage
//!   session           what labels and annotations say
//!   workload          targets: grammar, kinds, containers
//!   logging           the log of keeper and agents
//!   problem           what, why, hint, exit code
//!   kubernetes_names  names and label values that Kubernetes takes
//!   words             lists, counts and durations in a sentence
//! ```

pub mod agent;
pub mod cli;
pub mod cluster;
pub mod completion;
pub mod config;
pub mod connection;
pub mod contract;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod keeper;
mod kubernetes_names;
mod logging;
pub mod matching;
pub mod output;
pub mod preview;
pub mod problem;
mod run;
pub mod session;
pub mod traffic;
mod words;
pub mod workload;

pub use run::run;
