//! How `status`, `stop` and `extend` go on without a source that cannot be used.
//! The warning says which environments are then selected, which may be more than
//! the user intended.

use super::template::Lost;
use super::{Named, Selection};

/// A source that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unused {
    /// The file.
    File,
    /// The file, except the fields that find environments; some of them may be lost.
    RestOfFile(Lost),
    /// The environment's target.
    Target,
    /// The namespace of the environment or the file.
    Namespace,
}

// === impl Selection ===

impl Selection {
    /// How the command goes on without this source; `None` if it must fail.
    pub(super) fn fallback(&self, unused: Unused, named: Named) -> Option<String> {
        let has_key = self.key.given().is_some();
        let is_named = has_key || named == Named::Otherwise;
        let what = match unused {
            Unused::File if is_named => "it is",
            Unused::RestOfFile(lost) if is_named => {
                // A stronger source replaces a lost value.
                match (lost.path && self.target.is_none(), lost.namespace && self.namespace.is_none()) {
                    (false, false) => {
                        return Some("only its key, its target and its connection are used".to_owned());
                    }
                    (true, false) => "its target is",
                    (false, true) => "its namespace is",
                    (true, true) => "its target and namespace are",
                }
            }
            // Without a key, losing the target or namespace would select too much.
            Unused::Target | Unused::Namespace if has_key => "it is",
            _ => return None,
        };
        Some(format!("{what} ignored: {}", self.selected()))
    }

    /// Which environments are selected.
    fn selected(&self) -> String {
        let target = self.target.as_ref();
        let target = target.map_or_else(|| "every target".to_owned(), |target| format!("`{target}`"));
        let key = if self.key.given().is_some() { "with this key" } else { "whose key matches" };
        match &self.namespace {
            Some(namespace) => format!("{target} {key} in namespace `{namespace}` is selected"),
            None => format!("{target} {key} in every namespace is selected"),
        }
    }
}
