//! What becomes of a file or a variable that cannot be used, for those who only
//! look for environments; and what is looked for without it, which may be more
//! than was meant.

use super::template::Lost;
use super::{Named, Selection};

/// What could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unused {
    /// The file.
    File,
    /// The file, but for the fields that find environments, as far as they are not lost.
    RestOfFile(Lost),
    /// The environment's target.
    Target,
    /// The namespace of the environment or the file.
    Namespace,
}

// === impl Selection ===

impl Selection {
    /// What becomes of what cannot be used; nothing where it cannot be done without.
    pub(super) fn fate(&self, unused: Unused, named: Named) -> Option<String> {
        let has_key = self.key.given().is_some();
        let is_named = has_key || named == Named::Otherwise;
        let what = match unused {
            Unused::File if is_named => "it is",
            Unused::RestOfFile(lost) if is_named => {
                // What a stronger source says is not missed.
                match (lost.path && self.target.is_none(), lost.namespace && self.namespace.is_none()) {
                    (false, false) => {
                        return Some(
                            "only its key, its target and how to reach the cluster are used".to_owned(),
                        );
                    }
                    (true, false) => "its target is",
                    (false, true) => "its namespace is",
                    (true, true) => "its target and namespace are",
                }
            }
            // A pattern may mean more than one target's environments.
            Unused::Target | Unused::Namespace if has_key => "it is",
            _ => return None,
        };
        Some(format!("{what} left aside: {}", self.meant()))
    }

    /// Which environments are meant.
    fn meant(&self) -> String {
        let target = self.target.as_ref();
        let target = target.map_or_else(|| "every target".to_owned(), |target| format!("`{target}`"));
        let key = if self.key.given().is_some() { "with this key" } else { "whose key matches" };
        match &self.namespace {
            Some(namespace) => format!("{target} {key} in namespace `{namespace}` is meant"),
            None => format!("{target} {key} in every namespace is meant"),
        }
    }
}
