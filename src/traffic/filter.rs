//! Which requests a session wants: one condition, or a flat list of conditions.
//!
//! Each kind of condition is one file below this module and one line in the
//! table here. Its names in the configuration, its constructor, its judgement,
//! its words for a sentence, its part of the keeper's canary and its wire form
//! stand in that file, beside the value.

pub mod baggage;
pub mod body;
mod header;
mod jq;
mod kind;
mod list;
mod method;
mod path;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Head, Sample};
use kind::{Condition, IsOver, Written};
pub use kind::{FilterKind, Part, Syntax};
pub use list::List;

kind::kinds! {
    /// Requests that carry one key in the W3C `baggage` header: the default.
    "baggage" = Baggage(baggage::Baggage),
    /// Requests with a header line, `name: value`, in which a pattern occurs.
    "header" = Header(header::HeaderLine),
    /// Requests with a path in which a pattern occurs.
    "path" = Path(path::Path),
    /// Requests with one method.
    "method" = Method(method::Method),
    /// Requests with a header line for which a jq program answers `true`.
    "jq" = Jq(jq::HeaderJq),
    /// Requests with a JSON body in which a pattern occurs where a path says.
    "body" = Body(body::JsonBody),
}

/// What is known of a request's body.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// Nothing yet.
    Unread,
    /// All of it.
    Whole(&'a [u8]),
    /// It cannot be had: too long, too slow, or broken.
    Unknown,
}

/// What a filter says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The request does not match.
    No,
    /// The request matches.
    Yes,
    /// The head does not rule the request out; the body decides.
    Body,
}

// === impl Answer ===

impl Answer {
    /// The answer of one condition. A body that cannot be had does not match.
    fn of_condition<C: Condition>(
        condition: &C,
        head: &Head<'_>,
        body: Body<'_>,
        is_over: IsOver<'_>,
    ) -> Self {
        let matches = match body {
            _ if !C::READS_BODY => condition.matches(head, &[], is_over),
            Body::Unread => return Self::Body,
            Body::Whole(bytes) => condition.matches(head, bytes, is_over),
            Body::Unknown => false,
        };
        if matches { Self::Yes } else { Self::No }
    }
}

#[cfg(test)]
mod tests;
