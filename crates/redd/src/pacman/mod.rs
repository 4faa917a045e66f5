//! Installing Arch Linux: what a person is asked and told.

mod dialog;
mod person;
mod selection;

pub(crate) use person::{Here, Person};
