#![no_main]

#[allow(dead_code)]
#[path = "../media.rs"]
mod media_images;

libfuzzer_sys::fuzz_target!(|data: &[u8]| media_images::iso(data));
