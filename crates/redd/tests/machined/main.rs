//! `systemd-machined`: its Varlink interfaces on machines of ours and of others, and on images.

mod activation;
#[path = "../background/mod.rs"]
mod background;
mod client;
mod connections;
mod coverage;
#[path = "../covered/mod.rs"]
mod covered;
mod images;
#[path = "../killed/mod.rs"]
mod killed;
mod killing;
mod machines;
mod refusals;
mod service;
mod terminals;
mod users;
