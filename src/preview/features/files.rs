//! Files of the configuration that the preview pods mount.

use super::Feature;
use crate::cluster::Leftover;
use crate::preview::rights::RightExtent::Needed;
use crate::preview::rights::right;

/// `feature.preview.config_mounts`: a ConfigMap.
pub(super) static CONFIG_MOUNTS: Feature = Feature {
    is_wanted: |config, _| !config.config_mounts.is_empty(),
    gone: &[Leftover::new("", "ConfigMap", "configmaps", "the ConfigMap")],
    user: &[right(Needed, "", "configmaps", &["create"], "the files of `feature.preview.config_mounts`")],
    ..Feature::EMPTY
};

/// `feature.preview.secret_mounts`: a Secret.
pub(super) static SECRET_MOUNTS: Feature = Feature {
    is_wanted: |config, _| !config.secret_mounts.is_empty(),
    gone: &[Leftover::new("", "Secret", "secrets", "the Secret")],
    user: &[right(
        Needed,
        "",
        "secrets",
        &["create"],
        "the files of `feature.preview.secret_mounts`; mirrord reads no Secret",
    )],
    ..Feature::EMPTY
};
