//! `method`: one method, in any case.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kind::{Condition, IsOver, Syntax};
use crate::traffic::{Head, Sample};

/// A method, registered or not; case is ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Method(String);

// === impl Method ===

impl Condition for Method {
    const SYNTAX: Option<Syntax> = Some(Syntax {
        filter: "method_filter",
        meaning: "The request's method, in upper or lower case.",
        variable: Some("MIRRORD_HTTP_METHOD_FILTER"),
        fields: &["method"],
        parts: &[],
    });

    type Written = String;

    fn matches(&self, head: &Head<'_>, _: &[u8], _: IsOver<'_>) -> bool {
        self.0.eq_ignore_ascii_case(head.method)
    }

    fn sample(&self, sample: &mut Sample) -> Option<()> {
        sample.method.clone_from(&self.0);
        Some(())
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

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} requests", self.0)
    }
}
