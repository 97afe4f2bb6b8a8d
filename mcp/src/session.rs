//! Conversations as pure state machines: those of 2024-11-05 to 2025-11-25, and the exchanges of 2026-07-28.
//!
//! A conversation has two ends. [`mux::Mux`] faces one server connection: it gives every request an id of its own,
//! remembers who asked, sends each answer, progress report and request of the server to the session it belongs to,
//! and says what is lost when the connection breaks. [`streams::Streams`] faces one client: it decides on which of
//! the client's HTTP streams a message goes and keeps what a client may ask for again after a broken connection.
//!
//! Both take events and the time, and give back what to send and when to wake them. Neither knows sockets, processes
//! or tasks, so whole systems of them can be run through thousands of schedules (`tests/simulation.rs`).

use std::time::Duration;

pub mod filter;
pub mod mux;
pub mod streams;

/// Time since some fixed moment of the caller's choice; only differences matter.
pub type Clock = Duration;

/// Names a client session within one [`mux::Mux`]; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);
