//! `jq`: a program over `name: value`, run on each header line by itself.

use std::fmt;
use std::sync::Arc;

use jaq_core::box_iter::box_once;
use jaq_core::data::JustLut;
use jaq_core::load::lex::{StrPart, Tok, Token};
use jaq_core::load::{Arena, File, Lexer, Loader};
use jaq_core::native::{run, v};
use jaq_core::{Compiler, Ctx, Cv, Error, Exn, ValXs, Vars, load, unwrap_valr};
use jaq_json::Val;
use serde::{Deserialize, Serialize};

use super::header::any_line;
use super::pattern::characters;
use crate::traffic::Head;

/// What a program may use: enough to take a text apart. What could run for
/// ever (`def`, `recurse`, `range`, `while`, …) is left out, and what would
/// look at anything but the header (`env`, `input`, `now`, …).
const WORDS: &str = "\
    true false null and or not if then elif else end try catch as empty error select any all \
    map first last length type test match capture scan split splits sub gsub startswith \
    endswith contains inside in has index rindex indices ltrimstr rtrimstr trim ltrim rtrim \
    ascii_downcase ascii_upcase tostring tonumber fromjson tojson keys values to_entries join \
    add sort unique reverse min max strings isempty";
/// What a header's own JSON is read with.
const FROM_JSON: &str = "fromjson";
/// How many answers of one program on one line are looked at.
const MOST_ANSWERS: usize = 1_000;
/// How deep JSON in a header may be nested. The parser of jq calls itself for
/// each level, and a stack that runs out ends the agent; `serde_json` stops here, too.
const DEEPEST: usize = 128;
/// The longest program, in bytes.
const LONGEST: usize = 4 * 1024;

/// A jq program. It wants a request where its answer to one of the header
/// lines, `name: value` with the name in lower case, is `true`; an error is no
/// answer.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Jq {
    text: String,
    program: Arc<jaq_core::Filter<JustLut<Val>>>,
}

// === impl Jq ===

impl Jq {
    /// The program as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a header of this request is wanted.
    pub fn matches(&self, head: &Head<'_>) -> bool {
        any_line(head, |name, value| {
            let line = format!("{}: {}", name.to_ascii_lowercase(), characters(value));
            let context = Ctx::<JustLut<Val>>::new(&self.program.lut, Vars::new([]));
            let answers = self.program.id.run((context, Val::from(line))).map(unwrap_valr);
            answers.take(MOST_ANSWERS).any(|answer| answer == Ok(Val::from(true)))
        })
    }
}

impl TryFrom<String> for Jq {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let problem = |why: String| format!("`{text}` is no jq program for a header: {why}");
        if text.len() > LONGEST {
            return Err(format!("a jq program may have {LONGEST} bytes"));
        }
        let unexpected = |wanted: &str, found: &str| match found {
            "" => format!("a {wanted} is missing at its end"),
            found => format!("a {wanted} is missing before `{found}`"),
        };
        let tokens = Lexer::new(&text).lex().map_err(|errors| {
            let (wanted, found) = &errors[0];
            problem(unexpected(wanted.as_str(), found))
        })?;
        if let Some(word) = tokens.iter().find_map(foreign) {
            return Err(problem(format!("`{word}` cannot be used here")));
        }
        let arena = Arena::default();
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let of_json = jaq_json::funs().filter(|(name, ..)| *name != FROM_JSON);
        let functions = jaq_core::funs().chain(jaq_std::funs()).chain(of_json).chain([run((
            FROM_JSON,
            v(0),
            |(_, text): Cv<'_, JustLut<Val>>| from_json(&text),
        ))]);
        let modules =
            Loader::new(definitions).load(&arena, File { code: &text, path: () }).map_err(|errors| {
                problem(match errors.first() {
                    Some((_, load::Error::Parse(errors))) if !errors.is_empty() => {
                        unexpected(errors[0].0.as_str(), errors[0].1)
                    }
                    _ => "it cannot be read".to_owned(),
                })
            })?;
        let program = Compiler::default().with_funs(functions).compile(modules).map_err(|errors| {
            let undefined = errors.iter().flat_map(|(_, names)| names).next();
            problem(undefined.map_or_else(String::new, |(name, _)| format!("there is no `{name}` like this")))
        })?;
        Ok(Self { program: Arc::new(program), text })
    }
}

/// `fromjson`, which refuses what is nested too deep.
fn from_json<'a>(text: &Val) -> ValXs<'a, Val> {
    let refusal = |why: String| Exn::from(Error::str(why));
    let bytes = match text {
        Val::TStr(bytes) | Val::BStr(bytes) if is_shallow(bytes) => bytes,
        _ => return box_once(Err(refusal("no JSON, or nested too deep".to_owned()))),
    };
    let mut values = Vec::new();
    for value in jaq_json::read::parse_many(bytes) {
        let is_last = value.is_err();
        values.push(value.map_err(|error| refusal(error.to_string())));
        if is_last {
            // The parser says so again and again, for ever.
            break;
        }
    }
    Box::new(values.into_iter())
}

