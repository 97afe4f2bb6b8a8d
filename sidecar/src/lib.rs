//! mcp-sidecar: the HTTP face of one MCP server.
//!
//! Start reading at [`serve`], which puts the parts together; [`server`] opens sessions on the server's processes,
//! [`source`] starts those, [`era`] tells which protocol they speak, [`package`] finds out what exactly to start, and [`probe`] keeps telling whether the
//! server works, as [`state`], which [`http`] shows. Where the processes are to run in another container, [`launchers`]
//! lets [`exec`] in from there.
//!
//! What it deliberately does not do: know other servers, or clients beyond their sessions. Names, keys, and the merging
//! of servers are the gateway's business; pods are the operator's.

pub mod access;
pub mod args;
pub mod copy;
pub mod era;
pub mod exec;
pub mod http;
pub mod launchers;
pub mod memory;
pub mod mirrored;
pub mod package;
pub mod pool;
pub mod probe;
pub mod profile;
pub mod remote;
pub mod serve;
pub mod server;
pub mod source;
pub mod state;
pub mod wrap;
