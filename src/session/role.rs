//! What a pod of an environment is for.

use std::fmt;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use serde_json::{Value, json};

use super::SESSION;

/// The label of every pod of an environment with its [`Role`].
pub const ROLE: &str = "preview.mirrord.io/role";

/// What a pod of an environment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It runs the user's image.
    Preview,
    /// It attaches agents and gives them their rules.
    Keeper,
    /// It serves a database branch.
    Branch,
    /// It splits queues.
    Splitter,
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

// === impl Role ===

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Preview, Self::Keeper, Self::Branch, Self::Splitter];

    /// The value of [`ROLE`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preview => "preview",
            Self::Keeper => "keeper",
            Self::Branch => "branch",
            Self::Splitter => "splitter",
        }
    }

    /// The beginning of the names of such pods, and of the objects that make them.
    pub fn name_prefix(self) -> &'static str {
        match self {
            Self::Preview => "preview-session",
            Self::Keeper => "preview-keeper",
            Self::Branch => "preview-branch",
            Self::Splitter => "preview-splitter",
        }
    }

    /// The role of an environment's pod; nothing for a role of a later version.
    /// Versions without the label gave one to keepers alone, so that a pod
    /// without it is a preview pod.
    pub fn of(pod: &ObjectMeta) -> Option<Self> {
        match pod.labels.as_ref().and_then(|labels| labels.get(ROLE)) {
            None => Some(Self::Preview),
            Some(value) => Self::ALL.into_iter().find(|role| role.as_str() == value),
        }
    }

    /// The role of the environment's pod with this name, where it follows from it.
    pub(crate) fn of_name(pod: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|role| pod.strip_prefix(role.name_prefix()).is_some_and(|rest| rest.starts_with('-')))
    }

    /// The `LabelSelector` for a session's pods with this role.
    pub(crate) fn selector(self, session: &str) -> Value {
        json!({"matchLabels": {SESSION: session, ROLE: self.as_str()}})
    }

    /// A label selector for a session's preview pods, those without the label
    /// too. It also selects roles of later versions: [`Role::of`] has the last word.
    pub(crate) fn preview_pods(session: &str) -> String {
        let others = Self::ALL.into_iter().filter(|role| *role != Self::Preview).map(Self::as_str);
        format!("{SESSION}={session},{ROLE} notin ({})", others.collect::<Vec<_>>().join(","))
    }
}

/// Whether an object of an environment is the one that makes its preview pods:
/// only pods have a label with a role.
pub(crate) fn makes_preview_pods(object: &impl Metadata<Ty = ObjectMeta>) -> bool {
    object.metadata().name.as_deref().and_then(Role::of_name) == Some(Role::Preview)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(role: Option<&str>) -> ObjectMeta {
        let labels = role.map(|role| [(ROLE.to_owned(), role.to_owned())].into());
        ObjectMeta { labels, ..ObjectMeta::default() }
    }

    #[test]
    fn a_pod_without_a_role_is_a_preview_pod_and_an_unknown_role_is_not() {
        assert_eq!(Role::of(&pod(None)), Some(Role::Preview));
        assert_eq!(Role::of(&ObjectMeta::default()), Some(Role::Preview));
        for role in Role::ALL {
            assert_eq!(Role::of(&pod(Some(role.as_str()))), Some(role));
        }
        assert_eq!(Role::of(&pod(Some("later"))), None);
    }

    #[test]
    fn a_role_follows_from_the_name_of_a_pod() {
        for role in Role::ALL {
            assert_eq!(Role::of_name(&format!("{}-x-1a2b3c4d-abcde", role.name_prefix())), Some(role));
        }
        assert_eq!(Role::of_name("preview-sessions-x"), None);
        assert_eq!(Role::of_name("shop-x"), None);
    }

    #[test]
    fn the_selector_for_preview_pods_leaves_every_other_role_out() {
        assert_eq!(
            Role::preview_pods("1a2b3c4d"),
            "preview.mirrord.io/session=1a2b3c4d,preview.mirrord.io/role notin (keeper,branch,splitter)"
        );
    }
}
