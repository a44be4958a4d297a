//! Doors into private rooms, for `tests/fuzz` alone: compiled only there.

pub use crate::agent::fuzzing::{chunks, request, response};
pub use crate::config::fuzzing::configuration;
