//! `keys.json` in the state directory, shared by the command line and a running gateway.

use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::{KeyId, KeyRecord, Keys, NewKey, Scopes};
use crate::store::{StorageError, Timestamp, durable};

/// Longest name of a key, in characters.
const MAX_NAME: usize = 64;

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file holds something else.
    #[error("cannot read the keys in {}: {source}; restore the file, or move it away and make new keys", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A name that would spoil lists.
    #[error("a key's name must have 1 to {MAX_NAME} printable characters")]
    Name,
    /// A key that is good for nothing.
    #[error("a key needs a scope: `call`, `deploy` or both")]
    NoScope,
}

/// The file with the keys. It may be absent: then there is no key.
///
/// Changes are made under a lock of their own and replace the file as a whole, so readers need no lock.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Content {
    keys: Vec<KeyRecord>,
}

/// Reads the keys of a file's text.
///
/// # Errors
/// When it is something else.
pub fn parse_keys(text: &[u8]) -> Result<Vec<KeyRecord>, serde_json::Error> {
    serde_json::from_slice::<Content>(text).map(|content| content.keys)
}

impl KeyFile {
    /// The file in this state directory.
    pub fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join("keys.json") }
    }

    /// Makes a key. The [`NewKey`] is the only copy there will ever be.
    pub fn create(
        &self,
        name: &str,
        scopes: Scopes,
        now: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Result<(KeyRecord, NewKey), KeyError> {
        if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.contains(char::is_control) {
            return Err(KeyError::Name);
        }
        if scopes.is_empty() {
            return Err(KeyError::NoScope);
        }
        let (record, key) = KeyRecord::generate(name, scopes, now, expires_at);
        self.change(|keys| keys.push(record.clone()))?;
        Ok((record, key))
    }

    /// All keys, in the order they were made.
    pub fn list(&self) -> Result<Vec<KeyRecord>, KeyError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StorageError::new("read", &self.path, source).into()),
        };
        parse_keys(&bytes).map_err(|source| KeyError::Damaged { path: self.path.clone(), source })
    }

    /// Revokes the key with this id; `false` when there was none.
    pub fn revoke(&self, id: &str) -> Result<bool, KeyError> {
        self.change(|keys| {
            let before = keys.len();
            keys.retain(|key| key.id != KeyId(id.to_owned()));
            keys.len() < before
        })
    }

    fn change<T>(&self, edit: impl FnOnce(&mut Vec<KeyRecord>) -> T) -> Result<T, KeyError> {
        let _lock = self.lock()?;
        durable::clear_temporary(&self.path)?;
        let mut keys = self.list()?;
        let before = keys.len();
        let outcome = edit(&mut keys);
        if keys.len() != before {
            let json = serde_json::to_vec_pretty(&Content { keys }).expect("strings and lists serialize");
            durable::replace(&self.path, &json)?;
        }
        Ok(outcome)
    }

    /// Keeps others from changing the keys meanwhile; released when the file is dropped.
    fn lock(&self) -> Result<File, StorageError> {
        let path = self.path.with_extension("lock");
        durable::create_directory(self.path.parent().unwrap_or_else(|| Path::new(".")))?;
        let locked = durable::private().create(true).truncate(false).open(&path).and_then(|file| {
            file.lock()?;
            Ok(file)
        });
        locked.map_err(|source| StorageError::new("lock", &path, source))
    }
}

/// The keys of a running gateway, read again when the file changes.
#[derive(Debug)]
pub struct KeyWatch {
    file: KeyFile,
    seen: Option<Version>,
    keys: Arc<Keys>,
}

/// What differs between two versions of the file: each is a file of its own.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl From<Metadata> for Version {
    fn from(metadata: Metadata) -> Self {
        Self { inode: metadata.ino(), length: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl KeyWatch {
    /// Reads the file for the first time.
    pub fn open(file: KeyFile) -> Result<Self, KeyError> {
        let mut watch = Self { file, seen: None, keys: Arc::default() };
        watch.reload_if_changed()?;
        Ok(watch)
    }

    /// The keys as last read.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// Reads the file again when it changed; the new keys, if it did. A file that is gone means no keys.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged: the keys last read stay in force, the next call tries again.
    pub fn reload_if_changed(&mut self) -> Result<Option<Arc<Keys>>, KeyError> {
        // Looked at before it is read: a change in between is then found the next time.
        let version = self.version().map_err(|source| StorageError::new("read", &self.file.path, source))?;
        if version == self.seen {
            return Ok(None);
        }
        self.keys = Arc::new(self.file.list()?.into_iter().collect());
        self.seen = version;
        Ok(Some(self.keys()))
    }

    fn version(&self) -> io::Result<Option<Version>> {
        match fs::metadata(&self.file.path) {
            Ok(metadata) => Ok(Some(metadata.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
