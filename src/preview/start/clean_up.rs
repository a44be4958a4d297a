//! Removes what a failed start has created.

use anyhow::Error;

use crate::cluster::{Cluster, persist};
use crate::output::Reporter;
use crate::preview::Interrupts;
use crate::preview::stop::{self, Ending};
use crate::problem::{Explain as _, Problem};

/// How far a removal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// Nothing is left.
    Complete,
    /// Something may be left, and ends without being watched.
    Unfinished,
}

/// Removes a half-made environment. If that fails, or is interrupted, Kubernetes
/// removes it at the root's deadline.
pub(super) async fn half_made(
    cluster: &Cluster,
    ending: &Ending,
    interrupts: &mut Interrupts,
    reporter: &Reporter,
) -> Removal {
    let Ending { namespace, root, .. } = ending;
    let step = reporter.step("removing what was created");
    let removal = async {
        persist(async || cluster.delete(namespace, root).await).await.explain(|| {
            Problem::new(format!(
                "`{root}` in namespace `{namespace}` could not be removed; Kubernetes removes it at its deadline"
            ))
        })?;
        stop::until_gone(cluster, ending, |_| {}).await.explain(|| {
            Problem::new(format!("could not watch the pods of `{root}` in namespace `{namespace}` end"))
        })
    };
    let outcome = tokio::select! {
        outcome = removal => outcome,
        () = interrupts.next() => Err(Error::msg(format!(
            "interrupted again: not waiting for `{root}` in namespace `{namespace}` to be gone"
        ))),
    };
    match outcome {
        Ok(()) => {
            step.done("everything that was created is removed");
            Removal::Complete
        }
        Err(error) => {
            reporter.warning(&format!("{error:#}"));
            Removal::Unfinished
        }
    }
}
