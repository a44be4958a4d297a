//! The ports that a container of the target declares.

use serde_json::Value;

use super::Source;
use super::container::Choice;

/// Ports that conventionally carry TLS.
const TLS_PORTS: &[u16] = &[443, 8443];

/// One TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its number.
    pub port: u16,
    /// Whether it carries TLS, judged by its name, its number or the probes on it.
    pub is_encrypted: bool,
}

/// The TCP ports that the chosen container declares.
pub fn declared(source: &Source, container: &Choice) -> Vec<Declared> {
    let spec = source.template.get("spec");
    let Some(container) = spec.and_then(|spec| spec.get("containers")?.get(container.index)) else {
        return Vec::new();
    };
    let ports = container.get("ports").and_then(Value::as_array);
    let mut declared: Vec<Declared> = Vec::new();
    for entry in ports.into_iter().flatten() {
        let is_tcp = entry.get("protocol").and_then(Value::as_str).is_none_or(|protocol| protocol == "TCP");
        let number = entry.get("containerPort").and_then(Value::as_u64);
        let Some(port) = number.and_then(|number| u16::try_from(number).ok()).filter(|_| is_tcp) else {
            continue;
        };
        let name = entry.get("name").and_then(Value::as_str).unwrap_or_default();
        let is_encrypted = name.starts_with("https")
            || name.starts_with("tls")
            || TLS_PORTS.contains(&port)
            || is_probed_by_https(container, port, name);
        if !declared.iter().any(|known| known.port == port) {
            declared.push(Declared { port, is_encrypted });
        }
    }
    declared
}

fn is_probed_by_https(container: &Value, port: u16, name: &str) -> bool {
    ["readinessProbe", "livenessProbe", "startupProbe"].iter().any(|probe| {
        let Some(get) = container.get(probe).and_then(|probe| probe.get("httpGet")) else { return false };
        let is_probed = match get.get("port") {
            Some(Value::String(probed)) => !name.is_empty() && probed == name,
            Some(probed) => probed.as_u64() == Some(port.into()),
            None => false,
        };
        is_probed && get.get("scheme").and_then(Value::as_str) == Some("HTTPS")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_tcp_ports_of_the_chosen_container_are_declared() {
        let template = json!({"spec": {"containers": [
            {"name": "log", "ports": [{"containerPort": 9}]},
            {"name": "web", "ports": [
                {"containerPort": 8080, "name": "http"}, {"containerPort": 53, "protocol": "UDP"},
                {"containerPort": 8081, "name": "https-admin"}, {"containerPort": 8443}, {"containerPort": 9000, "name": "metrics"},
                {"containerPort": 8080, "name": "again"},
            ], "readinessProbe": {"httpGet": {"port": "metrics", "scheme": "HTTPS"}}},
        ]}});
        let source = Source { template: template.as_object().unwrap().clone(), ..Source::default() };
        let container = Choice { name: "web".to_owned(), index: 1, guessed_among: Vec::new() };
        let declared: Vec<_> =
            declared(&source, &container).iter().map(|one| (one.port, one.is_encrypted)).collect();
        assert_eq!(declared, [(8080, false), (8081, true), (8443, true), (9000, true)]);
    }
}
