//! The objects of a plan, for `start -o`.

use anyhow::Result;
use serde_json::{Value, json};

use super::{document, lines};
use crate::output::ProgressMode;
use crate::output::format::ObjectFormat;
use crate::preview::plan::Plan;

/// The objects of a plan.
pub(in crate::preview) fn objects(plan: &Plan, format: ObjectFormat, mode: ProgressMode) -> Result<String> {
    let mut root = serde_json::to_value(&plan.root)?;
    // The object is not created yet, so an empty status would mislead.
    if let Some(root) = root.as_object_mut() {
        root.remove("status");
    }
    let objects: Vec<Value> = [root].into_iter().chain(plan.owned().map(redacted)).collect();
    Ok(match format {
        ObjectFormat::Name => {
            let name = |object: &Value| {
                let text = |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
                let group = text("/apiVersion")
                    .split_once('/')
                    .map(|(group, _)| format!(".{group}"))
                    .unwrap_or_default();
                format!("{}{group}/{}", text("/kind").to_lowercase(), text("/metadata/name"))
            };
            lines(&objects.iter().map(name).collect::<Vec<_>>(), mode)
        }
        ObjectFormat::Json => document(&json!({"apiVersion": "v1", "kind": "List", "items": objects}), mode)?,
        ObjectFormat::Yaml if mode == ProgressMode::Json => {
            document(&json!({"apiVersion": "v1", "kind": "List", "items": objects}), mode)?
        }
        ObjectFormat::Yaml => {
            let documents = objects.iter().map(serde_saphyr::to_string).collect::<Result<Vec<_>, _>>()?;
            documents.join("---\n")
        }
    })
}

/// Hides the values of a Secret.
fn redacted(object: &Value) -> Value {
    let mut object = object.clone();
    if object["kind"] == "Secret"
        && let Some(data) = object.as_object_mut().and_then(|object| object.remove("data"))
    {
        let names =
            data.as_object().into_iter().flatten().map(|(name, _)| (name.clone(), Value::from("(redacted)")));
        object["stringData"] = names.collect();
    }
    object
}
