//! Why the cluster did not do what it was asked for, by kind. The kind decides
//! how a caller goes on; `explain` makes words for people from it.

use std::error::Error as _;

use kube::client::UpgradeConnectionError;
use kube::core::Status;

/// An answer of the API server that is a refusal, or the lack of an answer. It
/// displays as the server's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such object, or no such kind of object.
    #[error("{0}")]
    NotFound(String),
    /// The user may not do this, or an admission check refuses it.
    #[error("{words}")]
    Forbidden {
        /// The server's words.
        words: String,
        /// The right that the user lacks; `None` where an admission check refuses.
        right: Option<Box<MissingRight>>,
    },
    /// The API server does not accept the credentials.
    #[error("{0}")]
    Unauthenticated(String),
    /// There are no credentials to show: the kubeconfig's way to log in failed.
    #[error("{0}")]
    NoCredentials(String),
    /// The object has changed since it was read, or its name is taken.
    #[error("{0}")]
    Conflict(String),
    /// The request itself is refused, and would be refused again.
    #[error("{0}")]
    Invalid(String),
    /// The server cannot answer now: it is too busy, or in trouble.
    #[error("{0}")]
    Unavailable(String),
    /// Request or answer are not in the form that this version knows.
    #[error("{0}")]
    Unreadable(String),
    /// No answer came.
    #[error("{0}")]
    Unreachable(String),
}

/// A right that the API server says is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRight {
    /// The verb.
    pub verb: String,
    /// The resource, with its subresource behind a slash.
    pub resource: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The namespace; `None` for the whole cluster.
    pub namespace: Option<String>,
}

/// The result of a call to the cluster.
pub type Result<T> = std::result::Result<T, Error>;

// === impl Error ===

impl Error {
    /// The cluster's answer among the causes of `error`.
    pub fn among(error: &anyhow::Error) -> Option<&Self> {
        error.chain().find_map(|cause| cause.downcast_ref())
    }

    /// Whether there is no such object.
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }

    /// Whether a right is missing, or an admission check refuses.
    pub const fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }

    /// Whether the object has changed since it was read.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    /// Whether rights are missing, or credentials are not accepted.
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::Unauthenticated(_))
    }

    /// Whether the same request would be refused again: not by a server in
    /// trouble, and not where the connection broke.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::NotFound(_)
            | Self::Forbidden { .. }
            | Self::Unauthenticated(_)
            | Self::NoCredentials(_)
            | Self::Invalid(_) => true,
            Self::Conflict(_) | Self::Unavailable(_) | Self::Unreadable(_) | Self::Unreachable(_) => false,
        }
    }

    /// By an HTTP status code.
    fn of_code(code: u16, words: String) -> Self {
        match code {
            401 => Self::Unauthenticated(words),
            403 => Self::Forbidden { right: MissingRight::of(&words).map(Box::new), words },
            404 => Self::NotFound(words),
            409 => Self::Conflict(words),
            // Timeouts, and requests that came too often.
            408 | 429 => Self::Unavailable(words),
            400..500 => Self::Invalid(words),
            _ => Self::Unavailable(words),
        }
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let Status { code, message, .. } = *status;
                let words =
                    if message.is_empty() { format!("the API server answered {code}") } else { message };
                Self::of_code(code, words)
            }
            kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) => {
                Self::of_code(status.as_u16(), innermost(&error))
            }
            kube::Error::Auth(_) => Self::NoCredentials(innermost(&error)),
            kube::Error::SerdeError(_)
            | kube::Error::FromUtf8(_)
            | kube::Error::HttpError(_)
            | kube::Error::BuildRequest(_) => Self::Unreadable(innermost(&error)),
            _ => Self::Unreachable(innermost(&error)),
        }
    }
}

// === impl MissingRight ===

impl MissingRight {
    /// Reads the authorizer's sentence: `User "x" cannot create resource "jobs"
    /// in API group "batch" in the namespace "shop"`. `Status.details` names
    /// neither verb nor subresource, and does not tell this refusal from that of
    /// a quota, which has the same code and reason.
    fn of(message: &str) -> Option<Self> {
        let quoted = |after: &str| Some(message.split_once(after)?.1.split_once('"')?.0.to_owned());
        let (verb, _) = message.split_once(" cannot ")?.1.split_once(' ')?;
        Some(Self {
            verb: verb.to_owned(),
            resource: quoted("resource \"")?,
            group: quoted("API group \"").unwrap_or_default(),
            namespace: quoted("namespace \""),
        })
    }
}

/// The innermost causes are the ones that say what happened.
fn innermost(error: &kube::Error) -> String {
    let mut words = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        words.push(cause.to_string());
        source = cause.source();
    }
    words.dedup();
    // Each layer repeats the next one's text behind its own.
    let last = words.last().cloned().expect("there is the error itself");
    match words.iter().rev().nth(1) {
        Some(above) if !above.contains(&last) && words.len() > 2 => format!("{above}: {last}"),
        _ => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, message: &str) -> Error {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        kube::Error::Api(status.boxed()).into()
    }

    #[test]
    fn an_answer_is_known_by_its_code() {
        let words = || "no".to_owned();
        for (code, error, is_final) in [
            (400, Error::Invalid(words()), true),
            (401, Error::Unauthenticated(words()), true),
            (403, Error::Forbidden { words: words(), right: None }, true),
            (404, Error::NotFound(words()), true),
            (408, Error::Unavailable(words()), false),
            (409, Error::Conflict(words()), false),
            (422, Error::Invalid(words()), true),
            (429, Error::Unavailable(words()), false),
            (500, Error::Unavailable(words()), false),
            (503, Error::Unavailable(words()), false),
        ] {
            assert_eq!(answer(code, "no"), error, "{code}");
            assert_eq!(error.is_final(), is_final, "{code}");
        }
        assert_eq!(answer(500, "").to_string(), "the API server answered 500");
    }

    #[test]
    fn a_missing_right_is_told_from_the_refusal_of_an_admission_check() {
        let right = |message| match answer(403, message) {
            Error::Forbidden { right, .. } => right.map(|right| *right),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            right(
                r#"pods "x" is forbidden: User "ann" cannot patch resource "pods/ephemeralcontainers" in API group "" in the namespace "shop""#
            ),
            Some(MissingRight {
                verb: "patch".to_owned(),
                resource: "pods/ephemeralcontainers".to_owned(),
                group: String::new(),
                namespace: Some("shop".to_owned()),
            })
        );
        let everywhere = right(
            r#"jobs.batch is forbidden: User "ann" cannot list resource "jobs" in API group "batch" at the cluster scope"#,
        );
        assert_eq!(everywhere.map(|right| (right.group, right.namespace)), Some(("batch".to_owned(), None)));
        assert_eq!(right("pods \"x\" is forbidden: exceeded quota: small"), None);
    }

    #[test]
    fn an_answer_is_found_among_the_causes_of_a_problem() {
        let error = anyhow::Error::from(answer(404, "gone")).context("could not").context("outer");
        assert!(Error::among(&error).is_some_and(Error::is_not_found));
        assert_eq!(Error::among(&anyhow::Error::msg("gone")), None);
    }
}
