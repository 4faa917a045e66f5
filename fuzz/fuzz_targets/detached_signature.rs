#![no_main]

#[allow(dead_code)]
#[path = "../archives.rs"]
mod archives;

libfuzzer_sys::fuzz_target!(|data: &[u8]| archives::detached_signature(data));
