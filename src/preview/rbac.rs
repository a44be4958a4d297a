//! `rbac`: what an admin can apply once, so that people without the right to
//! make roles can start previews. Text alone; no cluster is asked.

use anyhow::Result;
use serde_json::{Value, json};

use super::preflight::keeper_account::PREPARED;
use super::rights::{self, Document, KEEPER, USER};
use crate::output::{self, Mode};

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
    /// A ServiceAccount, and its namespace where it is another.
    ServiceAccount(String, Option<String>),
}

/// Prints it.
pub fn rbac(namespace: &str, subject: Option<&Subject>, mode: Mode) -> Result<()> {
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
                "The keeper: the pod of an environment that routes requests to it. Whoever may create pods in\n\
                 `{namespace}` can have one run under this account, and so do there what it may do."
            ),
            json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": PREPARED, "namespace": namespace},
                "automountServiceAccountToken": false,
            }),
        ),
        Document { rules: KEEPER.to_vec(), ..plain("", role(PREPARED)) },
        plain("", binding(PREPARED, account)),
        Document {
            rules: USER.to_vec(),
            ..plain("The people, and the CI jobs, who start, look at and stop previews.", role(USERS))
        },
        match subject {
            Some(subject) => plain("", binding(USERS, subject.object(namespace))),
            None => plain(
                &format!(
                    "To give somebody the Role above: `--user`, `--group` or `--service-account` adds the binding, or\n\
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
        let text = rights::text(&documents(namespace, subject), Mode::Plain).unwrap();
        text.split("---\n")
            .filter_map(|document| serde_saphyr::from_str(document).ok())
            .filter(Value::is_object)
            .collect()
    }

    #[test]
    fn an_admin_can_apply_what_is_printed() {
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
        assert_eq!(alone[1]["rules"].as_array().unwrap().len(), KEEPER.len());
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
    fn a_name_that_yaml_would_take_for_something_else_stays_a_name() {
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
    fn where_everything_is_json_the_objects_are_one_line() {
        for subject in [None, Some(&Subject::User("ann".to_owned()))] {
            let text = rights::text(&documents("shop", subject), Mode::Json).unwrap();
            assert_eq!(text.lines().count(), 1);
            let list: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(list["items"], json!(printed("shop", subject)));
        }
    }
}
