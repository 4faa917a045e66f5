//! `redd-spawn`, also under the name `systemd-nspawn`.
fn main() {}
