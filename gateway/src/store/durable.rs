//! Files that are replaced as a whole and stay replaced.
//!
//! A change is a list of [`Step`]s, data rather than calls, so that a test can stop after any of them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The file system refused something in the state directory.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
pub struct StorageError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl StorageError {
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.source.kind()
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => "; mount the state directory writable, or choose another with --state-dir",
        ErrorKind::PermissionDenied => {
            "; let the gateway's user own the state directory, or choose another with --state-dir"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some space in the state directory and try again",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "; choose a directory with --state-dir",
        _ => "",
    }
}

/// One step of a durable change. After any number of them the old or the new content is there, whole.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// Writes a new file and has its content on disk.
    Write(&'a Path, &'a [u8]),
    /// Puts a file in another's place.
    Rename(&'a Path, &'a Path),
    /// Removes a file.
    Unlink(&'a Path),
    /// Has the entries of a directory on disk.
    SyncDirectory(&'a Path),
}

impl Step<'_> {
    pub(crate) fn run(&self) -> Result<(), StorageError> {
        match self {
            Self::Write(path, bytes) => {
                write_new(path, bytes).map_err(|source| StorageError::new("write", path, source))
            }
            Self::Rename(from, to) => fs::rename(from, to).map_err(|source| StorageError::new("replace", to, source)),
            Self::Unlink(path) => fs::remove_file(path).map_err(|source| StorageError::new("remove", path, source)),
            Self::SyncDirectory(path) => {
                sync_directory(path).map_err(|source| StorageError::new("write", path, source))
            }
        }
    }
}

/// The steps that put `bytes` in the place of `path`.
pub(crate) fn replacing<'a>(path: &'a Path, temporary: &'a Path, bytes: &'a [u8]) -> [Step<'a>; 3] {
    [Step::Write(temporary, bytes), Step::Rename(temporary, path), Step::SyncDirectory(directory(path))]
}

/// The steps that remove `path`.
pub(crate) fn removing(path: &Path) -> [Step<'_>; 2] {
    [Step::Unlink(path), Step::SyncDirectory(directory(path))]
}

/// Puts `bytes` in the place of `path`, readable by the owner only; when it returns they are on disk.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let temporary = temporary(path);
    let done = replacing(path, &temporary, bytes).iter().try_for_each(Step::run);
    if done.is_err() {
        // What a full disk needs least. After the rename there is nothing to remove.
        let _ = fs::remove_file(&temporary);
    }
    done
}

/// Removes `path` for good; `false` when there was none.
pub(crate) fn remove(path: &Path) -> Result<bool, StorageError> {
    match removing(path).iter().try_for_each(Step::run) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        done => done.map(|()| true),
    }
}

/// Makes a directory for the owner only, with its parents; leaves one alone that is there.
pub(crate) fn create_directory(path: &Path) -> Result<(), StorageError> {
    if path.is_dir() {
        return Ok(());
    }
    let failed = |source| StorageError::new("make the directory", path, source);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    sync_directory(directory(path)).map_err(failed)
}

/// Removes what changes that a crash cut short left of the file at `path`. No change of it may be under way.
pub(crate) fn clear_temporary(path: &Path) -> Result<(), StorageError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    clear(directory(path), |temporary| temporary.starts_with(&format!(".{name}.")))
}

/// The same for every file in a directory.
pub(crate) fn clear_all_temporary(directory: &Path) -> Result<(), StorageError> {
    clear(directory, |_| true)
}

fn clear(directory: &Path, ours: impl Fn(&str) -> bool) -> Result<(), StorageError> {
    let failed = |source| StorageError::new("read", directory, source);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if is_temporary(&path) && path.file_name().and_then(|name| name.to_str()).is_some_and(&ours) {
            fs::remove_file(&path).map_err(|source| StorageError::new("remove", &path, source))?;
        }
    }
    Ok(())
}

/// Whether a change uses this file, or a crashed one left it behind. No file of ours begins with a dot otherwise.
pub(crate) fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with('.') && path.extension().is_some_and(|extension| extension == "tmp")
}

/// How every file here is opened for writing.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// A new name beside `path`: two writers never share one, so that neither renames the other's half of a file.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.tmp", super::Uid::random()))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private().create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some network file systems cannot sync a directory and keep its order by themselves.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}
