//! Lines of the control protocol: a message that is understood can be written
//! again, and rules are the same after they were written and read again.
#![no_main]

use mirrord::contract::control::{ControlRequest, Reply};
use mirrord::traffic::Rules;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<ControlRequest>(bytes) {
        let written = serde_json::to_vec(&request).unwrap();
        assert!(serde_json::from_slice::<ControlRequest>(&written).is_ok());
        if let ControlRequest::Rules { rules } = request
            && let Ok(rules) = Rules::read(rules)
        {
            let again = Rules::read(serde_json::to_value(&rules).unwrap()).unwrap();
            assert_eq!(again, rules);
            assert!(!rules.ports.is_empty() && !rules.conflicts_with(&again));
        }
    }
    // A reply of a newer agent is only ever read.
    if let Ok(reply) = serde_json::from_slice::<Reply>(bytes)
        && reply != Reply::Unknown
    {
        let written = serde_json::to_vec(&reply).unwrap();
        assert_eq!(serde_json::from_slice::<Reply>(&written).unwrap(), reply);
    }
});
