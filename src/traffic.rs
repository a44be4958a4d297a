//! Rules and filters as values: a request head in, an answer out.
//!
//! What a session asks of the agent (mode, ports, filter, where its preview
//! is), the versioned form in which it travels, and which session a request
//! belongs to. Everything here is a function of its arguments: no sockets, no
//! clock, nothing to await.

pub mod canary;
pub mod counts;
pub mod filter;
pub mod head;
pub mod judge;
pub mod rules;

pub use counts::Counts;
pub use filter::{Answer, Body, Filter};
pub use head::Head;
pub use judge::{Judgement, Table};
pub use rules::{Mode, Refusal, Rules};
