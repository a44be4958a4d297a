//! Targets, keys and times to live as users type them: an accepted value is
//! printed as a text that is accepted again and means the same.
#![no_main]

use mirrord::session::{Key, Ttl};
use mirrord::workload::Target;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(target) = text.parse::<Target>() {
        assert_eq!(target.to_string().parse::<Target>().as_ref(), Ok(&target));
        assert!(target.label_value().len() <= 63);
    }
    if let Ok(key) = text.parse::<Key>() {
        assert_eq!(key.to_string().parse::<Key>().as_ref(), Ok(&key));
    }
    if let Ok(ttl) = text.parse::<Ttl>() {
        let again = ttl.to_string().parse::<Ttl>().unwrap();
        assert_eq!(again, ttl, "{text:?} is printed as {ttl}");
    }
});
