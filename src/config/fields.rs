//! The one table of the configuration: the path of every field that mirrord's
//! file format has, and its fate. The reader, its warnings,
//! `docs/configuration.md` and `mirrord-schema.json` are made from it.

pub(super) mod kind;
mod row;
mod table;

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

pub use kind::FieldType;

use super::path;

/// A field, and what a preview does with it.
pub struct Field {
    /// The names from the top, joined by `.`; `[]` stands for the items of a list.
    pub path: Cow<'static, str>,
    /// What a preview does with it.
    pub fate: Fate,
    /// Whether `false` means the same as leaving it out.
    pub is_off_if_false: bool,
    /// Whether `true` means the same as leaving it out.
    pub is_on_if_true: bool,
    /// Whether an empty list or object means the same as leaving it out.
    pub is_off_if_empty: bool,
}

/// What a preview does with a field.
pub enum Fate {
    /// It is used.
    Honoured(Honoured),
    /// It has no effect, and a warning says so.
    Ignored(Reason),
    /// It is an error, because ignoring it would mislead or harm.
    Refused(RefusedField),
}

/// A field that is used.
pub struct Honoured {
    /// What it may hold.
    pub kind: FieldType,
    /// A sentence for the documentation.
    pub meaning: Cow<'static, str>,
    /// What holds where no source sets it; empty for nothing.
    pub default: &'static str,
    /// The stronger flag; empty where there is none.
    pub flag: &'static str,
    /// The stronger variables.
    pub variables: Vec<&'static str>,
    /// Whether its object is wrong without it.
    pub is_required: bool,
    /// Whether it helps `status`, `stop` and `extend` to find environments.
    pub finds: bool,
}

/// Why a field has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Previews have no local process.
    LocalRuns,
    /// Previews have no operator.
    Operator,
    /// Previews have agents of their own.
    OtherAgents,
    /// Filters cannot be limited to ports.
    EveryPort,
}

/// A field that cannot be honoured.
pub struct RefusedField {
    /// What follows the path in the error.
    pub what: &'static str,
    /// What ignoring the field would do; empty where `what` says enough.
    pub harm: &'static str,
    /// What to do; empty for removing the field.
    pub hint: &'static str,
}

/// Every field, in the order of the documentation.
pub static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(table::rows);

/// The fields directly below `parent`, which is empty for the top.
pub(super) fn below(parent: &str) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |field| field.parent() == parent)
}

/// The field at `path`, if the table has it.
pub(super) fn at(path: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.path == path)
}

// === impl Field ===

impl Field {
    /// The path of the object that holds it, empty at the top.
    pub fn parent(&self) -> &str {
        path::split(&self.path).0
    }

    /// Its name in that object.
    pub fn name(&self) -> &str {
        path::split(&self.path).1
    }

    /// What it may hold, where it is used.
    pub fn honoured(&self) -> Option<&Honoured> {
        match &self.fate {
            Fate::Honoured(honoured) => Some(honoured),
            Fate::Ignored(_) | Fate::Refused(_) => None,
        }
    }
}

// === impl Reason ===

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::LocalRuns => "it belongs to local runs",
            Self::Operator => "it is for mirrord's operator, which previews do not use",
            Self::OtherAgents => "it is for mirrord's own agents, which previews do not use",
            Self::EveryPort => "the filter applies to every captured port",
        })
    }
}
