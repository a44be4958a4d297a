//! jq programs that answer `true` or something else to one text, with the
//! functions that always end and look at nothing but that text.

mod patterns;

use std::fmt;
use std::sync::Arc;

use jaq_core::box_iter::box_once;
use jaq_core::data::JustLut;
use jaq_core::load::lex::{StrPart, Tok, Token};
use jaq_core::load::{Arena, File, Lexer, Loader};
use jaq_core::native::{run, v};
use jaq_core::{Compiler, Ctx, Cv, Error, Exn, ValXs, Vars, load, unwrap_valr};
use jaq_json::Val;

/// The words that a program may use: enough to examine a text and JSON in it.
/// Left out are those that could run without end (`def`, `recurse`, `range`,
/// `while`, …) and those that look at anything else (`env`, `input`, `now`, …).
const WORDS: &str = "\
    true false null and or not if then elif else end try catch as empty error select any all \
    map first last length type test match capture scan split splits sub gsub startswith \
    endswith contains inside in has index rindex indices ltrimstr rtrimstr trim ltrim rtrim \
    ascii_downcase ascii_upcase tostring tonumber fromjson tojson keys values to_entries join \
    add sort unique reverse min max strings isempty";
/// The function that reads JSON in the text, replaced by one with a bound.
const FROM_JSON: &str = "fromjson";
/// How many answers of a program to one text are examined.
const MAX_ANSWERS: usize = 1_000;
/// How deep JSON in the text may be nested, as in `serde_json`. jq's parser calls
/// itself for each level, and a stack overflow ends the process.
const MAX_DEPTH: usize = 128;
/// The longest program, in bytes.
const MAX_PROGRAM_BYTES: usize = 4 * 1024;

/// A compiled jq program.
#[derive(Clone)]
pub struct Program {
    text: String,
    compiled: Arc<jaq_core::Filter<JustLut<Val>>>,
}

// === impl Program ===

