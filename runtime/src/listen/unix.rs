//! A Unix socket that only this user can open, and that a dead process cannot block.

use std::{
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
        net::UnixStream as BlockingStream,
    },
    path::{Path, PathBuf},
};

use rustix::{fs::Mode, io::Errno};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::BACKLOG;

/// Bytes of a socket's path: `sun_path` of unix(7) without its final zero.
pub(super) const MAX_PATH: usize = 107;

/// A bound Unix socket. Its file goes when it is dropped.
#[derive(Debug)]
pub struct UnixSocketListener {
    // Goes first: while the listener lives, no other socket can have the same inode.
    file: SocketFile,
    listener: UnixListener,
}

impl UnixSocketListener {
    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _unnamed) = self.listener.accept().await?;
        Ok(stream)
    }
}

/// The errors are the kernel's, and EEXIST for a path that is taken by something else than a socket.
pub(super) fn bind(path: &Path) -> io::Result<UnixSocketListener> {
    if path.as_os_str().as_bytes().len() > MAX_PATH {
        return Err(Errno::NAMETOOLONG.into());
    }
    let bound = match bind_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            bind_new(path)
        }
        bound => bound,
    };
    let listener = bound?.listen(BACKLOG)?;
    let file = SocketFile::of(path)?;
    Ok(UnixSocketListener { file, listener })
}

fn bind_new(path: &Path) -> io::Result<UnixSocket> {
    let socket = UnixSocket::new_stream()?;
    // Linux creates the file with the mode of the socket itself, less the umask: there is no moment
    // in which others could connect, as there is with chmod(2) after bind(2).
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(path)?;
    Ok(socket)
}

/// Removes the socket of a process that is gone. A live one refuses nothing, it only may be busy.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(Errno::EXIST.into());
    }
    match BlockingStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(Errno::ADDRINUSE.into()),
    }
}

/// Removes the socket's file on drop, unless another took its place meanwhile.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: inode(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // Left behind, it would be replaced as stale the next time.
            fs::remove_file(&self.path).ok();
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}
