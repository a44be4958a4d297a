//! Services, which lead to the workload whose pods they select.

use super::{Kind, Origin};

/// `v1` Services.
pub(super) static KIND: Kind = Kind {
    name: "service",
    aliases: &["svc", "services"],
    field: "service",
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    is_behind_service: false,
    is_service: true,
    read: |object| {
        let selector = object.pointer("/spec/selector")?.as_object()?;
        let selector =
            selector.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        Some(Origin::Selected(selector.collect()))
    },
};
