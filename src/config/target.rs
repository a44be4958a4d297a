//! `target`: a path, `{path, namespace}`, or the typed form `{deployment: NAME, container: NAME}`.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::workload::{KINDS, Target};

/// The live workload.
#[derive(Debug, Default)]
pub struct TargetSection {
    /// Which one.
    pub path: Option<Target>,
    /// Its namespace.
    pub namespace: Option<String>,
}

/// Every field that the object may have, in either form.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Object {
    path: Option<TargetSection>,
    namespace: Option<String>,
    container: Option<String>,
    deployment: Option<String>,
    stateful_set: Option<String>,
    daemon_set: Option<String>,
    replica_set: Option<String>,
    rollout: Option<String>,
    pod: Option<String>,
    service: Option<String>,
    job: Option<String>,
    cron_job: Option<String>,
}

// === impl Object ===

impl Object {
    /// The path of the typed form, if it is one.
    fn typed(&self) -> Result<Option<String>, String> {
        let Self {
            deployment,
            stateful_set,
            daemon_set,
            replica_set,
            rollout,
            pod,
            service,
            job,
            cron_job,
            ..
        } = self;
        let fields = [
            ("deployment", deployment),
            ("stateful_set", stateful_set),
            ("daemon_set", daemon_set),
            ("replica_set", replica_set),
            ("rollout", rollout),
            ("pod", pod),
            ("service", service),
            ("job", job),
            ("cron_job", cron_job),
        ];
        let named: Vec<_> = fields.iter().filter_map(|(field, name)| Some((field, name.as_ref()?))).collect();
        match (&named[..], &self.container) {
            // Of a container beside a path there is something else to say.
            ([], _) if self.path.is_some() => Ok(None),
            ([], None) => Ok(None),
            ([], Some(_)) => {
                Err("`container` needs a workload beside it, as in {\"deployment\": \"shop\"}".to_owned())
            }
            ([(field, name)], container) => {
                let kind = KINDS.iter().find(|kind| kind.field == **field).map_or(**field, |kind| kind.name);
                let container =
                    container.as_ref().map(|container| format!("/container/{container}")).unwrap_or_default();
                Ok(Some(format!("{kind}/{name}{container}")))
            }
            ([(one, _), (other, _), ..], _) => Err(format!("`{one}` and `{other}` exclude each other")),
        }
    }
}

// === impl TargetSection ===

impl<'de> Deserialize<'de> for TargetSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = TargetSection;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a target like \"deployment/shop\", or {\"path\": …, \"namespace\": …}")
            }

            fn visit_unit<E: de::Error>(self) -> Result<TargetSection, E> {
                Ok(TargetSection::default())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TargetSection, E> {
                Ok(TargetSection { path: Some(text.parse().map_err(E::custom)?), namespace: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TargetSection, A::Error> {
                let object = Object::deserialize(MapAccessDeserializer::new(map))?;
                let typed = object.typed().map_err(de::Error::custom)?;
                let inner = object.path.unwrap_or_default();
                if inner.namespace.is_some() {
                    return Err(de::Error::custom("`namespace` stands beside `path`, not in it"));
                }
                let path = inner.path;
                match (path, typed) {
                    (Some(_), Some(_)) => {
                        Err(de::Error::custom("`path` and a typed workload exclude each other"))
                    }
                    (Some(path), None) if object.container.is_some() => {
                        let container = object.container.unwrap_or_default();
                        Err(de::Error::custom(format!(
                            "`container` does not stand beside `path`: write `{}/container/{container}`",
                            path.path()
                        )))
                    }
                    (path, None) => Ok(TargetSection { path, namespace: object.namespace }),
                    (None, Some(typed)) => Ok(TargetSection {
                        path: Some(typed.parse().map_err(de::Error::custom)?),
                        namespace: object.namespace,
                    }),
                }
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
