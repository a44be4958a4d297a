#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The first bytes say where the connection cuts the rest.
    if let Some((cuts, bytes)) = bytes.split_at_checked(4) {
        mirrord::fuzzing::request(bytes, cuts);
    }
});
