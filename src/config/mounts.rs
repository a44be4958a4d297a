//! `feature.preview.config_mounts` and `secret_mounts`: single files that are
//! mounted into the preview's container.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{input, wrong};
use crate::problem::Explain as _;

/// Kubernetes' limit for the data of a ConfigMap or a Secret, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// A file as written in the configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountSection {
    mount_at: String,
    #[serde(rename = "type")]
    kind: Option<MountType>,
    payload: Option<String>,
    from_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MountType {
    Text,
    Binary,
}

/// A file and its place.
#[derive(Clone, PartialEq, Eq)]
pub struct Mount {
    /// The absolute path in the container.
    pub path: String,
    /// The file's content.
    pub content: Vec<u8>,
}

// === impl Mount ===

/// Contents may be secrets.
impl std::fmt::Debug for Mount {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Mount({}, {} bytes)", self.path, self.content.len())
    }
}

// === impl MountSection ===

impl MountSection {
    fn read(self, place: &str) -> Result<Mount> {
        // `//etc/a` and `/etc/a` are one file to the container.
        let mut path = self.mount_at;
        while path.contains("//") {
            path = path.replace("//", "/");
        }
        let components = path.split('/').skip(1);
        if !path.starts_with('/')
            || path.ends_with('/')
            || components.clone().any(|part| part == ".." || part == ".")
        {
            return Err(wrong(format!(
                "`{place}.mount_at` is `{path}`, which is not the absolute path of a file"
            ))
            .into());
        }
        if path.contains(':') {
            return Err(wrong(format!(
                "`{place}.mount_at` is `{path}`, but Kubernetes does not allow `:` in a mount's path"
            ))
            .into());
        }
        let content = match (self.kind, self.payload, self.from_file) {
            (None, None, Some(file)) => input::read(&file, MAX_BYTES)
                .explain(|| wrong(format!("`{place}.from_file`: could not read `{}`", file.display())))?,
            (Some(MountType::Text), Some(text), None) => text.into_bytes(),
            (Some(MountType::Binary), Some(text), None) => {
                STANDARD.decode(text.trim()).explain(|| wrong(format!("`{place}.payload` is not base64")))?
            }
            _ => {
                return Err(wrong(format!(
                    "`{place}` needs either `type` and `payload`, or `from_file` alone"
                ))
                .into());
            }
        };
        Ok(Mount { path, content })
    }
}

/// Reads the files of one list and checks their size.
pub(super) fn read(sections: Vec<MountSection>, field: &str) -> Result<Vec<Mount>> {
    let mounts = sections.into_iter().enumerate();
    let mounts = mounts
        .map(|(index, section)| section.read(&format!("{field}[{index}]")))
        .collect::<Result<Vec<_>>>()?;
    let size: usize = mounts.iter().map(|mount| mount.content.len()).sum();
    if size > MAX_BYTES {
        return Err(
            wrong(format!("`{field}` holds {size} bytes, but Kubernetes allows {MAX_BYTES} in all")).into()
        );
    }
    Ok(mounts)
}

/// Refuses two files at one path.
pub(super) fn distinct<'a>(mounts: impl Iterator<Item = &'a Mount>) -> Result<()> {
    let mut paths = BTreeSet::new();
    for mount in mounts {
        if !paths.insert(&mount.path) {
            return Err(wrong(format!("two files are mounted at `{}`", mount.path)).into());
        }
    }
    Ok(())
}
