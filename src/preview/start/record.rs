//! Keeps the reason of a start that failed because of the preview pod, for
//! `status --failed`. Log lines are not kept: they may hold secrets, and the right to
//! read Jobs is wider than the right to read logs.
//!
//! The root is created again once all objects are gone, so that users need the
//! right to delete roots only.

use anyhow::Error;

use super::super::plan::Plan;
use crate::cluster::{Cluster, Scope};
use crate::problem::{ErrorReport, Exit, Problem, stored_causes};
use crate::session::{KEY, Session};

/// Keeps the reason where the preview pod failed, and returns the error with a hint
/// that says so. Failures to keep it are ignored: the command prints the reason.
pub(super) async fn keep(cluster: &Cluster, plan: &Plan, error: Error) -> Error {
    let report = ErrorReport::of(&error);
    if report.exit != Exit::PreviewFailed {
        return error;
    }
    let Ok(root) = cluster.create_root(&plan.record(&stored_causes(&error).join("\n"))).await else {
        return error;
    };
    let Some(session) = Session::of(&root) else { return error };
    forget(cluster, &session).await;
    let again = format!(
        "`mirrord preview status --failed -n {}` shows the reason again for 15 minutes",
        session.namespace
    );
    match error.downcast::<Problem>() {
        Ok(problem) => {
            let hint = report.hint.map_or_else(|| again.clone(), |hint| format!("{hint}\n{again}"));
            problem.hint(hint).into()
        }
        Err(error) => error,
    }
}

/// Removes the records of earlier failures of the same key on the same target.
async fn forget(cluster: &Cluster, session: &Session) {
    let scope = Scope::Namespace(session.namespace.clone());
    let Ok(found) = cluster.sessions(&scope, &[(KEY, session.key.label_value())]).await else { return };
    for old in found.sessions.iter().filter(|old| old.failed.is_some() && session.replaces(old)) {
        // Its deadline removes it otherwise.
        let _ = cluster.delete(&old.namespace, &old.root).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::fake::{Answer, FakeApi};
    use crate::preview::features::Failed;
    use crate::preview::plan::tests::request;
    use crate::preview::progress::{Crash, PodState, pod_state};
    use crate::preview::start::wait::with_log;
    use crate::session::FAILED;

    const SECRET: &str = "postgres://app:hunter2@db/shop refused";

    /// With `terminationMessagePolicy: FallbackToLogsOnError`, Kubernetes copies the end
    /// of the log into the container's message.
    #[tokio::test]
    async fn the_output_of_a_crashed_container_is_shown_and_not_stored() {
        let pod = json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [{
            "name": "web", "image": "shop:1", "imageID": "", "ready": false, "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "message": SECRET}},
        }]}});
        let PodState::Failed(failure) = pod_state(&serde_json::from_value(pod).unwrap()) else { panic!() };
        assert!(failure.why.contains(SECRET));
        let Some(Crash { brief, .. }) = failure.crash.clone() else { panic!() };
        let api = FakeApi::by(|asked| {
            Some(match asked.method.as_str() {
                "POST" => Answer::of(asked.body.clone()),
                _ if asked.path.ends_with("/log") => Answer::of(json!(SECRET)),
                _ => Answer::of(json!({"metadata": {}, "items": []})),
            })
        });
        let problem = Problem::new("the preview pod failed").exit(Exit::PreviewFailed);
        let failed = Failed { problem, crash: failure.crash };
        let shown = with_log(&api.cluster(), "staging", failure.why, failed).await;
        let plan = Plan::of(&request(&json!({"spec": {"containers": [{"name": "web", "image": "shop:1"}]}})));
        let error = keep(&api.cluster(), &plan, shown.into()).await;
        let report = ErrorReport::of(&error).to_string();
        assert_eq!(report.matches(SECRET).count(), 2, "{report}");
        let asked = api.asked();
        assert!(asked.iter().all(|asked| !asked.body.to_string().contains("hunter2")), "{asked:?}");
        let created = asked.iter().find(|asked| asked.method == "POST").unwrap();
        assert_eq!(created.body["metadata"]["annotations"][FAILED], brief);
        assert_eq!(brief, "container `web` crashes: it ended with exit code 3");
    }
}
