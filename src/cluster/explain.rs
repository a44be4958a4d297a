//! The cluster's errors in the user's words: what a refusal means here, and
//! what to type next.

use super::Error;
use crate::contract::report::Obstacle;
use crate::problem::{Exit, Problem};

// === impl Error ===

impl Error {
    /// Puts `what` above the error, with the hint and exit code that its kind
    /// deserves, and the server's own words last.
    #[must_use]
    pub fn into_problem(self, what: impl Into<String>) -> Problem {
        let problem = Problem::new(what);
        let problem = match &self {
            Self::Unauthenticated(_) => problem
                .hint("the cluster does not accept your credentials, which may have expired: log in again")
                .exit(Exit::NotAllowed),
            Self::NoCredentials(_) => problem
                .hint("log in again, or check the `users` section of your kubeconfig")
                .exit(Exit::NotAllowed),
            Self::Forbidden { right: Some(right), .. } => {
                let group = if right.group.is_empty() { String::new() } else { format!(".{}", right.group) };
                let place =
                    right.namespace.as_ref().map_or_else(|| "-A".to_owned(), |name| format!("-n {name}"));
                problem
                    .hint(format!(
                        "ask for the right, and check it with `kubectl auth can-i {} {}{group} {place}`",
                        right.verb, right.resource
                    ))
                    .exit(Exit::NotAllowed)
            }
            // The refusal of a quota or another admission check needs no hint.
            Self::Forbidden { right: None, .. } => problem.exit(Exit::NotAllowed),
            Self::NotFound(_) => problem.exit(Exit::NotFound),
            Self::Unreachable(words) if words.contains("certificate") => {
                problem.hint("check the certificate authority of this context in your kubeconfig")
            }
            Self::Unreachable(_) => problem.hint(
                "check that the cluster is up and that this is the right context: `kubectl config current-context`",
            ),
            Self::Conflict(_) | Self::Invalid(_) | Self::Unavailable(_) | Self::Unreadable(_) => problem,
        };
        problem.because(self)
    }

    /// Why no agent can be attached to `pod`.
    pub fn attachment_obstacle(&self, pod: &str) -> Obstacle {
        let words = self.to_string();
        // Pod Security has neither a code nor a reason of its own.
        let hint = if words.contains("violates PodSecurity") {
            "the namespace enforces a Pod Security Standard that refuses the capabilities BPF and NET_ADMIN; an admin can allow \
             them with the label `pod-security.kubernetes.io/enforce=privileged`, or start with `feature.network.incoming` set to `off`"
        } else if self.is_forbidden() {
            "the keeper needs the rights that `mirrord preview rbac` prints"
        } else {
            "run `mirrord preview doctor` to check permissions and admission"
        };
        Obstacle {
            why: format!("no agent can be attached to pod `{pod}`: {words}"),
            hint: Some(hint.to_owned()),
            is_forbidden: self.is_forbidden(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::ErrorReport;

    fn refusal(code: u16, message: &str) -> ErrorReport {
        let status =
            kube::core::Status { code, message: message.to_owned(), ..kube::core::Status::default() };
        let error = Error::from(kube::Error::Api(status.boxed()));
        ErrorReport::of(&error.into_problem("could not create the environment").into())
    }

    #[test]
    fn a_missing_right_is_named_with_the_command_that_asks_for_it() {
        let report = refusal(
            403,
            r#"jobs.batch is forbidden: User "ann" cannot create resource "jobs" in API group "batch" in the namespace "shop""#,
        );
        assert_eq!(report.exit, Exit::NotAllowed);
        assert_eq!(
            report.hint.as_deref(),
            Some("ask for the right, and check it with `kubectl auth can-i create jobs.batch -n shop`")
        );
    }

    #[test]
    fn a_right_missing_everywhere_is_asked_for_everywhere() {
        let report = refusal(
            403,
            r#"pods is forbidden: User "ann" cannot list resource "pods" in API group "" at the cluster scope"#,
        );
        assert_eq!(
            report.hint.as_deref(),
            Some("ask for the right, and check it with `kubectl auth can-i list pods -A`")
        );
    }

    #[test]
    fn the_refusal_of_an_admission_check_has_no_hint() {
        let report = refusal(403, "pods \"x\" is forbidden: exceeded quota: small");
        assert_eq!((report.exit, report.hint), (Exit::NotAllowed, None));
        assert_eq!(report.causes, ["pods \"x\" is forbidden: exceeded quota: small"]);
    }
}
