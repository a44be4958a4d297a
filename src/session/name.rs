//! The names of a session's objects.

use uuid::Uuid;

use super::Role;
use crate::kubernetes_names::hash;
use crate::workload::Target;

/// The longest name, in bytes, of an object whose pods append `-xxxxx`. Kubernetes
/// cuts a pod's host name at 63 bytes.
const LONGEST: usize = 63 - "-xxxxx".len();

/// The identifier of a session: eight hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

// === impl SessionId ===

impl SessionId {
    /// Takes its digits from `randomness`.
    pub fn new(randomness: Uuid) -> Self {
        let mut digits = randomness.simple().to_string();
        digits.truncate(8);
        Self(digits)
    }

    /// As read from a label.
    pub(crate) fn from_label(value: &str) -> Self {
        Self(value.to_owned())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the root: the Job.
    pub fn root_name(&self, target: &Target) -> String {
        self.object_name(Role::Keeper, target)
    }

    /// The name of the ReplicaSet, and the prefix of its pods' names.
    pub fn preview_name(&self, target: &Target) -> String {
        self.object_name(Role::Preview, target)
    }

    /// The name of the objects that belong to the pods with this role.
    pub(crate) fn object_name(&self, role: Role, target: &Target) -> String {
        self.name(role.name_prefix(), target)
    }

    fn name(&self, prefix: &str, target: &Target) -> String {
        let kind = target.kind().name;
        let most = LONGEST - prefix.len() - kind.len() - self.0.len() - 3;
        format!("{prefix}-{kind}-{}-{}", shortened(target.name(), most), self.0)
    }
}

/// `name` as a DNS label of at most `most` bytes; a hash keeps shortened names
/// distinct.
fn shortened(name: &str, most: usize) -> String {
    // A workload's name may contain dots, a pod's host name may not.
    let label = name.replace('.', "-");
    if label.len() <= most {
        return label;
    }
    let digits = hash(name, 6);
    let kept = label[..most - digits.len() - 1].trim_end_matches('-');
    format!("{kept}-{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> SessionId {
        SessionId::new(Uuid::from_u128(0x1a2b_3c4d << 96))
    }

    #[test]
    fn names_contain_the_kind_and_the_target() {
        let target: Target = "deployment/shop".parse().unwrap();
        assert_eq!(id().preview_name(&target), "preview-session-deployment-shop-1a2b3c4d");
        assert_eq!(id().root_name(&target), "preview-keeper-deployment-shop-1a2b3c4d");
    }

    #[test]
    fn long_names_stay_distinct_and_pod_names_within_63_bytes() {
        let name = |last: char| {
            let long = format!("{}{last}", "a-very.long".repeat(20));
            let target: Target = format!("deployment/{}", &long).parse().unwrap();
            id().preview_name(&target)
        };
        assert_ne!(name('a'), name('b'));
        assert_eq!(name('a').len(), 57);
        assert!(!name('a').contains('.'));
    }
}
