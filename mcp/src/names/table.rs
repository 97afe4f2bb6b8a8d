//! The table between the names that clients see and the items (tools, prompts) of the servers behind.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

/// The longest name that clients are shown, in characters. Model providers take no longer tool names.
pub const MAX_EXPOSED_CHARS: usize = 64;

/// How many characters of Base32 tell shortened and colliding names apart: 40 bits.
const HASH_CHARS: usize = 8;

/// Under which names items are shown, and which other names are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Shown as `{server}-{item}`; a name without a prefix is unknown.
    Prefixed,
    /// Shown as `{server}-{item}`; a name without a prefix is taken when a single server has it.
    PrefixedOrBare,
    /// Shown as the server named it, whatever its length; a prefix is taken nevertheless.
    Bare,
}

/// The names of one kind of items (tools, or prompts) of all servers.
///
/// The short form of a name is `{server}-{item}`, or just the item in [`Style::Bare`]. An item is shown under its
/// short form, except
/// - when that is longer than [`MAX_EXPOSED_CHARS`], or
/// - when another item's name is the same: server `a` with tool `b-c`, server `a-b` with tool `c`. Then *both* give
///   the short form up, so that who was deployed first makes no difference and no call goes to the wrong server.
///
/// Such an item is shown under its hashed form: the beginning of `{server}-{item}`, `_`, and 8 characters of Base32 of
/// the SHA-256 of server, NUL and item. It depends on nothing else, so it is the same in every process and for ever.
///
/// A call is resolved by looking whole names up, in this order:
/// 1. the names shown;
/// 2. `{server}-{item}`, `{server}_{item}` and `{server}__{item}` of any length: each place where a server's name
///    might end is tried, and more than one match is ambiguous;
/// 3. the hashed form of an item that is (now) shown under its short form;
/// 4. the item alone, where the [`Style`] allows it.
#[derive(Debug, Default)]
pub struct Names {
    /// By server, then in the order in which the servers list them.
    entries: Vec<Entry>,
    servers: HashMap<Arc<str>, HashMap<Arc<str>, usize>>,
    exposed: HashMap<Arc<str>, usize>,
    /// By item alone; empty where the style does not take such names.
    bare: HashMap<Arc<str>, Holders>,
    /// In bytes: no further into a name need a separator be looked for.
    longest_server: usize,
}

/// Indices of entries that share a name; nearly always one.
type Holders = SmallVec<[usize; 1]>;

#[derive(Debug)]
struct Entry {
    server: Arc<str>,
    item: Arc<str>,
    /// `None` when another item has the same hashed form: better not to show either than to call the wrong one.
    exposed: Option<Arc<str>>,
}

/// What a name in a call means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution<'a> {
    /// One item.
    Found {
        /// The server that has it.
        server: &'a str,
        /// The server's own name for it.
        item: &'a str,
    },
    /// Several items, which are shown under these names.
    Ambiguous(Vec<&'a str>),
    /// Nothing.
    Unknown,
}

