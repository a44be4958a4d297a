#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some((language, text)) = bytes.split_first()
        && let Ok(text) = std::str::from_utf8(text)
    {
        mirrord::fuzzing::configuration(*language, text);
    }
});
