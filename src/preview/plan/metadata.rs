//! The metadata of an environment's objects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::session::{CONTAINER, IMAGE, Identity, REPLICAS};

/// The values that the metadata of every object of an environment holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp<'a> {
    /// Key, target, identifier and time to live.
    pub(crate) identity: &'a Identity,
    /// The target's namespace.
    pub(crate) namespace: &'a str,
    /// The name of the container that gets the image.
    pub(crate) container: &'a str,
    /// The user's image.
    pub(crate) image: &'a str,
    /// How many preview pods.
    pub(crate) replicas: u32,
}

// === impl Stamp ===

impl Stamp<'_> {
    /// The metadata of the object with this name.
    pub(super) fn metadata(&self, name: String) -> ObjectMeta {
        let mut annotations = self.identity.annotations();
        annotations.insert(CONTAINER.to_owned(), self.container.to_owned());
        annotations.insert(IMAGE.to_owned(), self.image.to_owned());
        annotations.insert(REPLICAS.to_owned(), self.replicas.to_string());
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.to_owned()),
            labels: Some(self.identity.labels()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }
    }
}
