//! jq's functions with regular expressions, each expression compiled once.
//!
//! `jaq_std` (3.0) compiles the expression at each call, that is for each header line,
//! and without a limit of ours for its size. These do the same as its own, with the same
//! engine. jq's `test`, `match`, `capture`, `scan`, `split`, `sub` and `gsub` are defined
//! by them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use jaq_core::data::JustLut;
use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{Cv, ValR, ValT as _};
use jaq_json::Val;
use jaq_std::ValT as _;
use regex_bites::bytes::{Captures, Regex, RegexBuilder};

/// The names of the functions.
pub(super) const NAMES: [&str; 3] = ["matches", "split_matches", "split_"];

/// The largest size of a compiled expression, in bytes.
const MAX_SIZE: usize = 256 * 1024;

/// How many compiled expressions are kept. A program may make them of its input, so the
/// number has no other bound.
const MAX_COMPILED: usize = 64;

/// An expression, and its flags.
type Written = (String, String);

thread_local! {
    static COMPILED: RefCell<HashMap<Written, Rc<Regex>>> = RefCell::default();
}

type Error = jaq_core::Error<Val>;

/// What a function answers with: the parts that match, those between them, or both.
#[derive(Clone, Copy)]
enum Parts {
    Matches,
    Both,
    Between,
}

/// The functions, in the order of [`NAMES`].
pub(super) fn functions() -> [Fun<JustLut<Val>>; 3] {
    let [matches, both, between] = NAMES;
    [
        run((matches, v(2), |call| bome(answer(call, Parts::Matches)))),
        run((both, v(2), |call| bome(answer(call, Parts::Both)))),
        run((between, v(2), |call| bome(answer(call, Parts::Between)))),
    ]
}

fn answer(mut call: Cv<'_, JustLut<Val>>, parts: Parts) -> ValR<Val> {
    let (flags, expression) = (call.0.pop_var(), call.0.pop_var());
    let input = call.1;
    let (flags, expression) = (text_of(&flags)?, text_of(&expression)?);
    let regex = compiled(expression, flags).map_err(Error::str)?;
    let bytes = input.as_utf8_bytes().ok_or_else(|| Error::str("only a string can be matched"))?;
    let (is_global, skips_empty) = (flags.contains('g'), flags.contains('n'));
    let (mut answers, mut end) = (Vec::new(), 0);
    let mut characters = Characters { bytes, at: 0, count: 0 };
    for captures in regex.captures_iter(bytes) {
        let Some(whole) = captures.get(0) else { continue };
        if skips_empty && whole.as_bytes().is_empty() {
            continue;
        }
        if !matches!(parts, Parts::Matches) {
            answers.push(input.as_sub_str(&bytes[end..whole.start()]));
            end = whole.end();
        }
        if !matches!(parts, Parts::Between) {
            answers.push(groups(&input, &regex, &captures, &mut characters)?);
        }
        if !is_global {
            break;
        }
    }
    if !matches!(parts, Parts::Matches) {
        answers.push(input.as_sub_str(&bytes[end..]));
    }
    Ok(answers.into_iter().collect())
}

/// The groups of one match, the whole of it first.
fn groups(input: &Val, regex: &Regex, captures: &Captures<'_>, characters: &mut Characters<'_>) -> ValR<Val> {
    let text = |text: &str| Val::from(text.to_owned());
    if let Some(whole) = captures.get(0) {
        characters.number_of(whole.start());
    }
    let begin = *characters;
    let group = |(found, name): (Option<regex_bites::bytes::Match<'_>>, Option<&str>)| {
        let found = found?;
        // Groups need not begin in the order of their numbers.
        let mut characters = begin;
        let offset = characters.number_of(found.start());
        let length = characters.number_of(found.end()) - offset;
        let fields = [
            ("offset", number(offset)),
            ("length", number(length)),
            ("string", input.as_sub_str(found.as_bytes())),
        ];
        let name = name.map(|name| ("name", text(name)));
        Some(Val::from_map(fields.into_iter().chain(name).map(|(name, value)| (text(name), value))))
    };
    captures.iter().zip(regex.capture_names()).filter_map(group).collect()
}

fn number(number: usize) -> Val {
    Val::from(isize::try_from(number).unwrap_or(isize::MAX))
}

