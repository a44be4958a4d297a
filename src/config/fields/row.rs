//! Builds the rows of the table.

use std::borrow::Cow;

use super::{Fate, Field, FieldType, Honoured};

pub(super) fn field(path: impl Into<Cow<'static, str>>, fate: Fate) -> Field {
    Field { path: path.into(), fate, is_off_if_false: false, is_on_if_true: false, is_off_if_empty: false }
}

pub(super) fn honoured(path: impl Into<Cow<'static, str>>, kind: FieldType) -> Field {
    let honoured = Honoured {
        kind,
        meaning: "".into(),
        default: "",
        flag: "",
        variables: Vec::new(),
        is_required: false,
        finds: false,
    };
    field(path, Fate::Honoured(honoured))
}

// === impl Field ===

impl Field {
    fn with(mut self, change: impl FnOnce(&mut Honoured)) -> Self {
        if let Fate::Honoured(honoured) = &mut self.fate {
            change(honoured);
        }
        self
    }

    pub(super) fn meaning(self, meaning: impl Into<Cow<'static, str>>) -> Self {
        self.with(|honoured| honoured.meaning = meaning.into())
    }

    pub(super) fn default(self, default: &'static str) -> Self {
        self.with(|honoured| honoured.default = default)
    }

    pub(super) fn flag(self, flag: &'static str) -> Self {
        self.with(|honoured| honoured.flag = flag)
    }

    pub(super) fn variables(self, variables: &[&'static str]) -> Self {
        self.with(|honoured| honoured.variables = variables.to_vec())
    }

    pub(super) fn required(self) -> Self {
        self.with(|honoured| honoured.is_required = true)
    }

    pub(super) fn finds(self) -> Self {
        self.with(|honoured| honoured.finds = true)
    }

    pub(super) fn off_if_false(mut self) -> Self {
        self.is_off_if_false = true;
        self
    }

    pub(super) fn on_if_true(mut self) -> Self {
        self.is_on_if_true = true;
        self
    }

    pub(super) fn off_if_empty(mut self) -> Self {
        self.is_off_if_empty = true;
        self
    }
}
