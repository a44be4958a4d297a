//! `feature.network.incoming`: which requests are routed, at which ports, and how.

mod filter;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::de::{Deserializer, IntoDeserializer as _};
use serde::{Deserialize, Serialize};
use serde_untagged::UntaggedEnumVisitor;

use super::environment::Environment;
use super::scalar::{IncomingMode, PortNumber};
use super::wrong;
use crate::traffic::Filter;
use filter::FilterSection;

/// The resolved answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incoming {
    /// The mode, if a source sets it.
    pub mode: Option<IncomingMode>,
    /// Whether a field other than the mode asks for routing. Then it is an error if
    /// no request can be routed, even where no source sets the mode.
    pub is_meant: bool,
    /// The application's ports; without it, the ports that the container declares.
    pub ports: Option<BTreeSet<u16>>,
    /// Declared ports that are not captured.
    pub ignore_ports: BTreeSet<u16>,
    /// The preview's port for a port of the application, where they differ.
    pub port_mapping: BTreeMap<u16, u16>,
    /// Which requests match; without it, those with the key, or all where they are mirrored.
    pub filter: Option<Filter>,
    /// What `start` does where another key steals the same requests.
    pub on_concurrent_steal: ConcurrentSteal,
    /// Whether connections from before the capture are closed.
    pub reset_connections: bool,
}

/// What `start` does where another key steals the same requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConcurrentSteal {
    /// Stop with an error.
    #[default]
    Abort,
    /// Start beside it: requests that match both go to the older key.
    Continue,
    /// Stop the other session.
    Override,
}

/// The section of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IncomingSection {
    mode: Option<IncomingMode>,
    ports: Option<Vec<PortNumber>>,
    ignore_ports: Option<Vec<PortNumber>>,
    /// Pairs of the preview's port and the application's: mirrord's "local" and "remote".
    port_mapping: Option<Vec<(PortNumber, PortNumber)>>,
    http_filter: Option<FilterSection>,
    on_concurrent_steal: Option<ConcurrentSteal>,
    reset_connections: Option<bool>,
}

/// Reads the section: a boolean, a mode, or an object.
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method itself has too narrow a lifetime")]
pub(super) fn section<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IncomingSection, D::Error> {
    let only = |mode| IncomingSection { mode, ..IncomingSection::default() };
    UntaggedEnumVisitor::new()
        .expecting("\"steal\", \"mirror\", \"off\", a boolean, or {\"mode\": …}")
        .bool(move |on| Ok(only((!on).then_some(IncomingMode::Off))))
        .string(move |text| IncomingMode::deserialize(text.into_deserializer()).map(|mode| only(Some(mode))))
        .map(|map| map.deserialize())
        .deserialize(deserializer)
}

// === impl IncomingSection ===

impl IncomingSection {
    /// Resolves the section below the environment.
    pub(super) fn resolve(self, environment: &Environment) -> Result<Incoming> {
        const PLACE: &str = "feature.network.incoming";
        let is_meant = self.ports.is_some()
            || self.ignore_ports.is_some()
            || self.port_mapping.is_some()
            || self.http_filter.is_some();
        let chosen = environment.parsed("MIRRORD_AGENT_TCP_STEAL_TRAFFIC")?;
        let mode = chosen.or(self.mode);
        if self.ports.is_some() && self.ignore_ports.is_some() {
            return Err(wrong(format!("`{PLACE}` has both `ports` and `ignore_ports`"))
                .hint("remove one of them")
                .into());
        }
        let mut port_mapping = BTreeMap::new();
        for (PortNumber(preview), PortNumber(application)) in self.port_mapping.unwrap_or_default() {
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
        let numbers = |ports: Vec<PortNumber>| -> BTreeSet<u16> {
            ports.into_iter().map(|PortNumber(port)| port).collect()
        };
        let ports = self.ports.map(numbers);
        if ports.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(wrong(format!("`{PLACE}.ports` names no port"))
                .hint("leave `ports` out for the ports that the target declares")
                .into());
        }
        Ok(Incoming {
            mode,
            is_meant,
            ports,
            ignore_ports: self.ignore_ports.map(numbers).unwrap_or_default(),
            port_mapping,
            filter,
            on_concurrent_steal: self.on_concurrent_steal.unwrap_or_default(),
            reset_connections: self.reset_connections.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests;
