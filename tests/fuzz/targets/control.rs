//! Lines of the control protocol: what is understood can be said again, and
//! rules mean the same when they have crossed the wire twice. (A number that no
//! field takes may lose its last digits underway; the rules hold none.)
#![no_main]

use mirrord::contract::control::{Reply, Request};
use mirrord::traffic::Rules;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<Request>(bytes) {
        let said = serde_json::to_vec(&request).unwrap();
        assert!(serde_json::from_slice::<Request>(&said).is_ok());
        if let Request::Rules { rules } = request
            && let Ok(rules) = Rules::read(rules)
        {
            let again = Rules::read(serde_json::to_value(&rules).unwrap()).unwrap();
            assert_eq!(again, rules);
            assert!(!rules.ports.is_empty() && !rules.conflicts_with(&again));
        }
    }
    if let Ok(reply) = serde_json::from_slice::<Reply>(bytes) {
        let said = serde_json::to_vec(&reply).unwrap();
        assert_eq!(serde_json::from_slice::<Reply>(&said).unwrap(), reply);
    }
});
