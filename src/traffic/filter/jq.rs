//! `jq`: a program over `name: value`, run on each header line by itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kind::{Condition, IsOver, Syntax};
use crate::matching::{Program, text};
use crate::traffic::{Head, Sample};

/// A jq program. A request matches where the program answers `true` to one of
/// its header lines, `name: value` with the name in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeaderJq(Program);

// === impl HeaderJq ===

impl Condition for HeaderJq {
    const SYNTAX: Option<Syntax> = Some(Syntax {
        filter: "header_filter_jq",
        meaning: "A jq program that answers `true` to one header line, written `name: value`.",
        variable: Some("MIRRORD_HTTP_HEADER_FILTER_JQ"),
        fields: &["query"],
        parts: &[],
    });

    type Written = String;

    fn matches(&self, head: &Head<'_>, _: &[u8], is_over: IsOver<'_>) -> bool {
        head.any_line(|name, value| {
            !is_over()
                && self.0.is_true_for(format!("{}: {}", name.to_ascii_lowercase(), text::from_bytes(value)))
        })
    }

    fn overlooks(&self, head: &Head<'_>) -> bool {
        head.has_lines_beyond_bounds()
    }

    /// A program does not tell for which line it answers `true`.
    fn sample(&self, _: &mut Sample) -> Option<()> {
        None
    }
}

impl TryFrom<String> for HeaderJq {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Program::compile(&text).map(Self)
    }
}

impl From<HeaderJq> for String {
    fn from(jq: HeaderJq) -> Self {
        jq.0.as_str().to_owned()
    }
}

impl fmt::Display for HeaderJq {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "requests with a header for which `{}` is true", self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use httparse::Header;

    use super::*;

    fn matches(program: &str, lines: &[(&str, &str)]) -> bool {
        let headers: Vec<Header<'_>> =
            lines.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        let head = Head { method: "GET", target: "/", authority: Some("shop.local"), headers: &headers };
        HeaderJq::try_from(program.to_owned()).unwrap().matches(&head, &[], &|| false)
    }

    #[test]
    fn a_program_judges_each_header_line() {
        let user = [("Accept", "*/*"), ("X-User", "ann")];
        for (program, wanted) in [
            (r#"test("^x-user: ann$")"#, true),
            (r#"startswith("x-user: ") and (split(": ")[1] | . == "ann" or . == "bob")"#, true),
            (r#"split(": ") as [$name, $value] | $name == "x-user" and $value != "ann""#, false),
            (r#". == "host: shop.local""#, true),
        ] {
            assert_eq!(matches(program, &user), wanted, "{program}");
        }
        let token = [("Authorization", "Bearer e30.eyJzdWIiOiJhbm5pZSJ9.sig")];
        let claim = r#"split(" ")[2]? | split(".")[1]? | @base64d | fromjson | .sub == "annie""#;
        assert!(matches(claim, &token) && !matches(claim, &user));
    }
}
