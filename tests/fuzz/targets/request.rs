#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The first bytes are the places at which the rest arrives in pieces.
    if let Some((cuts, bytes)) = bytes.split_at_checked(4) {
        mirrord::fuzzing::request(bytes, cuts);
    }
});
