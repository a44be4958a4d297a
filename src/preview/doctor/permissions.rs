//! Checks the permissions of the user, and of the keeper.

use anyhow::Result;
use serde_json::json;

use super::target::TargetFinding;
use super::{Check, Findings, in_a_line};
use crate::output::ProgressMode;
use crate::preview::plan::Account;
use crate::preview::preflight::{self, keeper_account};
use crate::preview::rights::{self, Document, GRANTING, Right};
use crate::problem::Exit;

// === impl Check ===

impl Check<'_> {
    /// Checks the rights that the user needs for this configuration.
    pub(super) async fn rights(&self, target: &TargetFinding, findings: &mut Findings) -> Result<()> {
        let step = self.reporter.step("checking your permissions");
        let named = match target {
            TargetFinding::Read(_) | TargetFinding::Forbidden => self.config.selection.target.as_ref(),
            // A target that does not exist needs no permissions.
            TargetFinding::NotNamed | TargetFinding::Unreadable => None,
        };
        let facts = preflight::rights::facts(self.config, named, target.inspection());
        let needed = self.missing(&rights::needed(&facts)).await?;
        let useful = self.missing(&rights::useful(&facts)).await?;
        if needed.is_empty() {
            step.done("you have the permissions to start, list and stop previews");
        } else {
            // A forbidden target is counted already.
            if !matches!(target, TargetFinding::Forbidden) {
                findings.obstacles.push(Exit::NotAllowed);
            }
            step.failed(&format!("you are missing permissions: {}", rights::named(&needed)));
            findings.missing.extend(needed);
        }
        if !useful.is_empty() {
            self.reporter.warning(&format!(
                "optional permissions are missing, so some checks and warnings will be skipped: {}",
                rights::named(&useful)
            ));
        }
        Ok(())
    }

    /// Chooses the account of a keeper that needs these rights, as `start` does;
    /// `None` if there is none.
    pub(super) async fn keeper(&self, rights: &[Right], findings: &mut Findings) -> Result<Option<Account>> {
        let step = self.reporter.step("checking the keeper's permissions");
        let error =
            match keeper_account::account(self.cluster, self.namespace, &self.config.agent, rights).await {
                Ok(account) => {
                    step.done(&match &account {
                        Account::Own => {
                            "the keeper gets its own Role, which is deleted with the environment".to_owned()
                        }
                        Account::Prepared(name) if self.config.agent.service_account.is_some() => {
                            format!("the keeper runs as ServiceAccount `{name}`, as configured")
                        }
                        Account::Prepared(name) => {
                            format!("the keeper runs as ServiceAccount `{name}`, which exists already")
                        }
                    });
                    return Ok(Some(account));
                }
                Err(error) => error,
            };
        findings.error(&error);
        let missing = self.missing(&[GRANTING, rights].concat()).await?;
        step.failed(&if missing.is_empty() {
            in_a_line(&error)
        } else {
            format!(
                "the keeper cannot be granted its permissions, because you do not have them: {}; ask an admin to apply \
                 the output of `mirrord preview rbac -n {}`",
                rights::named(&missing),
                self.namespace
            )
        });
        Ok(None)
    }

    async fn missing(&self, rights: &[Right]) -> Result<Vec<Right>> {
        let refused = self.cluster.refused(self.namespace, rights::questions(rights)).await;
        let refused = refused.map_err(|error| error.into_problem("could not check your permissions"))?;
        Ok(rights::missing(rights, &refused))
    }
}

/// A Role with the missing rights.
pub(super) fn role(missing: &[Right], namespace: &str, mode: ProgressMode) -> Result<String> {
    let document = Document {
        comment: "Missing permissions. Ask an admin to create this Role and bind it to you:".to_owned(),
        object: json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "mirrord-preview-missing", "namespace": namespace},
        }),
        rules: missing.to_vec(),
    };
    rights::text(&[document], mode)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::preview::features::FEATURES;
    use crate::preview::rights::{Facts, needed};

    #[test]
    fn the_role_is_the_same_in_yaml_and_json_in_any_namespace() {
        let missing = needed(&Facts { features: FEATURES.to_vec(), ..Facts::default() });
        for namespace in ["123", "true", "1e3", "no", "shop"] {
            let yaml = role(&missing, namespace, ProgressMode::Plain).unwrap();
            let json = role(&missing, namespace, ProgressMode::Json).unwrap();
            assert_eq!(json.lines().count(), 1);
            let (yaml, json): (Value, Value) =
                (serde_saphyr::from_str(&yaml).unwrap(), serde_json::from_str(&json).unwrap());
            assert_eq!(yaml, json);
            assert_eq!(json["metadata"]["namespace"], namespace);
            assert_eq!(json["rules"][0]["verbs"].as_array().unwrap().len(), 6);
        }
    }
}
