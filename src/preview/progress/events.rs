//! What the events of pods tell. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

/// Whether, by its events, an image of any container is being pulled right now.
/// Events have whole seconds, and are compared for each container of each pod.
pub(crate) fn is_pulling(events: &[Event]) -> bool {
    /// When a pull last began, and when one last ended.
    #[derive(Default)]
    struct Pull {
        began: Option<Timestamp>,
        ended: Option<Timestamp>,
    }
    let mut pulls: BTreeMap<_, Pull> = BTreeMap::new();
    for event in events {
        let object = &event.involved_object;
        let pull = pulls.entry((&object.uid, &object.field_path)).or_default();
        let at = event.last_timestamp.as_ref().map(|time| time.0);
        match event.reason.as_deref() {
            Some("Pulling") => pull.began = pull.began.max(at),
            Some("Pulled" | "Failed" | "BackOff") => pull.ended = pull.ended.max(at),
            _ => {}
        }
    }
    pulls.values().any(|pull| pull.began > pull.ended)
}

/// The message of the last warning.
pub(crate) fn last_warning(events: &[Event]) -> Option<String> {
    let event = events.iter().rev().find(|event| event.type_.as_deref() == Some("Warning"))?;
    event.message.as_deref().map(|message| message.trim().to_owned())
}
