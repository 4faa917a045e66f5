#![no_main]

#[allow(dead_code)]
#[path = "../repositories.rs"]
mod repositories;

libfuzzer_sys::fuzz_target!(|data: &[u8]| repositories::pacman_database(data));
