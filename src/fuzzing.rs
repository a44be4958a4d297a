//! Access to private parsers for `tests/fuzz`; compiled only there.

pub use crate::agent::fuzzing::{chunks, request, response};
pub use crate::config::fuzzing::configuration;
