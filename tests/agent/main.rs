//! The agent in network namespaces of its own: a pod with an application, a
//! client outside, a preview. Real sockets, a real kernel, no cluster.
//!
//! These need root, and are ignored without being asked for:
//! `cargo test --test agent -- --include-ignored`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Figures that whoever reads the run wants to see.
macro_rules! report {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

mod canary;
mod capture;
mod conformance;
mod control;
mod data_before_close;
mod endings;
mod held;
mod http1;
mod http2;
mod incidents;

mod mirror;
mod preview;
mod reset;
mod support;
mod tunnel;
mod upload;
mod verbatim;
mod websocket;
