//! `path`: a pattern over the path, then over path and query.

use serde::{Deserialize, Serialize};

use super::pattern::Pattern;
use crate::traffic::Head;

/// A pattern over the path, so that `^/cart$` matches `/cart?item=1`, and then
/// over path and query, so that `item=1` matches it too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Path(Pattern);

// === impl Path ===

impl Path {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the path of this request matches.
    pub fn matches(&self, head: &Head<'_>) -> bool {
        let (path, whole, mut search) = (head.path(), head.path_and_query(), self.0.search());
        search.is_match(path.as_bytes()) || (whole.len() > path.len() && search.is_match(whole.as_bytes()))
    }
}