impl Program {
    /// Compiles `text`. The error says why it cannot be used.
    pub fn compile(text: &str) -> Result<Self, String> {
        let problem = |why: String| format!("`{text}` cannot be used as a jq program: {why}");
        if text.len() > MAX_PROGRAM_BYTES {
            return Err(format!("a jq program may have at most {MAX_PROGRAM_BYTES} bytes"));
        }
        let unexpected = |wanted: &str, found: &str| match found {
            "" => format!("a {wanted} is missing at its end"),
            found => format!("a {wanted} is missing before `{found}`"),
        };
        let tokens = Lexer::new(text).lex().map_err(|errors| {
            let (wanted, found) = &errors[0];
            problem(unexpected(wanted.as_str(), found))
        })?;
        if let Some(word) = tokens.iter().find_map(forbidden) {
            return Err(problem(format!("`{word}` is not available here")));
        }
        let arena = Arena::default();
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let of_json = jaq_json::funs().filter(|(name, ..)| *name != FROM_JSON);
        let of_std = jaq_std::funs().filter(|(name, ..)| !patterns::NAMES.contains(name));
        let functions = jaq_core::funs()
            .chain(of_std)
            .chain(patterns::functions())
            .chain(of_json)
            .chain([run((FROM_JSON, v(0), |(_, text): Cv<'_, JustLut<Val>>| from_json(&text)))]);
        let modules =
            Loader::new(definitions).load(&arena, File { code: text, path: () }).map_err(|errors| {
                problem(match errors.first() {
                    Some((_, load::Error::Parse(errors))) if !errors.is_empty() => {
                        unexpected(errors[0].0.as_str(), errors[0].1)
                    }
                    _ => "it could not be parsed".to_owned(),
                })
            })?;
        let compiled = Compiler::default().with_funs(functions).compile(modules).map_err(|errors| {
            let undefined = errors.iter().flat_map(|(_, names)| names).next();
            problem(undefined.map_or_else(
                || "it could not be compiled".to_owned(),
                |(name, _)| format!("`{name}` is not defined for this number of arguments"),
            ))
        })?;
        Ok(Self { compiled: Arc::new(compiled), text: text.to_owned() })
    }

    /// The program as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether one of the program's answers to `text` is `true`. An error counts
    /// as an answer that is not.
    pub fn is_true_for(&self, text: String) -> bool {
        let context = Ctx::<JustLut<Val>>::new(&self.compiled.lut, Vars::new([]));
        let answers = self.compiled.id.run((context, Val::from(text))).map(unwrap_valr);
        answers.take(MAX_ANSWERS).any(|answer| answer == Ok(Val::from(true)))
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Program {}

impl fmt::Debug for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Program").field(&self.text).finish()
    }
}

/// `fromjson`, which refuses JSON that is nested too deep.
fn from_json<'a>(text: &Val) -> ValXs<'a, Val> {
    let refusal = |why: String| Exn::from(Error::str(why));
    let bytes = match text {
        Val::TStr(bytes) | Val::BStr(bytes) if is_shallow(bytes) => bytes,
        _ => return box_once(Err(refusal("not JSON, or nested too deep".to_owned()))),
    };
    let mut values = Vec::new();
    for value in jaq_json::read::parse_many(bytes) {
        let is_last = value.is_err();
        values.push(value.map_err(|error| refusal(error.to_string())));
        if is_last {
            // The parser would repeat this error without end.
            break;
        }
    }
    Box::new(values.into_iter())
}

/// Whether brackets outside of strings and comments are nested at most
/// [`MAX_DEPTH`] levels.
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
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

/// The word that a program may not use, if the token is or holds one.
fn forbidden<'a>(token: &Token<&'a str>) -> Option<&'a str> {
    match &token.1 {
        Tok::Word => WORDS.split(' ').all(|word| word != token.0).then_some(token.0),
        Tok::Sym => (token.0 == "..").then_some(token.0),
        Tok::Var => (token.0 == "$ENV" || token.0 == "$__prog_args").then_some(token.0),
        Tok::Str(parts) => parts.iter().find_map(|part| match part {
            StrPart::Term(term) => forbidden(term),
            StrPart::Str(_) | StrPart::Char(_) => None,
        }),
        Tok::Block(tokens) => tokens.iter().find_map(forbidden),
        Tok::Num | Tok::Fmt => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_true(program: &str, text: &str) -> bool {
        Program::compile(program).unwrap().is_true_for(text.to_owned())
    }

    #[test]
    fn only_true_counts_as_an_answer() {
        for (program, wanted) in [
            (r#"test("^x-user: ann$")"#, true),
            (r#"split(": ") as [$name, $value] | $name == "x-user" and $value != "ann""#, false),
            (r#"capture("^x-user: (?<who>.*)$").who == "ann""#, true),
            (".", false),
            ("1", false),
            ("error", false),
            ("tonumber", false),
            (r#"false, (ltrimstr("x-user: ") | ascii_upcase == "ANN")"#, true),
        ] {
            assert_eq!(is_true(program, "x-user: ann"), wanted, "{program}");
        }
    }

    #[test]
    fn deeply_nested_json_does_not_match_and_does_not_overflow_the_stack() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let evil = "[".repeat(100_000);
        let in_strings = format!(r#"["]]{}","[",{}]"#, "]".repeat(500), nested(100));
        let hidden = format!(r#"["\"{}",{}"#, "]".repeat(500), "[".repeat(100_000));
        let objects = r#"{"a":"#.repeat(50_000);
        let comment = format!("{}#\"\n{evil}", "[".repeat(10));
        for (json, wanted) in [
            (nested(MAX_DEPTH).as_str(), true),
            (&nested(MAX_DEPTH + 1), false),
            (&in_strings, true),
            (&evil, false),
            (&hidden, false),
            (&objects, false),
            (&comment, false),
        ] {
            assert_eq!(is_true("fromjson | true", json), wanted, "{}…", &json[..json.len().min(20)]);
        }
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &evil);
        assert!(!is_true("@base64d | fromjson | true", &encoded));
    }

    #[test]
    fn a_program_that_is_invalid_or_could_run_without_end_is_refused_with_the_reason() {
        for (program, why) in [
            ("test(", "is missing"),
            ("", "is missing"),
            ("test(\"a\"; \"b\"; \"c\")", "`test` is not defined"),
            ("def f: f; f", "`def` is not available here"),
            ("recurse(.)", "`recurse` is not available here"),
            ("\"\\(range(infinite))\"", "`range` is not available here"),
            ("[..]", "`..` is not available here"),
            ("env.HOME", "`env` is not available here"),
            ("$ENV.HOME", "`$ENV` is not available here"),
            ("halt", "`halt` is not available here"),
            ("$x", "`$x` is not defined"),
        ] {
            let error = Program::compile(program).unwrap_err();
            assert!(error.contains(why), "{program}: {error}");
        }
        assert!(Program::compile(&" ".repeat(MAX_PROGRAM_BYTES + 1)).is_err());
    }
}
