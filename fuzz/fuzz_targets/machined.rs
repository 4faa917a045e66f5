#![no_main]

#[path = "../varlink.rs"]
mod varlink;

libfuzzer_sys::fuzz_target!(|data: &[u8]| varlink::machined(data));
