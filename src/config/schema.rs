//! `mirrord-schema.json`: what editors need to complete and check a
//! configuration file. Made from the table of fields.

use serde_json::{Value, json};

use super::fields::kind::{any_of, section};
use super::fields::{Fate, Field, Honoured, RefusedField};

/// The schema of the whole file. Draft 7 is the newest that common editors support in full.
pub fn schema() -> Value {
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of mirrord previews",
    });
    merge(&mut schema, section(""));
    schema
}

// === impl Field ===

impl Field {
    /// The schema of the field's value.
    pub(super) fn schema(&self) -> Value {
        let description;
        let mut forms = match &self.fate {
            Fate::Honoured(honoured) => {
                description = honoured.description();
                honoured.kind.schemas(&self.path)
            }
            // Whatever it holds is ignored.
            Fate::Ignored(reason) => {
                return json!({"description": format!("Ignored, with a warning: {reason}.")});
            }
            Fate::Refused(refused) => {
                description = refused.description();
                Vec::new()
            }
        };
        if self.is_off_if_false {
            forms.push(json!({"enum": [false]}));
        }
        if self.is_on_if_true {
            forms.push(json!({"enum": [true]}));
        }
        if self.is_off_if_empty {
            forms.push(json!({"enum": [[], {}]}));
        }
        // `null` means the same as leaving the field out.
        if self.honoured().is_none_or(|honoured| !honoured.is_required) {
            forms.push(json!({"type": "null"}));
        }
        let mut schema = json!({"description": description});
        merge(&mut schema, any_of(forms));
        schema
    }
}

// === impl Honoured ===

impl Honoured {
    fn description(&self) -> String {
        let mut text = self.meaning.clone().into_owned();
        if !self.default.is_empty() {
            text.push_str(&format!(" Default: {}.", self.default));
        }
        if !self.flag.is_empty() {
            text.push_str(&format!(" Flag: {}.", self.flag));
        }
        if !self.variables.is_empty() {
            text.push_str(&format!(" Environment: {}.", self.variables.join(", ")));
        }
        text
    }
}

// === impl RefusedField ===

impl RefusedField {
    fn description(&self) -> String {
        let harm =
            if self.harm.is_empty() { String::new() } else { format!(" If it were ignored, {}.", self.harm) };
        format!("Refused: it {}.{harm}", self.what)
    }
}

fn merge(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}
