//! What messages of controllers and kubelets mean. Events and statuses of
//! containers carry nothing but English.

/// Whether a controller that reports this message would be refused again:
/// quotas, limits and standards say "forbidden", webhooks "denied".
pub fn is_final(message: &str) -> bool {
    ["is forbidden", "exceeded quota", "denied the request", "is invalid"]
        .iter()
        .any(|words| message.contains(words))
        && !lacks_account(message)
}

/// Whether a pod is refused because its service account does not exist yet:
/// it may just be being made.
pub(super) fn lacks_account(message: &str) -> bool {
    message.contains("error looking up service account")
}

/// Whether a container that a kubelet says this of may start the next time: the
/// kubelet tries again. Whole phrases, because the message also holds the
/// image's name, which may be `timeout-service:pr-429`.
pub fn is_passing(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "toomanyrequests:",
        "429 too many requests",
        "500 internal server error",
        "502 bad gateway",
        "503 service unavailable",
        "504 gateway",
        "i/o timeout",
        "handshake timeout",
        "deadline exceeded",
        "connection reset by peer",
        "unexpected eof",
        ": eof",
        "timed out waiting for",
        "failed to sync configmap cache",
        "failed to sync secret cache",
        "failed to reserve container name",
    ]
    .iter()
    .any(|phrase| message.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_names_a_refusal_is_final_unless_it_waits_for_an_account() {
        for (message, expected) in [
            ("pods \"x\" is forbidden: exceeded quota: small", true),
            ("admission webhook \"w\" denied the request: no", true),
            ("pods \"x\" is forbidden: error looking up service account shop/x: not found", false),
            ("Internal error occurred: failed calling webhook \"w\"", false),
        ] {
            assert_eq!(is_final(message), expected, "{message}");
        }
    }

    #[test]
    fn the_name_of_an_image_is_not_taken_for_a_registry_in_trouble() {
        assert!(is_passing("failed to pull: 429 Too Many Requests"));
        assert!(!is_passing("manifest for timeout-service:pr-429 not found"));
    }
}
