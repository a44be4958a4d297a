//! `mirrord` previews: preview environments in any Kubernetes namespace, with
//! nothing installed first and nothing left behind.
//!
//! One binary. The rooms, and the arrows between them, from words to doors:
//!
//! ```text
//!   problem   what, why, hint, exit code          (a word everybody uses)
//! ```
#![cfg_attr(
    test,
    expect(clippy::unwrap_used, reason = "a test fails by panicking")
)]

pub mod problem;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line `arguments`, program name first.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    drop(arguments);
    ExitCode::SUCCESS
}
