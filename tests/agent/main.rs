//! The agent in network namespaces: a pod with an application, a client outside, a
//! preview. Real sockets and a real kernel, without a cluster.
//!
//! The tests need root, and are ignored by default:
//! `cargo test --test agent -- --include-ignored`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Prints figures for the reader of the run.
macro_rules! report {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

mod application_closes;
mod canary;
mod capture;
mod conformance;
mod control;
mod data_before_close;
mod endings;
mod filters;
mod held;
mod http1;
mod http2;
mod http2_limits;
mod incidents;
mod mirror;
mod one_worker;
mod preview;
mod reset;
mod support;
mod tunnel;
mod upload;
mod verbatim;
mod websocket;
