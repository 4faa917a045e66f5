#![no_main]

#[path = "../images.rs"]
mod images;

libfuzzer_sys::fuzz_target!(|data: &[u8]| images::gpt(data));
