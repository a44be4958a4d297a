//! JSON paths whose cost multiplies with the size of a body.
//!
//! A query cannot be interrupted. With a body of 64 KiB, `$[?$..a]` (RFC 9535 allows it)
//! takes 25 s in `serde_json_path` 0.7: each value is compared with each other.

use std::iter::Peekable;
use std::str::Chars;

/// How many `..` a path may have: each multiplies by the depth of the body.
const MAX_DESCENTS: usize = 2;

/// How many `,` a path may have: each selects the same values once more, and the
/// segments of a path multiply.
const MAX_COMMAS: usize = 8;

/// The error says why a path, which is a valid one, is refused.
pub(super) fn check(path: &str) -> Result<(), String> {
    let (mut descents, mut commas) = (0, 0);
    let mut characters = path.chars().peekable();
    // The query itself begins with it.
    characters.next_if_eq(&'$');
    while let Some(character) = characters.next() {
        match character {
            '"' | '\'' => skip_string(&mut characters, character),
            '.' if characters.next_if_eq(&'.').is_some() => descents += 1,
            ',' => commas += 1,
            '$' if !is_one_value(characters.clone()) => {
                return Err("a `$` inside of a filter must name one value, like `$.a['b'][0]`".to_owned());
            }
            _ => {}
        }
    }
    if descents > MAX_DESCENTS {
        return Err(format!("it has more than {MAX_DESCENTS} `..`"));
    }
    if commas > MAX_COMMAS {
        return Err(format!("it has more than {MAX_COMMAS} commas"));
    }
    Ok(())
}

/// Skips the rest of a string that began with `quote`.
fn skip_string(characters: &mut Peekable<Chars<'_>>, quote: char) {
    while let Some(character) = characters.next() {
        match character {
            '\\' => _ = characters.next(),
            end if end == quote => return,
            _ => {}
        }
    }
}

/// Whether the segments behind a `$` select at most one value: names and indexes.
fn is_one_value(mut characters: Peekable<Chars<'_>>) -> bool {
    let skip_spaces = |characters: &mut Peekable<Chars<'_>>| {
        while characters.next_if(char::is_ascii_whitespace).is_some() {}
    };
    loop {
        skip_spaces(&mut characters);
        if characters.next_if_eq(&'.').is_some() {
            if characters.next_if(|character| matches!(character, '.' | '*')).is_some() {
                return false;
            }
            while characters.next_if(|character| character.is_alphanumeric() || *character == '_').is_some() {
            }
        } else if characters.next_if_eq(&'[').is_some() {
            skip_spaces(&mut characters);
            match characters.next() {
                Some(quote @ ('"' | '\'')) => skip_string(&mut characters, quote),
                Some(digit) if digit == '-' || digit.is_ascii_digit() => {
                    while characters.next_if(char::is_ascii_digit).is_some() {}
                }
                _ => return false,
            }
            skip_spaces(&mut characters);
            if characters.next() != Some(']') {
                return false;
            }
        } else {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::matching::JsonPath;

    #[test]
    fn a_path_whose_cost_multiplies_is_refused_and_others_are_not() {
        for path in [
            "$[?$..a]",
            "$[?count($..*) == 3]",
            "$.a[?$.*]",
            "$.a[?$[?@.b]]",
            "$[?$['a', 'b']]",
            "$[?$[0:2]]",
            "$[?@.a == 1 && $..b]",
            "$..[?@..[?@..a]]",
            "$..a..b..c",
            "$[*,*,*,*,*][*,*,*,*,*,*]",
        ] {
            let error = JsonPath::compile(path).unwrap_err();
            assert!(error.contains("could take too long"), "{path}: {error}");
        }
        for path in [
            "$",
            "$.order.customer",
            "$..*",
            "$..items[?@..price]",
            "$.a[?@.b == $.c['d'][0].e && @.f == $['g, h, i, j, k, l, m, n, o, p'][-1]].x",
            "$['a..b..c..d..e', \"$..x\"]",
            "$.a[?@.b[?@.c == 'x']]",
        ] {
            assert!(JsonPath::compile(path).is_ok(), "{path}");
        }
    }
}
