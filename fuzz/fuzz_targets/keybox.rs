#![no_main]

#[allow(dead_code)]
#[path = "../archives.rs"]
mod archives;

libfuzzer_sys::fuzz_target!(|data: &[u8]| archives::keybox(data));
