//! See the library's documentation, or `mcp-gateway --help`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::Parser as _;
use gateway::args::{Cli, Command, KeysCommand, StateArgs};
use gateway::keys::KeyFile;
use gateway::store::Timestamp;
use runtime::exit::{UsageError, exit_code};
use runtime::limits;

/// The system's allocator spends a seventh of a busy gateway's time, and keeps the memory of streams that have ended.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    exit_code(run(Cli::parse()))
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(args) => {
            cli.telemetry.init()?;
            limits::raise_open_files();
            // What a killed sidecar leaves behind is handed to this process, which ends it.
            rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(gateway::serve::serve(*args, cli.telemetry.to_args()))
        }
        Command::Keys(command) => keys(command),
    }
}

fn keys(command: KeysCommand) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let now = Timestamp::from(SystemTime::now());
    match command {
        KeysCommand::Create { name, scopes, expires_in, state } => {
            let expires_at = expires_in.map(|time| now.after(time));
            let (record, key) = file(&state)?.create(&name, scopes, now, expires_at)?;
            writeln!(out, "{}", key.reveal())?;
            note(&format!("key {} is shown only now; send it as `Authorization: Bearer KEY`", record.id))
        }
        KeysCommand::List { state } => {
            for key in file(&state)?.list()? {
                let end = key.expires_at.map_or_else(|| "never".to_owned(), |end| end.to_string());
                let (id, name, scopes, made) = (key.id, key.name, key.scopes, key.created_at);
                writeln!(out, "{id}\t{name}\t{scopes}\tmade {made}\texpires {end}")?;
            }
            Ok(())
        }
        KeysCommand::Revoke { id, state } => {
            if !file(&state)?.revoke(&id)? {
                anyhow::bail!("no key has the id `{id}`; see `mcp-gateway keys list`");
            }
            writeln!(out, "key {id} is revoked").context("cannot write to standard output")
        }
    }
}

fn file(state: &StateArgs) -> anyhow::Result<KeyFile> {
    let nowhere = || UsageError::new("there is no home directory to keep state in: give --state-dir");
    let directory = state.directory(None).ok_or_else(nowhere)?;
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(KeyFile::new(&directory))
}

/// A word for people, beside an output that programs read.
fn note(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stderr(), "{text}").context("cannot write to standard error")
}
