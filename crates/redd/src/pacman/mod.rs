//! Installing Arch Linux: what a person is asked and told.

mod dialog;
mod selection;