fn text_of(value: &Val) -> Result<&str, Error> {
    let bytes = value.as_utf8_bytes().ok_or_else(|| Error::str("a pattern and its flags are strings"))?;
    std::str::from_utf8(bytes).map_err(Error::str)
}

/// The compiled expression. The error says why there is none.
fn compiled(expression: &str, flags: &str) -> Result<Rc<Regex>, String> {
    COMPILED.with_borrow_mut(|compiled| {
        let written = (expression.to_owned(), flags.to_owned());
        if let Some(known) = compiled.get(&written) {
            return Ok(Rc::clone(known));
        }
        let regex = Rc::new(compile(expression, flags)?);
        if compiled.len() >= MAX_COMPILED {
            compiled.clear();
        }
        compiled.insert(written, Rc::clone(&regex));
        Ok(regex)
    })
}

fn compile(expression: &str, flags: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(expression);
    builder.size_limit(MAX_SIZE);
    for flag in flags.chars() {
        match flag {
            'g' | 'n' => &mut builder,
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'p' => builder.multi_line(true).dot_matches_new_line(true),
            'l' => builder.swap_greed(true),
            'x' => builder.ignore_whitespace(true),
            other => return Err(format!("invalid regex flag: {other}")),
        };
    }
    builder.build().map_err(|error| format!("invalid regex: {error}"))
}

/// A place in a text, in bytes and in characters.
#[derive(Clone, Copy)]
struct Characters<'a> {
    bytes: &'a [u8],
    at: usize,
    count: usize,
}

// === impl Characters ===

impl Characters<'_> {
    /// Advances to the byte `at`, and returns how many characters come before it.
    fn number_of(&mut self, at: usize) -> usize {
        let begins = |byte: &&u8| !matches!(**byte, 0x80..=0xBF);
        let passed = self.bytes.get(self.at..at).unwrap_or_default();
        self.count += passed.iter().filter(begins).count();
        self.at = self.at.max(at);
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::Program;

    #[test]
    fn expressions_mean_the_same_as_in_jaq() {
        for (program, text) in [
            (
                r#"[match("(?<a>é)(x)?"; "g") | .offset, .length, .string, (.captures | length)] == [0,1,"é",1,3,2,"éx",2]"#,
                "éaxéx",
            ),
            (r#"[match("a(?<n>.)").captures[].name] == ["n"]"#, "xab"),
            (r#"[scan("[a-z]+")] == ["ab", "cd"]"#, "ab 1 cd"),
            (r#"[splits(", *")] == ["a", "b", "c"]"#, "a,b,  c"),
            (r#"split("X"; "i") == ["a", "b", ""]"#, "axbx"),
            (r#"sub("(?<k>[a-z])="; "\(.k):") == "a:1 b=2""#, "a=1 b=2"),
            (r#"gsub("(?<k>[a-z])="; "\(.k):") == "a:1 b:2""#, "a=1 b=2"),
            (r#"gsub("";"-") == "-a-b-""#, "ab"),
            (r#"[match("";"gn")] == []"#, "ab"),
            (r#"capture("(?<y>[0-9]+)-(?<m>[0-9]+)") == {"y": "2026", "m": "11"}"#, "on 2026-11"),
            (r#"test("A.B"; "ips")"#, "a\nb"),
            (r#"[test("a"; "z")?] == []"#, "a"),
        ] {
            assert!(Program::compile(program).unwrap().is_true_for(text.to_owned()), "{program} {text}");
        }
    }

    #[test]
    fn an_expression_is_compiled_once_and_few_are_kept() {
        let first = compiled("^a$", "").unwrap();
        assert!(Rc::ptr_eq(&first, &compiled("^a$", "").unwrap()));
        assert!(!Rc::ptr_eq(&first, &compiled("^a$", "i").unwrap()));
        for other in 0..1_000 {
            compiled(&format!("x{other}"), "").unwrap();
            assert!(COMPILED.with_borrow(HashMap::len) <= MAX_COMPILED);
        }
    }

    #[test]
    fn a_large_expression_is_an_error_and_does_not_match() {
        assert!(compiled("((a{100}){100}){100}", "").unwrap_err().contains("invalid regex"));
        let program = Program::compile(r#"test("((a{100}){100}){100}")"#).unwrap();
        assert!(!program.is_true_for("a".repeat(100)));
    }
}
