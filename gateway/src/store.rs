//! The state directory: what must survive a restart, a kill and a power cut.
//!
//! `servers/` holds one file for each deployed server. A change is acknowledged when its file and its directory are on
//! disk; each file is replaced as a whole, so that a crash at any point leaves the old or the new one. `lock` keeps a
//! second gateway out. Files are readable by their owner only: specs hold secrets.
//!
//! Everything here blocks; call it where blocking is allowed.

pub(crate) mod durable;
mod filename;
mod record;
#[cfg(test)]
mod tests;
mod time;
mod uid;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use mcp::names::ServerName;

pub use durable::StorageError;
pub use record::Record;
pub use time::{Timestamp, TimestampError};
pub(crate) use uid::random;
pub use uid::{Uid, UidError};

/// Largest file that is read as a server's state, in bytes. Far above what a deploy can write.
const MAX_FILE: u64 = 64 << 20;

/// The deployed servers on disk. Holds the lock of the state directory until it is dropped.
#[derive(Debug)]
pub struct Store {
    servers: PathBuf,
    _lock: File,
}

/// What a state directory holds.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The deployed servers.
    pub servers: BTreeMap<ServerName, Record>,
    /// Files that could not be taken. They stay where they are.
    pub quarantined: Vec<Quarantined>,
}

/// A file in the state directory that is no server's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another gateway works on it.
    #[error(
        "the state directory {} is in use by another gateway{}: stop that one, or give this one a directory of its own \
         with --state-dir", path.display(), pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The state directory.
        path: PathBuf,
        /// The other's process id, when it left one.
        pid: Option<u32>,
    },
    /// The file system refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Store {
    /// Opens the state directory: makes what is missing, takes its lock and clears away what a crash left half done.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let servers = state_dir.join("servers");
        durable::create_directory(state_dir)?;
        let lock = lock(state_dir)?;
        durable::create_directory(&servers)?;
        durable::clear_all_temporary(&servers)?;
        Ok(Self { servers, _lock: lock })
    }

    /// Reads all servers. A file that is damaged or not ours is reported and left alone.
    pub fn load(&self) -> Result<Loaded, StorageError> {
        let mut loaded = Loaded::default();
        let failed = |source| StorageError::new("read", &self.servers, source);
        for entry in fs::read_dir(&self.servers).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if durable::is_temporary(&path) {
                continue;
            }
            match read(&path) {
                Ok((name, record)) => drop(loaded.servers.insert(name, record)),
                Err(reason) => loaded.quarantined.push(Quarantined { path, reason }),
            }
        }
        loaded.quarantined.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(loaded)
    }

    /// Stores a server; when this returns, no crash loses it.
    pub fn put(&self, name: &ServerName, record: &Record) -> Result<(), StorageError> {
        durable::replace(&self.path(name), &record.to_json())
    }

    /// Removes a server for good; `false` when there was none.
    pub fn remove(&self, name: &ServerName) -> Result<bool, StorageError> {
        durable::remove(&self.path(name))
    }

    fn path(&self, name: &ServerName) -> PathBuf {
        self.servers.join(filename::encode(name))
    }
}

fn read(path: &Path) -> Result<(ServerName, Record), String> {
    let name = path.file_name().and_then(|name| filename::decode(name.to_str()?));
    let name = name.ok_or("its name is not one this gateway gives")?;
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok((name, Record::from_json(&text)?))
}

/// Takes the lock of a state directory and writes our process id into it, for the message a second gateway prints.
fn lock(state_dir: &Path) -> Result<File, StoreError> {
    let path = state_dir.join("lock");
    let failed = |source| StorageError::new("lock", &path, source);
    let mut file = durable::private().read(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let read = file.take(16).read_to_string(&mut text);
            let pid = read.ok().and_then(|_| text.trim().parse().ok());
            return Err(StoreError::Locked { path: state_dir.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source).into()),
    }
    let note = |file: &mut File| -> io::Result<()> {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    if let Err(error) = note(&mut file) {
        // A full disk keeps nobody from serving what is there.
        tracing::warn!(%error, "the lock of the state directory does not tell this process's id");
    }
    Ok(file)
}
