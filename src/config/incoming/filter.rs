//! `http_filter`: which requests, as mirrord spells it. Filters are compiled
//! here, so that one that cannot be used is found before the cluster is
//! contacted.
//!
//! Names come from the table of kinds in [`crate::traffic::filter`]: a new kind
//! changes nothing here.

mod form;

use anyhow::Result;

use crate::config::environment::Environment;
use crate::config::wrong;
use crate::problem::Problem;
use crate::traffic::Filter;
use crate::traffic::filter::{FilterKind, KINDS, List, Syntax};
use crate::words;
use form::{Condition, FilterForm};

pub(super) use form::FilterSection;

/// The kinds of condition that users write.
fn kinds() -> impl Iterator<Item = (&'static FilterKind, &'static Syntax)> {
    KINDS.iter().filter_map(|kind| Some((kind, kind.syntax.as_ref()?)))
}

/// The filter of the environment, where it has one.
pub(super) fn of_environment(environment: &Environment) -> Result<Option<Filter>> {
    let mut set = kinds().filter_map(|(kind, syntax)| {
        let variable = syntax.variable?;
        Some((variable, kind, environment.text(variable)?))
    });
    let Some((variable, kind, text)) = set.next() else { return Ok(None) };
    match set.next() {
        None => compiled(kind, vec![text], variable).map(Some),
        Some((other, ..)) => Err(several(format!("`{variable}` and `{other}` are both set")).into()),
    }
}

// === impl FilterSection ===

impl FilterSection {
    /// The filter; `place` is the section's path.
    pub(super) fn resolve(self, place: &str) -> Result<Filter> {
        let mut fields = self.0.into_iter();
        let Some((name, written)) = fields.next() else {
            // An empty filter would match everything, which is never intended.
            return Err(wrong(format!("`{place}` holds no filter"))
                .because_of(format!("it must hold {}", words::one_of(&form::SECTION)))
                .hint("add one, or remove `http_filter`")
                .into());
        };
        if let Some((other, _)) = fields.next() {
            return Err(several(format!("`{place}` has both `{name}` and `{other}`")).into());
        }
        let place = format!("{place}.{name}");
        match written {
            FilterForm::Condition(kind, texts) => compiled(kind, texts, &place),
            FilterForm::List(make, conditions) => {
                let conditions = conditions.into_iter().enumerate();
                let filters: Result<Vec<Filter>> = conditions
                    .map(|(index, condition)| condition.resolve(&format!("{place}[{index}]")))
                    .collect();
                Ok(make(List::try_from(filters?).map_err(|why| unusable(&place, why))?))
            }
        }
    }
}

// === impl Condition ===

impl Condition {
    /// The filter; `place` is the condition's path.
    fn resolve(self, place: &str) -> Result<Filter> {
        let Self(texts) = self;
        let is_meant = |(_, syntax): &(&FilterKind, &Syntax)| {
            syntax.fields.len() == texts.len() && syntax.fields.iter().all(|name| texts.contains_key(name))
        };
        let Some((kind, syntax)) = kinds().find(is_meant) else {
            let names: Vec<&str> =
                form::CONDITION.iter().copied().filter(|name| texts.contains_key(name)).collect();
            let why = match &names[..] {
                [] => "it is empty".to_owned(),
                names => format!("it has `{}`", names.join("`, `")),
            };
            return Err(wrong(format!("`{place}` is not a condition"))
                .because_of(why)
                .hint(format!("a condition is one of {}", conditions()))
                .into());
        };
        // The first field gives a condition of several its name.
        let place = format!("{place}.{}", syntax.fields[0]);
        compiled(kind, form::in_order(syntax, texts), &place)
    }
}

/// The conditions of a list as they are written: `{header}, {path} or …`.
fn conditions() -> String {
    let condition = |syntax: &Syntax| {
        let field = |name: &&str| match form::values(name) {
            [] => (*name).to_owned(),
            values => format!("{name}: \"{}\"", values.join("\" or \"")),
        };
        let fields: Vec<String> = syntax.fields.iter().map(field).collect();
        format!("{{{}}}", fields.join(", "))
    };
    let mut all: Vec<String> = kinds().map(|(_, syntax)| condition(syntax)).collect();
    let last = all.pop().expect("users can write several kinds of condition");
    format!("{} or {last}", all.join(", "))
}

fn compiled(kind: &FilterKind, texts: Vec<String>, place: &str) -> Result<Filter> {
    kind.compile(texts).map_err(|why| unusable(place, &why).into())
}

fn unusable(place: &str, why: &str) -> Problem {
    wrong(format!("`{place}` cannot be used")).because_of(why)
}

fn several(what: String) -> Problem {
    wrong(what).hint("one filter can be used; join conditions with `all_of` or `any_of`")
}
