//! `mcp-sidecar copy`: puts this program where another container finds it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Everybody may run it, nobody may change it.
const MODE: u32 = 0o555;

/// Copies this program to `to`. What is there is replaced as a whole: a program that runs from it goes on.
pub fn copy(to: &Path) -> anyhow::Result<()> {
    // Not the path of the program, which may have been replaced since it was started.
    let own = Path::new("/proc/self/exe");
    copy_file(own, to).with_context(|| format!("cannot copy this program to {}", to.display()))
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let name = to.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "that is no file"))?;
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}", std::process::id()));
    let partial = to.with_file_name(partial);
    let copied = write(from, &partial).and_then(|()| fs::rename(&partial, to));
    if copied.is_err() {
        // Nobody knows of it.
        drop(fs::remove_file(&partial));
    }
    copied
}

fn write(from: &Path, to: &Path) -> io::Result<()> {
    let mut file = File::create(to)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_may_be_run_by_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "an older and longer one").unwrap();
        copy_file(&from, &to).unwrap();
        copy_file(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "new");
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn nothing_is_left_where_it_cannot_be_put() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::write(&from, "new").unwrap();
        let to = folder.path().join("folder");
        fs::create_dir(&to).unwrap();
        assert!(copy_file(&from, &to).is_err());
        assert!(copy_file(&from, &folder.path().join("missing/to")).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