/// Whether brackets outside of strings and comments are nested no deeper than
/// [`DEEPEST`].
fn is_shallow(json: &[u8]) -> bool {
    let (mut depth, mut bytes) = (0_usize, json.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => _ = bytes.next(),
                        _ => {}
                    }
                }
            }
            b'#' => _ = bytes.find(|byte| **byte == b'\n'),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return false;
        }
    }
    true
}

/// The first word that a program may not use.
fn foreign<'a>(token: &Token<&'a str>) -> Option<&'a str> {
    match &token.1 {
        Tok::Word => WORDS.split(' ').all(|word| word != token.0).then_some(token.0),
        Tok::Sym => (token.0 == "..").then_some(token.0),
        Tok::Var => (token.0 == "$ENV" || token.0 == "$__prog_args").then_some(token.0),
        Tok::Str(parts) => parts.iter().find_map(|part| match part {
            StrPart::Term(term) => foreign(term),
            StrPart::Str(_) | StrPart::Char(_) => None,
        }),
        Tok::Block(tokens) => tokens.iter().find_map(foreign),
        Tok::Num | Tok::Fmt => None,
    }
}

impl From<Jq> for String {
    fn from(program: Jq) -> Self {
        program.text
    }
}

impl PartialEq for Jq {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Jq {}

impl fmt::Debug for Jq {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Jq").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests {
    use httparse::Header;

    use super::*;

    fn wants(program: &str, lines: &[(&str, &str)]) -> bool {
        let headers: Vec<Header<'_>> =
            lines.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        let head = Head { method: "GET", target: "/", authority: Some("shop.local"), headers: &headers };
        Jq::try_from(program.to_owned()).unwrap().matches(&head)
    }

    #[test]
    fn a_program_judges_each_header_line() {
        let user = [("Accept", "*/*"), ("X-User", "ann")];
        for (program, wanted) in [
            (r#"test("^x-user: ann$")"#, true),
            (r#"startswith("x-user: ") and (split(": ")[1] | . == "ann" or . == "bob")"#, true),
            (r#"split(": ") as [$name, $value] | $name == "x-user" and $value != "ann""#, false),
            (r#"capture("^x-user: (?<who>.*)$").who == "ann""#, true),
            // Only `true` is a yes; text is not, and an error is not.
            (".", false),
            ("1", false),
            ("error", false),
            ("tonumber", false),
            (r#". == "host: shop.local""#, true),
            (r#"false, (ltrimstr("x-user: ") | ascii_upcase == "ANN")"#, true),
        ] {
            assert_eq!(wants(program, &user), wanted, "{program}");
        }
        let token = [("Authorization", "Bearer e30.eyJzdWIiOiJhbm5pZSJ9.sig")];
        let claim = r#"split(" ")[2]? | split(".")[1]? | @base64d | fromjson | .sub == "annie""#;
        assert!(wants(claim, &token) && !wants(claim, &user));
    }

    #[test]
    fn json_that_is_nested_without_end_is_no_answer_and_no_end_of_the_agent() {
        let program = r#"split(": ")[1] | fromjson | true"#;
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let evil = "[".repeat(100_000);
        let in_strings = format!(r#"["]]{}","[",{}]"#, "]".repeat(500), nested(100));
        let hidden = format!(r#"["\"{}",{}"#, "]".repeat(500), "[".repeat(100_000));
        let objects = r#"{"a":"#.repeat(50_000);
        let comment = format!("{}#\"\n{evil}", "[".repeat(10));
        for (json, wanted) in [
            (nested(DEEPEST).as_str(), true),
            (&nested(DEEPEST + 1), false),
            (&in_strings, true),
            (&evil, false),
            (&hidden, false),
            (&objects, false),
            (&comment, false),
        ] {
            assert_eq!(wants(program, &[("x-json", json)]), wanted, "{}…", &json[..json.len().min(20)]);
        }
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &evil);
        assert!(!wants(r#"split(": ")[1] | @base64d | fromjson | true"#, &[("x-json", &encoded)]));
    }

    #[test]
    fn a_program_that_cannot_be_or_could_run_for_ever_is_refused_with_its_reason() {
        for (program, why) in [
            ("test(", "is missing"),
            ("", "is missing"),
            ("test(\"a\"; \"b\"; \"c\")", "there is no `test`"),
            ("def f: f; f", "`def` cannot be used here"),
            ("recurse(.)", "`recurse` cannot be used here"),
            ("\"\\(range(infinite))\"", "`range` cannot be used here"),
            ("[..]", "`..` cannot be used here"),
            ("env.HOME", "`env` cannot be used here"),
            ("$ENV.HOME", "`$ENV` cannot be used here"),
            ("halt", "`halt` cannot be used here"),
            ("$x", "there is no `$x`"),
        ] {
            let error = Jq::try_from(program.to_owned()).unwrap_err();
            assert!(error.contains(why), "{program}: {error}");
        }
        assert!(Jq::try_from(" ".repeat(LONGEST + 1)).is_err());
    }
}
