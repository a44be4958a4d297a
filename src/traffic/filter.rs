//! Which requests a session wants: a filter is one condition, or a flat list
//! of them. One file per kind.

pub mod baggage;
pub mod body;
pub mod header;
pub mod jq;
pub mod method;
pub mod path;
pub mod pattern;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Head;
use baggage::Baggage;
use body::JsonBody;
use header::HeaderLine;
use jq::Jq;
use method::Method;
use path::Path;

/// A filter as it travels, and as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Every request: what mirrors without a condition.
    Everything,
    /// The exact key in the W3C `baggage` header: the default.
    Baggage(Baggage),
    /// A pattern over `name: value`, each header line by itself.
    Header(HeaderLine),
    /// A pattern over the path, then over path and query.
    Path(Path),
    /// A jq program over `name: value`, each header line by itself.
    Jq(Jq),
    /// A method, in any case.
    Method(Method),
    /// A pattern over what a JSONPath finds in the body.
    Body(JsonBody),
    /// Every one of these, none of which is a list itself.
    AllOf(List),
    /// At least one of these, none of which is a list itself.
    AnyOf(List),
}

/// The conditions of [`Filter::AllOf`] and [`Filter::AnyOf`]: at least one,
/// since an empty `all_of` would take everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Filter>")]
pub struct List(Vec<Filter>);

/// What is known of a request's body.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// Nothing yet.
    Unread,
    /// All of it.
    Whole(&'a [u8]),
    /// It is not to be had: too long, too slow, or broken.
    Unknown,
}

/// What a filter says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The request is somebody else's.
    No,
    /// The request is wanted.
    Yes,
    /// The head does not rule it out; the body decides.
    Body,
}

// === impl Filter ===

impl Filter {
    /// Judges a request. With the body [`Body::Unread`], the answer may be
    /// [`Answer::Body`]; with anything else it never is.
    pub fn judge(&self, head: &Head<'_>, body: Body<'_>) -> Answer {
        match self {
            Self::Everything => Answer::Yes,
            Self::Baggage(filter) => Answer::of(filter.matches(head)),
            Self::Header(filter) => Answer::of(filter.matches(head)),
            Self::Path(filter) => Answer::of(filter.matches(head)),
            Self::Jq(filter) => Answer::of(filter.matches(head)),
            Self::Method(filter) => Answer::of(filter.matches(head)),
            Self::Body(filter) => match body {
                Body::Unread => Answer::Body,
                Body::Whole(bytes) => Answer::of(filter.matches(bytes)),
                Body::Unknown => Answer::No,
            },
            Self::AllOf(list) => list.weakest(head, body),
            Self::AnyOf(list) => list.strongest(head, body),
        }
    }
}

impl fmt::Display for Filter {
    /// The requests that it wants, for a sentence.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => formatter.write_str("all requests"),
            Self::Baggage(key) => {
                let key = baggage::percent_encoded(key.as_str());
                write!(formatter, "requests with `baggage: {}={key}`", baggage::MEMBER)
            }
            Self::Header(pattern) => write!(formatter, "requests with a header like `{}`", pattern.as_str()),
            Self::Path(pattern) => write!(formatter, "requests with a path like `{}`", pattern.as_str()),
            Self::Jq(program) => {
                write!(formatter, "requests with a header that `{}` wants", program.as_str())
            }
            Self::Method(method) => write!(formatter, "{} requests", String::from(method.clone())),
            Self::Body(_) => formatter.write_str("requests with a matching body"),
            Self::AllOf(list) => write!(formatter, "requests that meet all of {} conditions", list.0.len()),
            Self::AnyOf(list) => write!(formatter, "requests that meet any of {} conditions", list.0.len()),
        }
    }
}

// === impl List ===

impl List {
    /// The conditions, those over a body last.
    pub fn iter(&self) -> impl Iterator<Item = &Filter> {
        self.0.iter()
    }

    /// `No` before `Body` before `Yes`: heads are looked at first, so that a
    /// body is waited for only where everything else matched.
    fn weakest(&self, head: &Head<'_>, body: Body<'_>) -> Answer {
        let mut weakest = Answer::Yes;
        for filter in &self.0 {
            match filter.judge(head, body) {
                Answer::No => return Answer::No,
                Answer::Body => weakest = Answer::Body,
                Answer::Yes => {}
            }
        }
        weakest
    }

    fn strongest(&self, head: &Head<'_>, body: Body<'_>) -> Answer {
        let mut strongest = Answer::No;
        for filter in &self.0 {
            match filter.judge(head, body) {
                Answer::Yes => return Answer::Yes,
                Answer::Body => strongest = Answer::Body,
                Answer::No => {}
            }
        }
        strongest
    }
}

impl TryFrom<Vec<Filter>> for List {
    type Error = &'static str;

    fn try_from(mut filters: Vec<Filter>) -> Result<Self, Self::Error> {
        if filters.is_empty() {
            return Err("a list of conditions needs at least one");
        }
        if filters.iter().any(|filter| matches!(filter, Filter::AllOf(_) | Filter::AnyOf(_))) {
            return Err("`all_of` and `any_of` cannot hold lists themselves");
        }
        // A body is parsed last, whatever the order it was written in.
        filters.sort_by_key(|filter| matches!(filter, Filter::Body(_)));
        Ok(Self(filters))
    }
}

// === impl Answer ===

impl Answer {
    fn of(matches: bool) -> Self {
        if matches { Self::Yes } else { Self::No }
    }
}

#[cfg(test)]
mod tests;
