//! Checks whether the target can be read.

use super::{Check, Findings, in_a_line};
use crate::cluster;
use crate::preview::preflight::inspection::{Inspection, inspect};

/// What is known of the target.
pub(super) enum TargetFinding {
    /// It was read.
    Read(Box<Inspection>),
    /// The configuration names none.
    NotNamed,
    /// The user may not read it.
    Forbidden,
    /// It could not be read for another reason; it may not exist.
    Unreadable,
}

// === impl TargetFinding ===

impl TargetFinding {
    /// The inspection, if it was read.
    pub(super) fn inspection(&self) -> Option<&Inspection> {
        match self {
            Self::Read(inspection) => Some(inspection),
            Self::NotNamed | Self::Forbidden | Self::Unreadable => None,
        }
    }
}

// === impl Check ===

impl Check<'_> {
    /// Reads the target as `start` does.
    pub(super) async fn target(&self, findings: &mut Findings) -> TargetFinding {
        let Some(target) = self.config.selection.target.clone() else {
            self.reporter.warning("no target is named, so none was checked: pass `-t <kind>/<name>`");
            return TargetFinding::NotNamed;
        };
        let step = self.reporter.step("reading the target");
        let path = target.path();
        match inspect(self.cluster, self.config, target, self.namespace, self.reporter).await {
            Ok(inspection) => {
                step.done(&format!("{path}: container `{}` gets the image", inspection.container.name));
                TargetFinding::Read(Box::new(inspection))
            }
            Err(error) => {
                findings.error(&error);
                step.failed(&in_a_line(&error));
                match cluster::Error::among(&error) {
                    Some(error) if error.is_refused() => TargetFinding::Forbidden,
                    _ => TargetFinding::Unreadable,
                }
            }
        }
    }
}
