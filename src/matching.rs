//! What texts and values are compared with: regular expressions, jq programs,
//! JSON paths, and the key in a `baggage` header.
//!
//! Each is compiled from a user's text and then asked about one line or one
//! value. Nothing here knows of HTTP requests, so that a filter of messages in a
//! queue is built on the same parts. Nothing here waits, reads a clock or keeps
//! a state between two questions, and every question ends after a bounded
//! number of steps.

pub mod baggage;
mod bounded;
mod example;
pub mod jq;
pub mod json_path;
pub mod pattern;
pub mod text;

pub use jq::Program;
pub use json_path::Path as JsonPath;
pub use pattern::{Case, Pattern, Search};
