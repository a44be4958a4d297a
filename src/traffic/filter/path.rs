//! `path`: a pattern over the path, then over path and query.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kind::{Condition, IsOver, Syntax};
use crate::matching::{Case, Pattern};
use crate::traffic::{Head, Sample};

/// A pattern over the path, so that `^/cart$` matches `/cart?item=1`, and then
/// over path and query, so that `item=1` matches it too; case is ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Path(Pattern);

// === impl Path ===

impl Condition for Path {
    const SYNTAX: Option<Syntax> = Some(Syntax {
        filter: "path_filter",
        meaning: "A regular expression for the path, or the path with its query.",
        variable: Some("MIRRORD_HTTP_PATH_FILTER"),
        fields: &["path"],
        parts: &[],
    });

    type Written = String;

    fn matches(&self, head: &Head<'_>, _: &[u8], _: IsOver<'_>) -> bool {
        let (path, whole, mut search) = (head.path(), head.path_and_query(), self.0.search());
        search.is_match(path.as_bytes()) || (whole.len() > path.len() && search.is_match(whole.as_bytes()))
    }

    fn overlooks(&self, head: &Head<'_>) -> bool {
        head.has_target_beyond_bounds()
    }

    fn sample(&self, sample: &mut Sample) -> Option<()> {
        let path = self.0.example()?;
        sample.target = if path.starts_with('/') { path } else { format!("/{path}") };
        Some(())
    }
}

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Pattern::compile(&text, Case::Ignored).map(Self)
    }
}

impl From<Path> for String {
    fn from(path: Path) -> Self {
        path.0.as_str().to_owned()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "requests with a path like `{}`", self.0.as_str())
    }
}
