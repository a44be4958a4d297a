//! Rules and filters as values: a request head in, an answer out.
//!
//! The rules of a session (mode, ports, filter, addresses of its preview pods),
//! the versioned form in which they are sent to agents, and the decision which
//! session a request belongs to. Everything here is a function of its arguments:
//! it opens no socket, reads no clock and never waits.

pub mod canary;
pub mod claim;
pub mod counts;
pub mod filter;
#[cfg(test)]
pub(crate) mod fixture;
pub mod head;
pub mod judge;
pub mod rules;
pub mod sample;

pub use claim::Claim;
pub use counts::Counts;
pub use filter::{Answer, Body, Filter};
pub use head::Head;
pub use judge::{Judgement, Table};
pub use rules::{Mode, Refusal, Rules};
pub use sample::Sample;
