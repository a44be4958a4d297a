//! A request that a filter wants, for the canary: made from the filter, and
//! judged by it before it is believed.

use httparse::Header;
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::traffic::filter::Body;
use crate::traffic::filter::baggage::{Baggage, MEMBER, percent_encoded};
use crate::traffic::{Answer, Filter, Head};

/// A request head without what every request has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
}

// === impl Sample ===

impl Default for Sample {
    /// What nobody asks for. Where it comes to an application all the same,
    /// past the agent, `OPTIONS` changes nothing there.
    fn default() -> Self {
        Self { method: "OPTIONS".to_owned(), target: "/".to_owned(), headers: Vec::new() }
    }
}

impl Sample {
    /// A request that `filter` wants, if one can be made up.
    pub(super) fn of(filter: &Filter) -> Option<Self> {
        let mut sample = Self::default();
        sample.meet(filter)?;
        (sample.judge(filter) == Answer::Yes).then_some(sample)
    }

    /// What the filter says of it, as the agent will.
    fn judge(&self, filter: &Filter) -> Answer {
        let headers: Vec<Header<'_>> =
            self.headers.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        let head = Head { method: &self.method, target: &self.target, authority: None, headers: &headers };
        filter.judge(&head, Body::Unknown)
    }

    /// Adds what one condition asks for.
    fn meet(&mut self, filter: &Filter) -> Option<()> {
        match filter {
            Filter::Everything => {}
            Filter::Baggage(key) => self.headers.push(("baggage".to_owned(), baggage(key))),
            Filter::Header(pattern) => {
                let line = example(pattern.as_str())?;
                // A pattern may stand for a part of the line alone.
                let (name, value) = match line.split_once(':') {
                    Some((name, value)) if is_token(name) => (name, value.trim()),
                    _ => ("x-mirrord-canary-sample", line.trim()),
                };
                self.headers.push((name.to_owned(), value.to_owned()));
            }
            Filter::Path(pattern) => {
                let path = example(pattern.as_str())?;
                self.target = if path.starts_with('/') { path } else { format!("/{path}") };
            }
            Filter::Method(method) => self.method = String::from(method.clone()),
            // What the canary has none of, and what is no pattern to make one from.
            Filter::Body(_) | Filter::Jq(_) => return None,
            Filter::AllOf(list) => list.iter().try_for_each(|filter| self.meet(filter))?,
            Filter::AnyOf(list) => {
                *self = list.iter().find_map(Self::of)?;
            }
        }
        // Nothing that would end the line, or the head.
        let is_safe = |text: &str| text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        let is_plain = |text: &str| !text.contains(' ') && is_safe(text);
        let headers = self.headers.iter().all(|(name, value)| is_token(name) && is_safe(value));
        (headers && is_plain(&self.target) && is_token(&self.method)).then_some(())
    }
}

/// The member with the key, percent-encoded where baggage would not carry it.
fn baggage(key: &Baggage) -> String {
    format!("{MEMBER}={}", percent_encoded(key.as_str()))
}

/// A header's name, or a method.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A text in which the pattern occurs; none where it needs look-around.
fn example(pattern: &str) -> Option<String> {
    let mut text = String::new();
    write(&regex_syntax::parse(pattern).ok()?, &mut text)?;
    Some(text)
}

/// Writes the shortest text that `hir` matches.
fn write(hir: &Hir, text: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => text.push(member(class)?),
        HirKind::Repetition(repeated) => {
            for _ in 0..repeated.min {
                write(&repeated.sub, text)?;
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, text)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, text))?,
        HirKind::Alternation(parts) => write(parts.first()?, text)?,
    }
    Some(())
}

/// A character of a class: a letter or a digit if there is one, else whatever
/// can be seen.
fn member(class: &Class) -> Option<char> {
    let holds = |character: char| match class {
        Class::Unicode(class) => {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&character))
        }
        Class::Bytes(class) => u8::try_from(character).is_ok_and(|byte| {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&byte))
        }),
    };
    ('a'..='z').chain('0'..='9').chain('A'..='Z').chain(' '..='~').find(|character| holds(*character))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sample(filter: &Value) -> Option<Sample> {
        Sample::of(&serde_json::from_value(filter.clone()).unwrap())
    }

    #[test]
    fn what_a_filter_wants_is_made_up_from_it() {
        for filter in [
            json!("everything"),
            json!({"baggage": "pr-1"}),
            json!({"baggage": "feature/ä 1,2"}),
            json!({"header": "^x-user: ann$"}),
            json!({"header": "x-pr: (12|13)"}),
            json!({"header": "baggage: .*session=[a-z]+-\\d{2,}"}),
            json!({"header": "canary"}),
            json!({"path": "^/api/v[0-9]+/cart$"}),
            json!({"path": "cart"}),
            json!({"method": "post"}),
            json!({"all_of": [{"header": "x-a: 1"}, {"header": "x-b: 2"}, {"path": "^/a"}, {"method": "PUT"}]}),
            json!({"any_of": [{"body": {"query": "$.a", "matches": "b"}}, {"header": "x-a: 1"}]}),
        ] {
            assert!(sample(&filter).is_some(), "{filter}");
        }
    }

    #[test]
    fn what_cannot_be_made_up_is_not_claimed() {
        for filter in [
            json!({"body": {"query": "$.a", "matches": "b"}}),
            json!({"header": "^x-user: (?!bot)"}),
            json!({"jq": "true"}),
            json!({"header": "^no header looks like this$"}),
            json!({"path": "^cart"}),
            json!({"header": "x-a: \\n"}),
        ] {
            assert_eq!(sample(&filter), None, "{filter}");
        }
    }
}
