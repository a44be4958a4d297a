//! Chooses the container that gets the user's image.

use serde_json::Value;
use thiserror::Error;

use super::Source;
use crate::words;

/// The annotation that names the default container of `kubectl logs` and `exec`.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Sidecars that other tools inject: service meshes, secret agents, Knative,
/// Telepresence. mirrord has the same list.
const SIDECARS: &[&str] = &[
    "kuma-sidecar",
    "kuma-init",
    "istio-proxy",
    "istio-init",
    "linkerd-proxy",
    "linkerd-init",
    "vault-agent",
    "vault-agent-init",
    "queue-proxy",
    "traffic-agent",
];

/// The chosen container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its name.
    pub name: String,
    /// Its place in `spec.containers`.
    pub index: usize,
    /// The containers it was chosen from without the user's or the template's word;
    /// the output names them.
    pub guessed_among: Vec<String>,
}

/// Why no container can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ContainerError {
    /// The named container does not exist; the pod has these.
    #[error("there is no container `{0}`; the pod has {names}", names = words::quoted_list(.1))]
    Missing(String, Vec<String>),
    /// The template has no containers.
    #[error("its pod template has no containers")]
    None,
}

/// Whether a container is a known sidecar.
pub fn is_mesh(name: &str) -> bool {
    SIDECARS.contains(&name)
}

/// Chooses the container: the named one, the only one, the annotated one, or
/// the first that is not a known sidecar.
pub fn choose(source: &Source, wanted: Option<&str>) -> Result<Choice, ContainerError> {
    let template = &source.template;
    let names: Vec<String> = template
        .get("spec")
        .and_then(|spec| spec.get("containers"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|container| container.get("name")?.as_str().map(str::to_owned))
        .collect();
    let at = |name: &str| names.iter().position(|other| other == name);
    let choice = |index: usize, guessed_among: Vec<String>| Choice {
        name: names[index].clone(),
        index,
        guessed_among,
    };
    if let Some(wanted) = wanted {
        return match at(wanted) {
            Some(index) => Ok(choice(index, Vec::new())),
            None => Err(ContainerError::Missing(wanted.to_owned(), names)),
        };
    }
    let annotated = template
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations")?.get(DEFAULT_CONTAINER)?.as_str());
    match names.len() {
        0 => Err(ContainerError::None),
        1 => Ok(choice(0, Vec::new())),
        _ => Ok(annotated.and_then(at).map_or_else(
            || {
                let index = names.iter().position(|name| !is_mesh(name)).unwrap_or(0);
                choice(index, names.clone())
            },
            |index| choice(index, Vec::new()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(names: &[&str], annotation: Option<&str>) -> Source {
        let containers: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        let template = json!({
            "metadata": {"annotations": annotation.map(|name| json!({DEFAULT_CONTAINER: name}))},
            "spec": {"containers": containers},
        });
        Source { template: template.as_object().unwrap().clone(), ..Source::default() }
    }

    #[test]
    fn the_container_is_the_named_else_the_annotated_else_the_first_non_sidecar() {
        for (names, annotation, wanted, chosen, guessed) in [
            (&["web"][..], None, None, "web", false),
            (&["web", "log"], None, Some("log"), "log", false),
            (&["web", "log"], Some("log"), None, "log", false),
            (&["web", "log"], Some("gone"), None, "web", true),
            (&["istio-proxy", "web", "log"], None, None, "web", true),
            (&["istio-proxy", "linkerd-proxy"], None, None, "istio-proxy", true),
        ] {
            let choice = choose(&source(names, annotation), wanted).unwrap();
            assert_eq!((choice.name.as_str(), !choice.guessed_among.is_empty()), (chosen, guessed));
            assert_eq!(names[choice.index], chosen);
        }
        assert_eq!(
            choose(&source(&["web"], None), Some("wbe")).unwrap_err().to_string(),
            "there is no container `wbe`; the pod has `web`"
        );
        assert_eq!(choose(&source(&[], None), None), Err(ContainerError::None));
    }
}
