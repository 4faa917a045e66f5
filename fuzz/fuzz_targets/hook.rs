#![no_main]

#[allow(dead_code)]
#[path = "../package_files.rs"]
mod package_files;

libfuzzer_sys::fuzz_target!(|data: &[u8]| package_files::hook(data));
