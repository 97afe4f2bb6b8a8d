//! The door for clients (written by the lead).

pub mod config;
pub mod keys;
pub mod seal;
pub mod spec;
pub mod store;
