//! `query`: a pattern over what follows the `?`.

use serde::{Deserialize, Serialize};

use super::pattern::Pattern;
use crate::traffic::Head;

/// A pattern over the query as sent, percent signs included. A request without
/// a query has none that could match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Query(Pattern);

// === impl Query ===

impl Query {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the query of this request matches.
    pub fn matches(&self, head: &Head<'_>) -> bool {
        let query = head.query();
        !query.is_empty() && self.0.is_match(query.as_bytes())
    }
}
