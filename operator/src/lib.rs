//! `mcp-operator`: makes of each `McpServer` the pods that run it, and tells the truth about them.
//!
//! Start reading at [`controller`]: one reconcile is five calls, dereference (reads), validate (pure), [`build`] (pure),
//! apply and status. [`run`](mod@run) puts it together with the lease (one operator works, others stand by), the keys of
//! the hop and the watches.
//!
//! What it deliberately does not do: carry any request of a client, read the values of Secrets into anything but a
//! digest, or own what others may: `replicas` where the spec leaves it out, annotations, the condition `Routable`.

pub mod args;
pub mod build;
pub mod controller;
mod digest;
mod error;
mod events;
#[cfg(test)]
mod fixtures;
mod keys;
mod lease;
mod metrics;
mod probe;
mod quantity;
mod rotation;
pub mod run;
pub mod settings;
mod sidecars;
mod watch;
