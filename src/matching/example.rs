//! A text in which a regular expression occurs, for a probe that a filter should
//! match.

use regex_syntax::hir::{Class, Hir, HirKind};

/// A short text in which `pattern` occurs. `None` where the pattern needs
/// look-around or back-references. Anchors and word boundaries are not
/// considered, so the caller has to try the text.
pub(super) fn of(pattern: &str) -> Option<String> {
    let mut text = String::new();
    write(&regex_syntax::parse(pattern).ok()?, &mut text)?;
    Some(text)
}

/// Appends a short text that `hir` matches.
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

/// A character of a class: a letter or a digit if it has one, else another
/// printable ASCII character.
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
    use crate::matching::{Case, Pattern};

    #[test]
    fn a_pattern_occurs_in_its_example() {
        for text in ["^x-user: ann$", "x-pr: (12|13)", "baggage: .*session=[a-z]+-\\d{2,}", "^/api/v[0-9]+$"]
        {
            let pattern = Pattern::compile(text, Case::Ignored).unwrap();
            let example = pattern.example().unwrap();
            assert!(pattern.search().is_match(example.as_bytes()), "{text}: {example}");
        }
        let ahead = Pattern::compile("^x-user: (?!bot)", Case::Ignored).unwrap();
        assert_eq!(ahead.example(), None);
    }
}
