//! Running a program so that it ends when its parent does, even when that is killed, and may open as many files as if
//! its user had started it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;

use anyhow::Context as _;
use runtime::limits;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Becomes the program; returns only on failure.
///
/// The kernel sends the signal when the *thread* that started this process ends, so the parent starts processes from
/// a thread that lives as long as it does. `open_files` is the soft limit that the program gets.
pub fn wrap(parent: i32, open_files: Option<u64>, command: &[OsString]) -> io::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // It may have died before the signal was arranged.
    if getppid().map(rustix::process::Pid::as_raw_nonzero).map(std::num::NonZero::get) != Some(parent) {
        return io::Error::other("the parent has ended");
    }
    if let Some(soft) = open_files {
        limits::lower_open_files(soft);
    }
    let Some((program, args)) = command.split_first() else { return io::Error::other("no program was given") };
    std::process::Command::new(program).args(args).exec()
}

/// What processes are started through, so that they end with this one. They may open `open_files`, else as many as this
/// one when it was started.
pub fn wrapper(open_files: Option<u64>) -> anyhow::Result<Vec<OsString>> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let open_files = open_files.or_else(limits::inherited_open_files).map(|soft| format!("--open-files={soft}").into());
    let words = [own.into(), "wrap".into()].into_iter().chain(open_files);
    Ok(words.chain([std::process::id().to_string().into()]).collect())
}
