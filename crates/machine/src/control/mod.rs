//! How a machine that runs is steered: the protocol of its supervisor's socket, and the client of it.
//!
//! The protocol is Varlink, so that other programs can speak it: JSON objects with a NUL behind each, descriptors beside them.
//! Its interface is `org.redd.Machine`, see [`protocol::DESCRIPTION`].
//!
//! | module | holds |
//! |---|---|
//! | [`protocol`] | calls, answers and errors as both sides write them |
//! | [`client`] | a machine, steered by its supervisor or, where that is not ours, directly |

pub mod client;
pub mod protocol;

pub use client::{Client, Error};
pub use protocol::Whom;
