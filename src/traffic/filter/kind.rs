//! What a kind of condition has to say about itself, and the macro that makes
//! the filter and the table of kinds from one list.

use std::fmt;

use crate::traffic::{Head, Sample};

/// A condition on a request: one file, and one line in the table of
/// [`super::Filter`].
///
/// Beside this trait, a condition has its wire form as `Serialize` and
/// `Deserialize`, and `TryFrom` of what the configuration holds, with an error
/// that says why it cannot be used.
pub(super) trait Condition: fmt::Display + TryFrom<Self::Written, Error: ToString> {
    /// Where the configuration has it; `None` where users do not write it.
    const SYNTAX: Option<Syntax>;

    /// Whether [`Condition::matches`] needs the body. Bodies are waited for only
    /// where every other condition matched.
    const READS_BODY: bool = false;

    /// The texts that the configuration holds: `String` for one, an array for
    /// several, in the order of [`Syntax::fields`].
    type Written: Written;

    /// Whether a request matches. `body` is the whole body where the condition
    /// reads it, and empty elsewhere. Where `is_over` says so, the judgement has
    /// taken too long, and the request does not match.
    fn matches(&self, head: &Head<'_>, body: &[u8], is_over: IsOver<'_>) -> bool;

    /// Whether a part of the head is beyond the bounds of what the condition looks
    /// at.
    fn overlooks(&self, _: &Head<'_>) -> bool {
        false
    }

    /// Changes a request so that it matches, for the keeper's canary; `None`
    /// where that is not possible. The filter is asked about the result, so a
    /// guess is good enough.
    fn sample(&self, sample: &mut Sample) -> Option<()>;
}

/// Says whether a judgement has taken too long.
pub(in crate::traffic) type IsOver<'a> = &'a dyn Fn() -> bool;

/// How the configuration spells a condition.
///
/// The names are those of mirrord's own configuration, so that existing files
/// mean the same here.
#[derive(Debug)]
pub struct Syntax {
    /// The field of `http_filter`: `header_filter`.
    pub filter: &'static str,
    /// A sentence about this field for the documentation.
    pub meaning: &'static str,
    /// The environment variable that stands for this field, where one does.
    pub variable: Option<&'static str>,
    /// The fields of a condition in `all_of` and `any_of`, each with a text. The
    /// value of [`Syntax::filter`] is the text itself where this is one field, and
    /// an object of these fields where they are several.
    pub fields: &'static [&'static str],
    /// More about each of these where they are several; empty where it is one.
    pub parts: &'static [Part],
}

/// One of several fields that make a condition.
#[derive(Debug)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// A sentence about it for the documentation.
    pub meaning: &'static str,
    /// The only values that it takes; empty for any text.
    pub values: &'static [&'static str],
}

/// A kind of condition, as the configuration asks for it.
#[derive(Debug)]
pub struct FilterKind {
    /// The name in the wire form.
    pub name: &'static str,
    /// How it is spelled; `None` where users do not write it.
    pub syntax: Option<Syntax>,
    pub(super) compile: fn(Vec<String>) -> Result<super::Filter, String>,
}

/// The texts of one condition: as many as its [`Syntax`] has fields.
pub(super) trait Written {
    fn of(texts: Vec<String>) -> Self;
}

// === impl FilterKind ===

impl FilterKind {
    /// Makes the filter from the texts that the configuration holds, one for each
    /// of [`Syntax::fields`]. The error says why they cannot be used.
    ///
    /// # Panics
    /// If the number of texts is another.
    pub fn compile(&self, texts: Vec<String>) -> Result<super::Filter, String> {
        (self.compile)(texts)
    }
}

// === impl Written ===

impl Written for String {
    fn of(texts: Vec<String>) -> Self {
        let [text] = Written::of(texts);
        text
    }
}

impl<const N: usize> Written for [String; N] {
    fn of(texts: Vec<String>) -> Self {
        texts.try_into().expect("the configuration reads one text for each field")
    }
}

/// Makes from one list: [`super::Filter`] with its wire form, the table
/// [`super::KINDS`], and the calls of each kind's own functions.
macro_rules! kinds {
    ($($(#[$docs:meta])* $name:literal = $kind:ident($condition:ty),)+) => {
        /// Which requests a session wants: everything, one condition, or a flat list of
        /// conditions.
        ///
        /// The wire form is `"everything"`, or an object with one field: the kind's name,
        /// and the value as the condition serialises it.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Filter {
            /// Every request: the filter of mirrors without a condition.
            Everything,
            $($(#[$docs])* #[serde(rename = $name)] $kind($condition),)+
            /// Requests that match every condition of the list.
            AllOf(List),
            /// Requests that match at least one condition of the list.
            AnyOf(List),
        }

        /// The kinds of condition, in the order in which messages list them.
        pub static KINDS: &[FilterKind] = &[$(
            FilterKind {
                name: $name,
                syntax: <$condition as Condition>::SYNTAX,
                compile: |texts| {
                    let written = <<$condition as Condition>::Written as Written>::of(texts);
                    match <$condition>::try_from(written) {
                        Ok(condition) => Ok(Filter::$kind(condition)),
                        Err(why) => Err(why.to_string()),
                    }
                },
            },
        )+];

        impl Filter {
            /// Judges a request. With the body [`Body::Unread`], the answer may be
            /// [`Answer::Body`]; with any other it never is. Once `is_over` says so, a
            /// condition that is slow does not match.
            pub fn judge(&self, head: &Head<'_>, body: Body<'_>, is_over: &dyn Fn() -> bool) -> Answer {
                match self {
                    Self::Everything => Answer::Yes,
                    $(Self::$kind(condition) => Answer::of_condition(condition, head, body, is_over),)+
                    Self::AllOf(list) => list.all(head, body, is_over),
                    Self::AnyOf(list) => list.any(head, body, is_over),
                }
            }

            /// Whether the filter does not look at a part of the head, because of its
            /// length.
            pub fn overlooks(&self, head: &Head<'_>) -> bool {
                match self {
                    Self::Everything => false,
                    $(Self::$kind(condition) => condition.overlooks(head),)+
                    Self::AllOf(list) | Self::AnyOf(list) => list.iter().any(|filter| filter.overlooks(head)),
                }
            }

            /// Changes a request so that it probably matches; `None` where that is not
            /// possible.
            pub(in crate::traffic) fn sample(&self, sample: &mut Sample) -> Option<()> {
                match self {
                    Self::Everything => Some(()),
                    $(Self::$kind(condition) => condition.sample(sample),)+
                    Self::AllOf(list) => list.iter().try_for_each(|filter| filter.sample(sample)),
                    Self::AnyOf(list) => {
                        *sample = list.iter().find_map(Sample::of)?;
                        Some(())
                    }
                }
            }

            /// Whether a body is needed, whatever the head is.
            const fn reads_body(&self) -> bool {
                match self {
                    $(Self::$kind(_) => <$condition as Condition>::READS_BODY,)+
                    Self::Everything | Self::AllOf(_) | Self::AnyOf(_) => false,
                }
            }
        }

        impl fmt::Display for Filter {
            /// The requests that match, for a sentence.
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Everything => formatter.write_str("all requests"),
                    $(Self::$kind(condition) => condition.fmt(formatter),)+
                    Self::AllOf(list) => write!(formatter, "requests that match all of {} conditions", list.len()),
                    Self::AnyOf(list) => write!(formatter, "requests that match any of {} conditions", list.len()),
                }
            }
        }
    };
}

pub(super) use kinds;