impl Names {
    /// Builds the table. The servers may come in any order; an item that a server lists twice counts once.
    pub fn build<'a, I>(servers: impl IntoIterator<Item = (&'a str, I)>, style: Style) -> Self
    where
        I: IntoIterator<Item = &'a str>,
    {
        let mut servers: Vec<_> = servers.into_iter().collect();
        servers.sort_by_key(|(server, _)| *server);
        let mut names = Self::default();
        for (server, items) in servers {
            names.add(&Arc::from(server), items);
        }
        if style != Style::Prefixed {
            for (index, entry) in names.entries.iter().enumerate() {
                names.bare.entry(entry.item.clone()).or_default().push(index);
            }
        }
        names.expose(style);
        names
    }

    /// The name that `item` of `server` is shown under.
    pub fn exposed(&self, server: &str, item: &str) -> Option<&str> {
        let index = *self.servers.get(server)?.get(item)?;
        self.entries[index].exposed.as_deref()
    }

    /// What a client means by `name`.
    pub fn resolve(&self, name: &str) -> Resolution<'_> {
        if let Some(&index) = self.exposed.get(name) {
            return self.resolution(&[index]);
        }
        let mut found = self.readings(name);
        if found.is_empty() {
            found = name.rsplit_once('_').map(|(plain, _)| self.readings(plain)).unwrap_or_default();
            found.retain(|index| self.entries[*index].hashed() == name);
        }
        if found.is_empty() {
            return self.resolution(self.bare.get(name).map_or(&[], SmallVec::as_slice));
        }
        self.resolution(&found)
    }

    /// All items as (name shown, server, item): by server, then in the order in which the servers list them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.entries.iter().filter_map(|entry| Some((entry.exposed.as_deref()?, &*entry.server, &*entry.item)))
    }

    fn add<'a>(&mut self, server: &Arc<str>, items: impl IntoIterator<Item = &'a str>) {
        self.longest_server = self.longest_server.max(server.len());
        let known = self.servers.entry(server.clone()).or_default();
        for item in items {
            if known.contains_key(item) {
                continue;
            }
            let item = Arc::<str>::from(item);
            known.insert(item.clone(), self.entries.len());
            self.entries.push(Entry { server: server.clone(), item, exposed: None });
        }
    }

    /// Gives every item its name. The outcome does not depend on the order of the steps.
    fn expose(&mut self, style: Style) {
        let mut short: HashMap<Arc<str>, Holders> = HashMap::with_capacity(self.entries.len());
        let mut rehashed = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            match entry.short(style) {
                Some(name) => short.entry(name).or_default().push(index),
                None => rehashed.push(index),
            }
        }
        short.retain(|_, holders| {
            let unique = holders.len() == 1;
            if !unique {
                rehashed.extend_from_slice(holders);
            }
            unique
        });
        let mut hashed: HashMap<Arc<str>, Holders> = HashMap::new();
        while let Some(index) = rehashed.pop() {
            let name = Arc::from(self.entries[index].hashed());
            // An item whose short form looks like this one's hashed form gives way as well.
            rehashed.extend(short.remove(&name).into_iter().flatten());
            hashed.entry(name).or_default().push(index);
        }
        for (name, holders) in short.into_iter().chain(hashed) {
            if let [index] = holders[..] {
                self.entries[index].exposed = Some(name.clone());
                self.exposed.insert(name, index);
            }
        }
    }

    /// The items that `name` is the prefixed name of, for any separator. Each is found in one way only.
    fn readings(&self, name: &str) -> Holders {
        let mut found = Holders::new();
        let prefixes = name.bytes().take(self.longest_server + 1).enumerate();
        for (end, _) in prefixes.filter(|(_, byte)| matches!(byte, b'-' | b'_')) {
            let Some(items) = self.servers.get(&name[..end]) else { continue };
            let rest = &name[end + 1..];
            found.extend(items.get(rest).copied());
            if name[end..].starts_with("__") {
                found.extend(items.get(&rest[1..]).copied());
            }
        }
        found
    }

    fn resolution(&self, found: &[usize]) -> Resolution<'_> {
        match found {
            [] => Resolution::Unknown,
            [index] => {
                let Entry { server, item, exposed: _ } = &self.entries[*index];
                Resolution::Found { server, item }
            }
            several => {
                let names = several.iter().filter_map(|index| self.entries[*index].exposed.as_deref());
                Resolution::Ambiguous(names.collect())
            }
        }
    }
}

impl Entry {
    /// The short form, if it is short enough.
    fn short(&self, style: Style) -> Option<Arc<str>> {
        if style == Style::Bare {
            return Some(self.item.clone());
        }
        let plain = self.plain();
        (plain.len() <= MAX_EXPOSED_CHARS || plain.chars().count() <= MAX_EXPOSED_CHARS).then(|| plain.into())
    }

    fn plain(&self) -> String {
        [&*self.server, "-", &*self.item].concat()
    }

    fn hashed(&self) -> String {
        let mut name = self.plain();
        if let Some((end, _)) = name.char_indices().nth(MAX_EXPOSED_CHARS - 1 - HASH_CHARS) {
            name.truncate(end);
        }
        let hash = Sha256::new().chain_update(&*self.server).chain_update([0]).chain_update(&*self.item).finalize();
        name.push('_');
        name.extend(base32(hash[..5].try_into().expect("SHA-256 has 32 bytes")));
        name
    }
}

/// RFC 4648 Base32 in lower case.
fn base32(bytes: [u8; 5]) -> impl Iterator<Item = char> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bits = bytes.iter().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
    (0..HASH_CHARS).rev().map(move |place| char::from(ALPHABET[(bits >> (5 * place) & 31) as usize]))
}
