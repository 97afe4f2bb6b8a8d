//! I/O for the protocol: the HTTP front ends that clients connect to, and the links to servers behind them.
//!
//! Start reading at [`hub`]: one task that owns a server connection ([`link`]) and the sessions that talk over it
//! ([`clients`]), and does what the pure state machines of [`mcp::session`] say. [`front`] turns HTTP requests into
//! [`session::Command`]s for such a task; [`child`] and [`upstream`] are the two kinds of links.
//!
//! What this crate deliberately does not do: decide which servers there are, how many processes they get, who may
//! call them, or how their names are merged. That is the programs' business.

pub mod child;
pub mod client;
pub mod clients;
pub mod front;
pub mod guard;
pub mod hop;
pub mod hub;
pub mod internal;
pub mod link;
pub mod logbook;
pub mod session;
pub mod spec;
pub mod status;
pub mod upstream;
