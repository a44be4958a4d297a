//! `rbac`: prints the objects that an admin applies once, so that users who may
//! not create Roles can start previews. It does not contact a cluster.

use anyhow::Result;
use serde_json::{Value, json};

use super::features::FEATURES;
use super::preflight::keeper_account::PREPARED;
use super::rights::{self, Document};
use crate::output::{self, ProgressMode};

/// The name of the users' Role.
const USERS: &str = "mirrord-preview-users";
const GROUP: &str = "rbac.authorization.k8s.io";

/// Who gets the users' Role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A user, by the name that the cluster knows.
    User(String),
    /// A group of users.
    Group(String),
    /// A ServiceAccount, and its namespace if that is a different one.
    ServiceAccount(String, Option<String>),
}

/// Prints the ServiceAccount and the Roles for `namespace`, and the bindings.
pub fn rbac(namespace: &str, subject: Option<&Subject>, mode: ProgressMode) -> Result<()> {
    Ok(output::data(&rights::text(&documents(namespace, subject), mode)?)?)
}

fn documents(namespace: &str, subject: Option<&Subject>) -> Vec<Document> {
    let plain = |comment: &str, object| Document { comment: comment.to_owned(), object, rules: Vec::new() };
    let role = |name: &str| {
        json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "Role",
            "metadata": {"name": name, "namespace": namespace},
        })
    };
    let binding = |name: &str, subject: Value| {
        json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name},
            "subjects": [subject],
        })
    };
    let account = json!({"kind": "ServiceAccount", "name": PREPARED, "namespace": namespace});
    vec![
        plain(
            &format!(
                "The keeper's ServiceAccount. The keeper is the pod that routes requests to a preview. Everybody who\n\
                 may create pods in `{namespace}` can run one under this ServiceAccount, with the rights below."
            ),
            json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": PREPARED, "namespace": namespace},
                "automountServiceAccountToken": false,
            }),
        ),
        Document { rules: rights::keeper(FEATURES), ..plain("", role(PREPARED)) },
        plain("", binding(PREPARED, account)),
        Document {
            rules: rights::user(),
            ..plain("The Role of the users and CI jobs that start, list and stop previews.", role(USERS))
        },
        match subject {
            Some(subject) => plain("", binding(USERS, subject.object(namespace))),
            None => plain(
                &format!(
                    "To bind this Role, pass `--user`, `--group` or `--service-account`, or run\n\
                     kubectl create rolebinding {USERS} -n {namespace} --role {USERS} --user <name>"
                ),
                Value::Null,
            ),
        },
    ]
}

// === impl Subject ===

impl Subject {
    fn object(&self, namespace: &str) -> Value {
        match self {
            Self::User(name) => json!({"apiGroup": GROUP, "kind": "User", "name": name}),
            Self::Group(name) => json!({"apiGroup": GROUP, "kind": "Group", "name": name}),
            Self::ServiceAccount(name, other) => {
                let namespace = other.as_deref().unwrap_or(namespace);
                json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(namespace: &str, subject: Option<&Subject>) -> Vec<Value> {
        let text = rights::text(&documents(namespace, subject), ProgressMode::Plain).unwrap();
        text.split("---\n")
            .filter_map(|document| serde_saphyr::from_str(document).ok())
            .filter(Value::is_object)
            .collect()
    }

    #[test]
    fn the_printed_objects_are_complete_and_bind_each_kind_of_subject() {
        let kinds = |documents: &[Value]| -> Vec<String> {
            documents
                .iter()
                .map(|one| {
                    format!("{}/{}", one["kind"].as_str().unwrap(), one["metadata"]["name"].as_str().unwrap())
                })
                .collect()
        };
        let alone = printed("shop", None);
        assert_eq!(
            kinds(&alone),
            [
                "ServiceAccount/mirrord-keeper",
                "Role/mirrord-keeper",
                "RoleBinding/mirrord-keeper",
                "Role/mirrord-preview-users"
            ]
        );
        assert_eq!(alone[1]["rules"].as_array().unwrap().len(), rights::keeper(FEATURES).len());
        assert!(alone[1]["rules"][4]["resourceNames"].is_null());
        for (subject, kind, name, namespace) in [
            (Subject::User("ann@example.com".to_owned()), "User", "ann@example.com", Value::Null),
            (Subject::Group("oidc:dev \"x\"".to_owned()), "Group", "oidc:dev \"x\"", Value::Null),
            (Subject::ServiceAccount("ci".to_owned(), None), "ServiceAccount", "ci", "shop".into()),
            (
                Subject::ServiceAccount("ci".to_owned(), Some("runners".to_owned())),
                "ServiceAccount",
                "ci",
                "runners".into(),
            ),
        ] {
            let bound = printed("shop", Some(&subject)).remove(4);
            let subject = &bound["subjects"][0];
            assert_eq!(
                (subject["kind"].as_str(), subject["name"].as_str(), &subject["namespace"]),
                (Some(kind), Some(name), &namespace)
            );
        }
    }

    #[test]
    fn names_that_yaml_would_read_as_other_types_stay_strings() {
        for name in ["123", "true", "1e3", "null", "0x1f", "1.5", "no", "2026-01-01", "shop"] {
            let account = Subject::ServiceAccount(name.to_owned(), None);
            for subject in [Subject::User(name.to_owned()), account] {
                let objects = printed(name, Some(&subject));
                assert_eq!(objects.len(), 5);
                for object in &objects {
                    assert_eq!(object["metadata"]["namespace"], name, "{object}");
                }
                assert_eq!(objects[2]["subjects"][0]["namespace"], name);
                assert_eq!(objects[4]["subjects"][0]["name"], name);
            }
        }
    }

    #[test]
    fn in_json_mode_the_objects_are_one_line() {
        for subject in [None, Some(&Subject::User("ann".to_owned()))] {
            let text = rights::text(&documents("shop", subject), ProgressMode::Json).unwrap();
            assert_eq!(text.lines().count(), 1);
            let list: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(list["items"], json!(printed("shop", subject)));
        }
    }
}
