//! The kinds of objects that a session may own beside its pods.

use kube::core::{ApiResource, GroupVersionKind};

/// A kind of object that the garbage collector removes after a session's root.
#[derive(Clone, Copy, Debug)]
pub struct Leftover {
    /// The API group, empty for the core group.
    pub group: &'static str,
    /// The kind as objects spell it.
    pub kind: &'static str,
    /// The resource in paths and roles.
    pub plural: &'static str,
    /// The object in a sentence: `the ConfigMap`.
    pub what: &'static str,
}

// === impl Leftover ===

impl Leftover {
    /// A kind of version `v1`.
    pub const fn new(
        group: &'static str,
        kind: &'static str,
        plural: &'static str,
        what: &'static str,
    ) -> Self {
        Self { group, kind, plural, what }
    }

    /// Where the API server keeps its objects.
    pub(super) fn types(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, "v1", self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }
}
