//! mcp-gateway: the door for clients.
//!
//! Start reading at [`serve`], which puts the parts together. [`routes`] is what the gateway knows of its servers, an
//! immutable table that every request reads; [`local`] fills it on one machine, by running a sidecar per server.
//! Requests pass [`access`] and then go to one server ([`proxy`]), to all of them ([`aggregate`]), or to the deploy
//! API ([`api`]). The rest is what users write ([`spec`], [`config`]) and what is kept on disk ([`store`], [`keys`],
//! [`seal`]), and the figures of it all ([`traffic`]).
//!
//! What it deliberately does not do: start a user's program, keep the state of a single server's session, or look into
//! the messages of one. That is the sidecar's business.

pub mod access;
pub mod aggregate;
pub mod api;
pub mod args;
pub mod backend;
pub mod config;
pub mod keys;
pub mod kubernetes;
pub mod local;
pub mod proxy;
pub mod routes;
pub mod seal;
pub mod serve;
pub mod sidecar;
pub mod spec;
pub mod store;
pub mod streams;
pub mod traffic;
