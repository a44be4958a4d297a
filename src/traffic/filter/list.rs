//! `all_of` and `any_of`: conditions in a list, none of which is a list itself.

use serde::{Deserialize, Serialize};

use super::kind::IsOver;
use super::{Answer, Body, Filter};
use crate::traffic::Head;

/// At least one condition: an empty `all_of` would match everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Filter>")]
pub struct List(Vec<Filter>);

// === impl List ===

impl List {
    /// The conditions, those that read a body last.
    pub fn iter(&self) -> impl Iterator<Item = &Filter> {
        self.0.iter()
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The answer of `all_of`: `No` before `Body` before `Yes`, so that a body is
    /// waited for only where every other condition matched.
    pub(super) fn all(&self, head: &Head<'_>, body: Body<'_>, is_over: IsOver<'_>) -> Answer {
        let mut all = Answer::Yes;
        for filter in &self.0 {
            match filter.judge(head, body, is_over) {
                Answer::No => return Answer::No,
                Answer::Body => all = Answer::Body,
                Answer::Yes => {}
            }
        }
        all
    }

    /// The answer of `any_of`: `Yes` before `Body` before `No`.
    pub(super) fn any(&self, head: &Head<'_>, body: Body<'_>, is_over: IsOver<'_>) -> Answer {
        let mut any = Answer::No;
        for filter in &self.0 {
            match filter.judge(head, body, is_over) {
                Answer::Yes => return Answer::Yes,
                Answer::Body => any = Answer::Body,
                Answer::No => {}
            }
        }
        any
    }
}

impl TryFrom<Vec<Filter>> for List {
    type Error = &'static str;

    fn try_from(mut filters: Vec<Filter>) -> Result<Self, Self::Error> {
        if filters.is_empty() {
            return Err("a list of conditions needs at least one");
        }
        if filters.iter().any(|filter| matches!(filter, Filter::AllOf(_) | Filter::AnyOf(_))) {
            return Err("`all_of` and `any_of` cannot hold lists themselves");
        }
        // Bodies are parsed last, whatever the order in the configuration.
        filters.sort_by_key(Filter::reads_body);
        Ok(Self(filters))
    }
}
