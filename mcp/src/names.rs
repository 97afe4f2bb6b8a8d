//! Names in the aggregate of several servers: what a server may be called, under which names its tools and prompts are
//! offered, and how its resource URIs tell whose they are.

mod server_name;
mod table;
mod uri;

pub use server_name::{NameError, ServerName};
pub use table::{MAX_EXPOSED_CHARS, Names, Resolution, Style};
pub use uri::{expose_uri, resolve_uri};

#[cfg(test)]
mod tests;
