//! `method`: one method, in any case.

use serde::{Deserialize, Serialize};

use crate::traffic::Head;

/// A method, standard or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Method(String);

// === impl Method ===

impl Method {
    /// Whether this request has the method.
    pub fn matches(&self, head: &Head<'_>) -> bool {
        self.0.eq_ignore_ascii_case(head.method)
    }
}

impl TryFrom<String> for Method {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() || text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err("a method is one word, like `POST`");
        }
        Ok(Self(text))
    }
}

impl From<Method> for String {
    fn from(method: Method) -> Self {
        method.0
    }
}
