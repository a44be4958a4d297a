//! Objects that an admin can apply, as text: YAML with the reasons as comments,
//! or one line of JSON in JSON mode.

use anyhow::Result;
use serde_json::{Value, json};

use super::Right;
use crate::output::ProgressMode;

/// An object and the comment above it.
pub(crate) struct Document {
    /// Lines without their `#`.
    pub(crate) comment: String,
    /// The object without its rules; null for a comment without an object.
    pub(crate) object: Value,
    /// The rules of a Role.
    pub(crate) rules: Vec<Right>,
}

/// The documents as text.
pub(crate) fn text(documents: &[Document], mode: ProgressMode) -> Result<String> {
    if mode != ProgressMode::Json {
        let documents = documents.iter().map(Document::yaml).collect::<Result<Vec<_>>>()?;
        return Ok(documents.join("---\n"));
    }
    let objects = documents.iter().map(Document::whole).filter(|object| !object.is_null());
    let mut objects: Vec<Value> = objects.collect();
    let whole = match objects.len() {
        1 => objects.remove(0),
        _ => json!({"apiVersion": "v1", "kind": "List", "items": objects}),
    };
    Ok(whole.to_string())
}

// === impl Document ===

impl Document {
    /// The object with its rules.
    fn whole(&self) -> Value {
        let mut object = self.object.clone();
        if !self.rules.is_empty() {
            object["rules"] = self.rules.iter().map(|right| right.rule(None)).collect();
        }
        object
    }

    /// The rules are written by hand, each below its reason. A YAML library writes
    /// the rest: it quotes names that YAML would read as numbers.
    fn yaml(&self) -> Result<String> {
        let mut text = String::new();
        for line in self.comment.lines() {
            text.push_str(&format!("# {line}\n"));
        }
        if !self.object.is_null() {
            text.push_str(&serde_saphyr::to_string(&self.object)?);
        }
        if !self.rules.is_empty() {
            text.push_str("rules:\n");
            text.extend(self.rules.iter().map(Right::lines));
        }
        Ok(text)
    }
}
