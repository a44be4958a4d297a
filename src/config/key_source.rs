//! The key of an environment, and whether the user chose it.

use crate::session::Key;

/// Where a key comes from: `stop` and `status` do not use a generated one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The user gave it.
    Given(Key),
    /// No source gave one.
    Generated(Key),
}

// === impl KeySource ===

impl KeySource {
    /// The key.
    pub fn key(&self) -> &Key {
        let (Self::Given(key) | Self::Generated(key)) = self;
        key
    }

    /// The key, if the user gave it.
    pub fn given(&self) -> Option<&Key> {
        match self {
            Self::Given(key) => Some(key),
            Self::Generated(_) => None,
        }
    }
}
