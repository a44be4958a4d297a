//! The API's answers in the user's words: what a status code means here, and
//! what to type next.

use std::error::Error as _;

use kube::Error;
use kube::client::UpgradeConnectionError;

use crate::contract::report::Obstacle;
use crate::problem::{Exit, Problem};

const LOG_IN: &str = "the cluster does not accept your credentials, which may have expired: log in again";

/// Puts `what` above an error of the API, with the hint and exit code that its
/// kind deserves, and the server's own words last.
pub fn api(error: &Error, what: impl Into<String>) -> Problem {
    let problem = Problem::new(what);
    match error {
        Error::Api(status) => {
            let words = if status.message.is_empty() {
                format!("the API server answered {}", status.code)
            } else {
                status.message.clone()
            };
            let problem = problem.because(Refusal { words, is_judgement: is_judgement(error) });
            match status.code {
                401 => problem.hint(LOG_IN).exit(Exit::NotAllowed),
                403 => forbidden(problem, &status.message),
                404 => problem.exit(Exit::NotFound),
                _ => problem,
            }
        }
        // To log in again is the user's, and asks for a browser perhaps.
        Error::Auth(_) => problem
            .because(Refusal { words: chain(error), is_judgement: true })
            .hint("log in again, or check the `users` section of your kubeconfig")
            .exit(Exit::NotAllowed),
        _ => {
            let words = chain(error);
            let problem = problem.because_of(words.clone());
            if words.contains("certificate") {
                problem.hint("check the certificate authority of this context in your kubeconfig")
            } else {
                problem.hint("check that the cluster is up and that this is the right context: `kubectl config current-context`")
            }
        }
    }
}

/// The server's own words, or those of what kept them from us.
pub fn words(error: &Error) -> String {
    match error {
        Error::Api(status) => status.message.clone(),
        _ => chain(error),
    }
}

/// Why no agent may be put beside a pod's containers.
pub fn attachment(error: &Error, pod: &str) -> Obstacle {
    let words = words(error);
    let why = format!("no agent can be attached to pod `{pod}`: {words}");
    let hint = if words.contains("violates PodSecurity") {
        "the namespace enforces a Pod Security Standard that refuses the capabilities BPF and NET_ADMIN; an admin can allow \
         them with the label `pod-security.kubernetes.io/enforce=privileged`, or start with `feature.network.incoming` set to `off`"
    } else if is_forbidden(error) {
        "the keeper needs the rights that `mirrord preview rbac` prints"
    } else {
        "see what would be in the way with `mirrord preview doctor`"
    };
    Obstacle { why, hint: Some(hint.to_owned()), is_forbidden: is_forbidden(error) }
}

/// Whether an admission refusal is the last word: quotas, limits and standards
/// say "forbidden", webhooks "denied".
pub fn is_final(message: &str) -> bool {
    ["is forbidden", "exceeded quota", "denied the request", "is invalid"]
        .iter()
        .any(|words| message.contains(words))
        // A service account that is still being made is waited for.
        && !message.contains("error looking up service account")
}

/// Whether what a kubelet says of a container may well go well the next time:
/// it tries again. Whole
/// phrases, because the message also holds the image's name, which may be
/// `timeout-service:pr-429`.
pub fn is_passing(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "toomanyrequests:",
        "429 too many requests",
        "500 internal server error",
        "502 bad gateway",
        "503 service unavailable",
        "504 gateway",
        "i/o timeout",
        "handshake timeout",
        "deadline exceeded",
        "connection reset by peer",
        "unexpected eof",
        ": eof",
        "timed out waiting for",
        "failed to sync configmap cache",
        "failed to sync secret cache",
        "failed to reserve container name",
    ]
    .iter()
    .any(|phrase| message.contains(phrase))
}

/// Whether the API refused for want of rights.
pub fn is_forbidden(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 403)
}

/// Whether the API has judged what it was asked for, and would judge the same
/// again: not so a server in trouble, a webhook that did not answer, or a
/// connection that broke.
pub fn is_judgement(error: &Error) -> bool {
    matches!(error, Error::Api(status) if (400..500).contains(&status.code) && !matches!(status.code, 408 | 409 | 429))
}

/// Whether the API refused for want of rights or of credentials.
pub fn is_refused(error: &Error) -> bool {
    match error {
        Error::Api(status) => matches!(status.code, 401 | 403),
        Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) => {
            matches!(status.as_u16(), 401 | 403)
        }
        _ => false,
    }
}

/// Whether to ask again is of no use: see [`is_judgement`].
pub fn is_judged(error: &anyhow::Error) -> bool {
    let refusal = error.chain().find_map(|cause| cause.downcast_ref::<Refusal>());
    refusal.is_some_and(|refusal| refusal.is_judgement)
}

/// The words of whoever did not do it: the API server, or what would log in to it.
#[derive(Debug)]
struct Refusal {
    words: String,
    is_judgement: bool,
}

// === impl Refusal ===

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.words)
    }
}

impl std::error::Error for Refusal {}

/// Whether the object has changed since it was read.
pub fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 409)
}

/// Whether there is no such object.
pub fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}

/// The server names the verb and the resource: `User "x" cannot create resource
/// "jobs" in API group "batch" in the namespace "shop"`. They make the command
/// that asks for the right. Other refusals (quota, admission) speak for themselves.
fn forbidden(problem: Problem, message: &str) -> Problem {
    let quoted = |after: &str| Some(message.split_once(after)?.1.split_once('"')?.0.to_owned());
    let verb = message
        .split_once(" cannot ")
        .and_then(|(_, rest)| rest.split_once(' '))
        .map(|(verb, _)| verb.to_owned());
    let problem = problem.exit(Exit::NotAllowed);
    match (verb, quoted("resource \"")) {
        (Some(verb), Some(resource)) => {
            let group =
                quoted("API group \"").filter(|group| !group.is_empty()).map(|group| format!(".{group}"));
            let place =
                quoted("namespace \"").map_or_else(|| "-A".to_owned(), |namespace| format!("-n {namespace}"));
            problem.hint(format!(
                "ask for the right, and check it with `kubectl auth can-i {verb} {resource}{} {place}`",
                group.unwrap_or_default()
            ))
        }
        _ => problem,
    }
}

/// The innermost causes are the ones that say what happened.
fn chain(error: &Error) -> String {
    let mut words = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        words.push(cause.to_string());
        source = cause.source();
    }
    words.dedup();
    // Each layer repeats the next one's text behind its own.
    let last = words.last().cloned().unwrap_or_default();
    match words.iter().rev().nth(1) {
        Some(above) if !above.contains(&last) && words.len() > 2 => format!("{above}: {last}"),
        _ => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Report;

    fn refusal(code: u16, message: &str) -> Report {
        let status =
            kube::core::Status { code, message: message.to_owned(), ..kube::core::Status::default() };
        Report::of(&api(&Error::Api(status.boxed()), "could not create the environment").into())
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
    fn an_admission_refusal_speaks_for_itself() {
        let report = refusal(403, "pods \"x\" is forbidden: exceeded quota: small");
        assert_eq!((report.exit, report.hint), (Exit::NotAllowed, None));
    }
}
