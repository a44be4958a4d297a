//! How requests come to a preview, in words.

use crate::contract::assignment::Assignment;
use crate::traffic::filter::baggage::{MEMBER, percent_encoded};
use crate::traffic::{Filter, Mode};
use crate::words;

/// How requests come to a preview.
pub(crate) struct Routes {
    /// Which requests, and whether they are moved or copied.
    pub(crate) what: String,
    /// A command that sends such a request.
    pub(crate) example: Option<String>,
}

/// How requests come to a preview; with a command that sends one, where a
/// `service`, given by name and port, leads to the target.
pub(crate) fn routes(assignment: &Assignment, service: Option<(String, i32)>) -> Routes {
    let Assignment { mode, filter, ports, target, namespace, .. } = assignment;
    let ports: Vec<String> = ports.iter().map(|port| port.port.to_string()).collect();
    let what = match mode {
        Mode::Steal => format!("{filter} to port {} of {target} come here", ports.join(", ")),
        Mode::Mirror => format!("{filter} to port {} of {target} are copied here", ports.join(", ")),
    };
    let example = service.and_then(|(service, port)| {
        let Filter::Baggage(key) = filter else { return None };
        let port = if port == 80 { String::new() } else { format!(":{port}") };
        let header = format!("baggage: {MEMBER}={}", percent_encoded(key.as_str()));
        Some(format!("curl -H {} http://{service}.{namespace}{port}", words::shell_word(&header)))
    });
    Routes { what, example }
}
