#![no_main]

#[path = "../oci.rs"]
mod oci;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci::oci_config(data));
