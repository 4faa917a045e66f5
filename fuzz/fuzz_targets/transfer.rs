#![no_main]

#[path = "../transfer.rs"]
mod transfer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| transfer::transfer(data));
