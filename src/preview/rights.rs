//! Which rights the keeper and the users need, and why. The features contribute
//! them: [`super::features`].

mod manifest;
mod needed;

use std::borrow::Cow;

use serde_json::{Value, json};

pub(crate) use manifest::{Document, text};
pub(crate) use needed::{Facts, keeper, needed, useful, user};

use crate::cluster::Access;

/// One right, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) verbs: Cow<'static, [&'static str]>,
    pub(crate) extent: RightExtent,
    pub(crate) reason: Cow<'static, str>,
}

/// How much of the namespace a right covers, and what depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RightExtent {
    /// `start`, or the keeper, fails without it.
    Needed,
    /// The same, but only for the environment's root, if the root's name is known.
    RootAlone,
    /// A check or a warning is skipped without it.
    Useful,
}

use RightExtent::{Needed, RootAlone};

pub(crate) const fn right(
    extent: RightExtent,
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    reason: &'static str,
) -> Right {
    Right { group, resource, verbs: Cow::Borrowed(verbs), extent, reason: Cow::Borrowed(reason) }
}

/// The rights of a user who gives the keeper a ServiceAccount of its own. The user
/// also needs the keeper's rights: nobody may grant rights that they do not have.
pub(crate) const GRANTING: &[Right] = &[
    right(Needed, "", "serviceaccounts", &["create"], "the keeper's ServiceAccount"),
    right(Needed, "rbac.authorization.k8s.io", "roles", &["create"], "the keeper's Role"),
    right(Needed, "rbac.authorization.k8s.io", "rolebindings", &["create"], "the keeper's RoleBinding"),
];

/// One question for each verb of these rights.
pub(crate) fn questions(rights: &[Right]) -> Vec<Access> {
    let of = |right: &Right| {
        let (group, resource) = (right.group, right.resource);
        right.verbs.iter().map(|verb| Access { group, resource, verb }).collect::<Vec<_>>()
    };
    rights.iter().flat_map(of).collect()
}

/// The part of these rights that was refused, down to the verb.
pub(crate) fn missing(rights: &[Right], refused: &[Access]) -> Vec<Right> {
    let refused_part = |right: &Right| {
        let verbs = right.verbs.iter().copied().filter(|verb| {
            refused.iter().any(|access| {
                (access.group, access.resource, access.verb) == (right.group, right.resource, *verb)
            })
        });
        let verbs: Vec<_> = verbs.collect();
        (!verbs.is_empty()).then(|| Right { verbs: Cow::Owned(verbs), ..right.clone() })
    };
    rights.iter().filter_map(refused_part).collect()
}

/// Rights in a sentence: `jobs` (create, get), `pods` (list).
pub(crate) fn named(rights: &[Right]) -> String {
    let of = |right: &Right| format!("`{}` ({})", right.resource, right.verbs.join(", "));
    rights.iter().map(of).collect::<Vec<_>>().join(", ")
}

// === impl Right ===

impl Right {
    /// Whether one rule of a Role can hold both.
    fn is_for_the_same(&self, other: &Self) -> bool {
        let extent = |right: &Self| (right.group, right.resource, right.extent == RootAlone);
        extent(self) == extent(other)
    }

    /// The rule of a Role; `root` is the name of the only Job that a right of
    /// [`RootAlone`] covers.
    pub(crate) fn rule(&self, root: Option<&str>) -> Value {
        let mut rule = json!({"apiGroups": [self.group], "resources": [self.resource], "verbs": self.verbs});
        if let Some(root) = root.filter(|_| self.extent == RootAlone) {
            rule["resourceNames"] = json!([root]);
        }
        rule
    }

    /// The rule as a line of YAML, below the reason for it.
    fn lines(&self) -> String {
        let verbs = self.verbs.join(", ");
        let group = if self.group.is_empty() { "\"\"" } else { self.group };
        format!(
            "  # {}\n  - {{apiGroups: [{group}], resources: [{}], verbs: [{verbs}]}}\n",
            self.reason, self.resource
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_refused_verbs_of_a_right_are_missing() {
        let jobs = right(Needed, "batch", "jobs", &["create", "get", "delete"], "roots");
        let pods = right(Needed, "", "pods", &["list", "watch"], "pods");
        let rights = [jobs, pods];
        assert_eq!(questions(&rights).len(), 5);
        let refused = [
            Access { group: "batch", resource: "jobs", verb: "delete" },
            Access { group: "other", resource: "pods", verb: "list" },
        ];
        let refused = missing(&rights, &refused);
        assert_eq!(named(&refused), "`jobs` (delete)");
        assert_eq!(
            refused[0].lines(),
            "  # roots\n  - {apiGroups: [batch], resources: [jobs], verbs: [delete]}\n"
        );
        assert_eq!(missing(&rights, &[]), []);
    }
}
