//! `rbac`: what an admin can apply once, so that people without the right to
//! make roles can start previews. Text alone; no cluster is asked.

use anyhow::Result;

use super::rights::{KEEPER, Right, USER};
use super::start::routing::PREPARED;
use crate::output;

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
pub fn rbac(namespace: &str, subject: Option<&Subject>) -> Result<()> {
    Ok(output::data(&manifest(namespace, subject))?)
}

fn manifest(namespace: &str, subject: Option<&Subject>) -> String {
    let role = |name: &str, rights: &[Right]| {
        let rules: String = rights.iter().map(Right::lines).collect();
        format!(
            "apiVersion: {GROUP}/v1\nkind: Role\nmetadata: {{name: {name}, namespace: {namespace}}}\nrules:\n{rules}"
        )
    };
    let binding = |name: &str, subject: &str| {
        format!(
            "apiVersion: {GROUP}/v1\nkind: RoleBinding\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             roleRef: {{apiGroup: {GROUP}, kind: Role, name: {name}}}\nsubjects:\n  - {subject}\n"
        )
    };
    let mut documents = vec![
        format!(
            "# The keeper: the pod of an environment that routes requests to it. Whoever may create pods in\n\
             # `{namespace}` can have one run under this account, and so do there what it may do.\n\
             apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {PREPARED}, namespace: {namespace}}}\n\
             automountServiceAccountToken: false\n"
        ),
        role(PREPARED, KEEPER),
        binding(PREPARED, &format!("{{kind: ServiceAccount, name: {PREPARED}, namespace: {namespace}}}")),
        format!(
            "# The people, and the CI jobs, who start, look at and stop previews.\n{}",
            role(USERS, USER)
        ),
    ];
    match subject {
        Some(subject) => documents.push(binding(USERS, &subject.line(namespace))),
        None => documents.push(format!(
            "# To give somebody the Role above: `--user`, `--group` or `--service-account` adds the binding, or\n\
             # kubectl create rolebinding {USERS} -n {namespace} --role {USERS} --user <name>\n"
        )),
    }
    documents.join("---\n")
}

// === impl Subject ===

impl Subject {
    fn line(&self, namespace: &str) -> String {
        match self {
            Self::User(name) => format!("{{apiGroup: {GROUP}, kind: User, name: {}}}", quoted(name)),
            Self::Group(name) => format!("{{apiGroup: {GROUP}, kind: Group, name: {}}}", quoted(name)),
            Self::ServiceAccount(name, other) => {
                let namespace = other.as_deref().unwrap_or(namespace);
                format!("{{kind: ServiceAccount, name: {}, namespace: {}}}", quoted(name), quoted(namespace))
            }
        }
    }
}

/// Any text as a YAML scalar: JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn documents(subject: Option<&Subject>) -> Vec<Value> {
        let text = manifest("shop", subject);
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
        let alone = documents(None);
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
            let bound = documents(Some(&subject)).remove(4);
            let subject = &bound["subjects"][0];
            assert_eq!(
                (subject["kind"].as_str(), subject["name"].as_str(), &subject["namespace"]),
                (Some(kind), Some(name), &namespace)
            );
        }
    }
}
