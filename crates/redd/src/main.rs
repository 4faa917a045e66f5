//! `redd`: everything a person types.
fn main() {}
