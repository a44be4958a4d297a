//! `target`: a path, `{path, namespace}`, or the typed form `{deployment: NAME,
//! container: NAME}`, whose names come from the table of kinds.

use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_untagged::UntaggedEnumVisitor;

use crate::workload::{KINDS, Kind, Target};

/// The live workload.
#[derive(Debug, Default)]
pub struct TargetSection {
    /// Which one.
    pub path: Option<Target>,
    /// Its namespace.
    pub namespace: Option<String>,
}

/// `target.path`: a path, or the typed form.
struct TargetPath(Option<Target>);

/// An object's fields, as far as they were written.
#[derive(Default)]
struct Fields {
    path: Option<TargetPath>,
    namespace: Option<String>,
    container: Option<String>,
    workloads: Vec<(&'static Kind, String)>,
}

/// A field's name in an object.
enum Name {
    Path,
    Namespace,
    Container,
    Workload(&'static Kind),
}

/// Reads a name that is known in an object.
#[derive(Clone, Copy)]
struct KnownNames(&'static [&'static str]);

/// The names in `target.path`.
static IN_PATH: LazyLock<Vec<&str>> =
    LazyLock::new(|| KINDS.iter().map(|kind| kind.field).chain(["container"]).collect());

/// The names in `target`.
static IN_TARGET: LazyLock<Vec<&str>> =
    LazyLock::new(|| ["path", "namespace"].into_iter().chain(IN_PATH.iter().copied()).collect());

// === impl TargetSection ===

impl<'de> Deserialize<'de> for TargetSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        UntaggedEnumVisitor::new()
            .expecting("a target like \"deployment/shop\", or {\"path\": …, \"namespace\": …}")
            .string(|text| Ok(Self { path: Some(text.parse().map_err(Error::custom)?), namespace: None }))
            .map(|map| Fields::read(map, KnownNames(&IN_TARGET))?.section().map_err(Error::custom))
            .deserialize(deserializer)
    }
}

// === impl TargetPath ===

impl<'de> Deserialize<'de> for TargetPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        UntaggedEnumVisitor::new()
            .expecting("a target like \"deployment/shop\", or {\"deployment\": …, \"container\": …}")
            .string(|text| Ok(Self(Some(text.parse().map_err(Error::custom)?))))
            .map(|map| Fields::read(map, KnownNames(&IN_PATH))?.typed().map(Self).map_err(Error::custom))
            .deserialize(deserializer)
    }
}

// === impl Fields ===

impl Fields {
    fn read<'de, A: MapAccess<'de>>(mut map: A, known: KnownNames) -> Result<Self, A::Error> {
        let mut fields = Self::default();
        while let Some(name) = map.next_key_seed(known)? {
            match name {
                Name::Path => fields.path = map.next_value()?,
                Name::Namespace => fields.namespace = map.next_value()?,
                Name::Container => fields.container = map.next_value()?,
                Name::Workload(kind) => fields.workloads.push((kind, map.next_value()?)),
            }
        }
        Ok(fields)
    }

    fn section(self) -> Result<TargetSection, String> {
        if let Some(TargetPath(Some(path))) = &self.path {
            if !self.workloads.is_empty() {
                return Err("`path` and a typed workload exclude each other".to_owned());
            }
            if let Some(container) = &self.container {
                return Err(format!(
                    "`container` does not stand beside `path`: write `{}/container/{container}`",
                    path.path()
                ));
            }
            return Ok(TargetSection { path: Some(path.clone()), namespace: self.namespace });
        }
        let path = self.typed()?;
        Ok(TargetSection { path, namespace: self.namespace })
    }

    /// The workload of the typed form, if one is named.
    fn typed(&self) -> Result<Option<Target>, String> {
        match (&self.workloads[..], &self.container) {
            ([], None) => Ok(None),
            ([], Some(_)) => {
                Err("`container` needs a workload beside it, as in {\"deployment\": \"shop\"}".to_owned())
            }
            ([(kind, name)], container) => {
                let container = container.iter().map(|container| format!("/container/{container}"));
                let path = format!("{}/{name}{}", kind.name, container.collect::<String>());
                path.parse().map(Some).map_err(|error: crate::workload::TargetError| error.to_string())
            }
            ([(one, _), (other, _), ..], _) => {
                Err(format!("`{}` and `{}` exclude each other", one.field, other.field))
            }
        }
    }
}

// === impl KnownNames ===

impl<'de> DeserializeSeed<'de> for KnownNames {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KnownNames {
    type Value = Name;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        if !self.0.contains(&name) {
            return Err(if name == "namespace" {
                E::custom("`namespace` stands beside `path`, not in it")
            } else {
                E::unknown_field(name, self.0)
            });
        }
        Ok(match name {
            "path" => Name::Path,
            "namespace" => Name::Namespace,
            "container" => Name::Container,
            field => {
                let kind = KINDS.iter().find(|kind| kind.field == field);
                Name::Workload(kind.expect("all other known names are fields of kinds"))
            }
        })
    }
}
