//! `baggage`: the exact key in the W3C `baggage` header, the default filter.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kind::{Condition, IsOver, Syntax};
use crate::matching::baggage;
use crate::traffic::{Head, Sample};

/// The key that a request must carry; compared exactly, never as a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baggage(String);

// === impl Baggage ===

impl Baggage {
    /// The filter for one key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The value of the `baggage` header that matches: `mirrord-session=pr-12`.
    pub fn member(&self) -> String {
        baggage::member(&self.0)
    }
}

impl Condition for Baggage {
    // The key is a setting of its own, not a filter that users write.
    const SYNTAX: Option<Syntax> = None;

    type Written = String;

    /// Several header lines are one list of members.
    fn matches(&self, head: &Head<'_>, _: &[u8], _: IsOver<'_>) -> bool {
        head.values("baggage").any(|value| baggage::carries(value, &self.0))
    }

    fn sample(&self, sample: &mut Sample) -> Option<()> {
        sample.headers.push(("baggage".to_owned(), self.member()));
        Some(())
    }
}

impl From<String> for Baggage {
    fn from(key: String) -> Self {
        Self(key)
    }
}

impl fmt::Display for Baggage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "requests with `baggage: {}`", self.member())
    }
}
