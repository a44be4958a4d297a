//! What the command line, the keeper and the agents must agree on, across
//! versions: values and their wire forms, and nothing that acts on them.
//!
//! The command line writes an [`assignment`] into the keeper's pod; the keeper
//! attaches the [`agent_container`], talks to the agent in it by [`control`]
//! messages, and writes a [`report`] on the root, which the command line reads.
//! The rules that travel in control messages are [`crate::traffic::Rules`].

pub mod agent_container;
pub mod assignment;
pub mod control;
pub mod report;

pub use assignment::Assignment;
pub use report::Report;
