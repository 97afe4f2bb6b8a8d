//! The arguments of the sidecar. Only what differs from its own defaults is said, so that a new default of the sidecar
//! does not have to be one of the operator.

use std::time::Duration;

use api::spec::Process;

use super::{ADMIN_PORT, CACHE, HOP, LOCK, PORT, SOCKET, config};
use crate::controller::validate::{Cache, Program, Remote, ValidatedServer, same};
use crate::settings::Settings;

/// The variable that holds the value of a header.
pub(super) fn header_variable(index: usize) -> String {
    format!("MCP_HEADER_{index}")
}

pub(super) fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs())
}

pub(super) fn program(server: &ValidatedServer, program: &Program, settings: &Settings) -> Vec<String> {
    let mut args = common(server, settings);
    push(&mut args, "--launcher", SOCKET);
    push(&mut args, "--cache-dir", CACHE);
    push(&mut args, "--package-lock", format!("{LOCK}/{}", config::LOCK_FILE));
    // A volume has what was installed for older specs, and perhaps by another image.
    if let Some(requested) = server.requested().filter(|_| !matches!(program.packages.cache, Cache::Node(_))) {
        push(&mut args, "--package-update", requested);
    }
    args.push("--".to_owned());
    // Kubernetes reads `$(NAME)` in arguments; a server's are its own.
    args.extend(program.command.iter().map(|arg| arg.replace('$', "$$")));
    args
}

pub(super) fn remote(server: &ValidatedServer, remote: &Remote, settings: &Settings) -> Vec<String> {
    let mut args = common(server, settings);
    push(&mut args, "--url", remote.url.replace('$', "$$"));
    push(&mut args, "--transport", same::<_, String>(&remote.transport));
    for (index, header) in remote.headers.iter().enumerate() {
        push(&mut args, "--header-env", format!("{}={}", header.name.replace('$', "$$"), header_variable(index)));
    }
    args
}

fn common(server: &ValidatedServer, settings: &Settings) -> Vec<String> {
    let mut args = vec!["serve".to_owned()];
    push(&mut args, "--listen", format!(":{PORT}"));
    push(&mut args, "--admin", format!(":{ADMIN_PORT}"));
    push(&mut args, "--name", &server.name);
    push(&mut args, "--hop-keys", HOP);
    push(&mut args, "--hop-audience", &server.uid);
    push(&mut args, "--drain-timeout", seconds(settings.drain));
    process(&mut args, &server.process);
    for pattern in &server.tools.allow {
        args.push(format!("--allow-tool={}", pattern.replace('$', "$$")));
    }
    for pattern in &server.tools.deny {
        args.push(format!("--deny-tool={}", pattern.replace('$', "$$")));
    }
    args
}

fn process(args: &mut Vec<String>, process: &Process) {
    let mode = process.mode.as_ref().map(same::<_, String>);
    let milliseconds = |time: &Option<api::duration::Duration>| time.as_ref().map(|time| in_milliseconds(time.get()));
    let given = [
        ("--mode", mode),
        ("--max-processes", process.max_processes.map(|number| number.to_string())),
        ("--warm-spares", process.warm_spares.map(|number| number.to_string())),
        ("--idle-timeout", milliseconds(&process.idle_timeout)),
        ("--install-timeout", milliseconds(&process.install_timeout)),
        ("--startup-timeout", milliseconds(&process.startup_timeout)),
        ("--request-timeout", milliseconds(&process.request_timeout)),
    ];
    for (flag, value) in given {
        if let Some(value) = value {
            push(args, flag, value);
        }
    }
}

/// The sidecar reads one unit at a time, where a spec may have several: `1h30m`.
fn in_milliseconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

fn push(args: &mut Vec<String>, flag: &str, value: impl Into<String>) {
    args.extend([flag.to_owned(), value.into()]);
}
