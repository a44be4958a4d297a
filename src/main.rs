//! The door: run the command line, hand its exit code to the system.

use std::process::ExitCode;

fn main() -> ExitCode {
    mirrord::run(std::env::args_os())
}
