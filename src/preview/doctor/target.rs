//! Checks whether the target can be read.

use super::{Check, Findings, in_a_line};
use crate::cluster;
use crate::preview::plan::Request;
use crate::preview::preflight::inspection;

/// What is known of the target.
pub(super) enum Target {
    /// It was read, and `start` would plan this.
    Read(Box<Request>),
    /// The configuration names none.
    NotNamed,
    /// The user may not read it.
    Forbidden,
    /// It could not be read for another reason; it may not exist.
    Unreadable,
}

// === impl Target ===

impl Target {
    /// What `start` would plan.
    pub(super) fn request(&self) -> Option<&Request> {
        match self {
            Self::Read(request) => Some(request),
            Self::NotNamed | Self::Forbidden | Self::Unreadable => None,
        }
    }
}

// === impl Check ===

impl Check<'_> {
    /// Reads the target as `start` does.
    pub(super) async fn target(&self, findings: &mut Findings) -> Target {
        let Some(target) = self.config.selection.target.clone() else {
            self.reporter.warning("no target is named, so none was checked: pass `-t <kind>/<name>`");
            return Target::NotNamed;
        };
        let step = self.reporter.step("reading the target");
        let (path, image) = (target.path(), self.config.image.clone());
        let request = inspection::without_image(
            self.cluster,
            self.config,
            target,
            image,
            self.namespace,
            self.reporter,
        );
        match request.await {
            Ok(request) => {
                step.done(&format!("{path}: container `{}` gets the image", request.container.name));
                Target::Read(Box::new(request))
            }
            Err(error) => {
                findings.error(&error);
                step.failed(&in_a_line(&error));
                match cluster::Error::among(&error) {
                    Some(error) if error.is_refused() => Target::Forbidden,
                    _ => Target::Unreadable,
                }
            }
        }
    }
}
