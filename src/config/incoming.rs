//! `feature.network.incoming`: what happens to requests, at which ports, to
//! which of them.

mod filter;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::Result;
use serde::de::{self, Deserializer, IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::scalar::{Mode, Port};
use super::wrong;
use crate::traffic::Filter;
use filter::FilterSection;

/// The resolved answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incoming {
    /// What happens to requests that match, where somebody chose it.
    pub mode: Option<Mode>,
    /// Whether something asks for routing, though nobody chose a mode: mirrord's
    /// default mode holds, and that no request can be routed is an error.
    pub is_meant: bool,
    /// The application's ports; else those that the target declares.
    pub ports: Option<BTreeSet<u16>>,
    /// Declared ports that are left alone.
    pub ignore_ports: BTreeSet<u16>,
    /// Where the preview listens for a port of the application, if not on the same.
    pub port_mapping: BTreeMap<u16, u16>,
    /// Which requests; else the key decides, or, where they are mirrored, all.
    pub filter: Option<Filter>,
    /// What to do where another key steals the same requests.
    pub on_concurrent_steal: ConcurrentSteal,
    /// Whether connections from before the capture are closed.
    pub reset_connections: bool,
}

/// What to do where another key steals the same requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConcurrentSteal {
    /// Start nothing.
    #[default]
    Abort,
    /// Start all the same: the older key keeps what both want.
    Continue,
    /// Stop the other one's session.
    Override,
}

/// The section of the file.
#[derive(Debug, Default)]
pub struct IncomingSection {
    mode: Option<Mode>,
    ports: Option<Vec<Port>>,
    ignore_ports: Option<Vec<Port>>,
    /// Pairs of the preview's port and the application's: mirrord's "local" and "remote".
    port_mapping: Option<Vec<(Port, Port)>>,
    http_filter: Option<FilterSection>,
    on_concurrent_steal: Option<ConcurrentSteal>,
    reset_connections: bool,
    /// Whether something in it asks for routing.
    is_meant: bool,
}

// === impl IncomingSection ===

impl IncomingSection {
    /// The file's answer below the environment's.
    pub(super) fn resolve(self, environment: &Environment) -> Result<Incoming> {
        const PLACE: &str = "feature.network.incoming";
        let chosen = environment.parsed("MIRRORD_AGENT_TCP_STEAL_TRAFFIC")?;
        let mode = chosen.or(self.mode);
        if self.ports.is_some() && self.ignore_ports.is_some() {
            return Err(wrong(format!("`{PLACE}` has both `ports` and `ignore_ports`"))
                .hint("remove one of them")
                .into());
        }
        let mut port_mapping = BTreeMap::new();
        for (Port(preview), Port(application)) in self.port_mapping.unwrap_or_default() {
            let is_taken = port_mapping.values().any(|known| *known == preview);
            if is_taken || port_mapping.insert(application, preview).is_some() {
                return Err(wrong(format!("`{PLACE}.port_mapping` maps a port twice"))
                    .because_of(format!("the pair [{preview}, {application}] repeats one of its ports"))
                    .hint("each pair is [the preview's port, the application's port], each port once")
                    .into());
            }
        }
        let filter = match filter::of_environment(environment)? {
            Some(filter) => Some(filter),
            None => self
                .http_filter
                .map(|section| section.resolve(&format!("{PLACE}.http_filter")))
                .transpose()?,
        };
        let numbers =
            |ports: Vec<Port>| -> BTreeSet<u16> { ports.into_iter().map(|Port(port)| port).collect() };
        let ports = self.ports.map(numbers);
        if ports.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(wrong(format!("`{PLACE}.ports` names no port"))
                .hint("leave `ports` out for those that the target declares")
                .into());
        }
        Ok(Incoming {
            mode,
            is_meant: self.is_meant,
            ports,
            ignore_ports: self.ignore_ports.map(numbers).unwrap_or_default(),
            port_mapping,
            filter,
            on_concurrent_steal: self.on_concurrent_steal.unwrap_or_default(),
            reset_connections: self.reset_connections,
        })
    }
}

impl<'de> Deserialize<'de> for IncomingSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = IncomingSection;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("\"steal\", \"mirror\", \"off\", a boolean, or {\"mode\": …}")
            }

            fn visit_unit<E: de::Error>(self) -> Result<IncomingSection, E> {
                Ok(IncomingSection::default())
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<IncomingSection, E> {
                let mode = (!on).then_some(Mode::Off);
                Ok(IncomingSection { mode, ..IncomingSection::default() })
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<IncomingSection, E> {
                let mode = Some(Mode::deserialize(text.into_deserializer())?);
                Ok(IncomingSection { mode, ..IncomingSection::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<IncomingSection, A::Error> {
                let section = Section::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let is_meant = section.ports.is_some()
                    || section.ignore_ports.is_some()
                    || section.port_mapping.is_some()
                    || section.http_filter.is_some();
                Ok(IncomingSection {
                    mode: section.mode,
                    ports: section.ports,
                    ignore_ports: section.ignore_ports,
                    port_mapping: section.port_mapping,
                    http_filter: section.http_filter,
                    on_concurrent_steal: section.on_concurrent_steal,
                    reset_connections: section.reset_connections.unwrap_or_default(),
                    is_meant,
                })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// The object's fields.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Section {
    mode: Option<Mode>,
    ports: Option<Vec<Port>>,
    ignore_ports: Option<Vec<Port>>,
    port_mapping: Option<Vec<(Port, Port)>>,
    http_filter: Option<FilterSection>,
    on_concurrent_steal: Option<ConcurrentSteal>,
    reset_connections: Option<bool>,
}

#[cfg(test)]
mod tests;
