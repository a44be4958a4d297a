//! Files of the configuration, mounted into the preview's container one by one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Request, template};
use crate::config::mounts::Mount;

/// The two sorts of files, each with its field of the configuration, its volume and
/// the kind of its object.
#[derive(Clone, Copy)]
pub(super) enum Sort {
    Config,
    Secret,
}

// === impl Sort ===

impl Sort {
    pub(super) const ALL: [Self; 2] = [Self::Config, Self::Secret];

    pub(super) fn mounts(self, request: &Request) -> &[Mount] {
        match self {
            Self::Config => &request.config_mounts,
            Self::Secret => &request.secret_mounts,
        }
    }

    fn volume_name(self) -> &'static str {
        match self {
            Self::Config => "mirrord-config-mounts",
            Self::Secret => "mirrord-secret-mounts",
        }
    }

    /// The volume that holds the files.
    fn volume(self, object: &str) -> Value {
        let name = self.volume_name();
        match self {
            Self::Config => json!({"name": name, "configMap": {"name": object}}),
            Self::Secret => json!({"name": name, "secret": {"secretName": object}}),
        }
    }

    /// The object that holds the files.
    pub(super) fn object(self, request: &Request, metadata: &Value) -> Value {
        let content: Map<String, Value> = self
            .mounts(request)
            .iter()
            .enumerate()
            .map(|(index, mount)| (key(index), STANDARD.encode(&mount.content).into()))
            .collect();
        match self {
            Self::Config => json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": true, "binaryData": content,
            }),
            Self::Secret => json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "immutable": true, "type": "Opaque", "data": content,
            }),
        }
    }
}

fn key(index: usize) -> String {
    format!("file-{index}")
}

/// Mounts each file by itself, so that its siblings in the image stay.
pub(super) fn mount(
    spec: &mut Map<String, Value>,
    request: &Request,
    object: &str,
    warnings: &mut Vec<String>,
) {
    for sort in Sort::ALL {
        let mounts = sort.mounts(request);
        if mounts.is_empty() {
            continue;
        }
        push(spec, "volumes", sort.volume(object));
        let container = template::chosen_container(spec, request);
        for (index, mount) in mounts.iter().enumerate() {
            if let Some(old) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                let before = old.len();
                old.retain(|old| old.get("mountPath").and_then(Value::as_str) != Some(&mount.path));
                if old.len() < before {
                    warnings.push(format!("`{}` replaces the target's mount at this path", mount.path));
                }
            }
            let mount = json!({
                "name": sort.volume_name(), "mountPath": mount.path, "subPath": key(index), "readOnly": true,
            });
            push(container, "volumeMounts", mount);
        }
    }
}

/// Adds to a list that may not be there yet.
pub(super) fn push(object: &mut Map<String, Value>, list: &str, value: Value) {
    let list = object.entry(list).or_insert_with(|| json!([]));
    match list.as_array_mut() {
        Some(list) => list.push(value),
        None => *list = json!([value]),
    }
}
