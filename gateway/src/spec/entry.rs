//! One entry of an `mcpServers` document becomes a [`ServerSpec`], or a list of all that is wrong with it.

use std::{fmt, num::NonZeroU32};

use super::{
    Command, Process, Remote, Route, ServerSpec, Target, Tools, Transport,
    fields::{Fault, Fields, Report, Unknown, boolean, duration, list, map, text, whole},
    node::{Node, Problem, Value},
    values::{argument, filled, headers, mode, program, transport, url, variable},
};

/// Everything that is wrong with one entry, in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct EntryError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { "; " }, problem.text)?;
        }
        Ok(())
    }
}

/// Who wrote an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    /// A person: unknown fields are typing errors.
    User,
    /// A gateway: unknown fields are of a later release, which this one must be able to follow.
    Gateway,
}

/// Reads one entry; returns the spec and what was accepted without effect.
pub(crate) fn read_entry(node: &Node, author: Author) -> Result<(ServerSpec, Vec<String>), EntryError> {
    let judge = match author {
        Author::User => judge,
        Author::Gateway => |_: &str| Unknown::Ignored("it is of a later release"),
    };
    let mut report = Report::default();
    let spec = Fields::of(node, judge, &mut report, |fields| spec(node, fields)).flatten();
    let Report { mut problems, warnings } = report;
    problems.sort_by_key(|problem| problem.at);
    match spec {
        Some(spec) if problems.is_empty() => Ok((spec, warnings)),
        _ => Err(EntryError { problems }),
    }
}

fn spec(node: &Node, fields: &mut Fields<'_>) -> Option<ServerSpec> {
    let target = target(node, fields);
    let process = fields.section("process", process).unwrap_or_default();
    let tools = fields.section("tools", tools).unwrap_or_default();
    let route = fields.section("route", route).unwrap_or_default();
    // Clients write the same wish in four ways.
    let off = ["suspend", "disabled"].map(|name| fields.take(name, boolean) == Some(true));
    let not_on = ["enabled", "isActive"].map(|name| fields.take(name, boolean) == Some(false));
    let suspend = off.into_iter().chain(not_on).any(|wish| wish);
    Some(ServerSpec { target: target?, process, tools, route, suspend })
}

fn target(node: &Node, fields: &mut Fields<'_>) -> Option<Target> {
    match (fields.member("command"), fields.member("url")) {
        (Some(_), None) => command(fields).map(Target::Command),
        (None, Some(_)) => remote(fields).map(Target::Remote),
        (command, url) => {
            for name in ["args", "env", "headers", "type", "transport"] {
                fields.member(name);
            }
            match command.and(url) {
                Some(url) => fields.problem(url.at, "`command` and `url` exclude each other: keep one"),
                None => {
                    fields.problem(node.at, "it needs `command` (a program to start) or `url` (a server elsewhere)");
                }
            }
            None
        }
    }
}

fn command(fields: &mut Fields<'_>) -> Option<Command> {
    let command = fields.take("command", program);
    let args = fields.take("args", list(argument));
    let env = fields.take("env", map(variable));
    fields.take("headers", misplaced("is for a server with a `url`; a program gets its secrets in `env`"));
    for name in ["type", "transport"] {
        fields.take(name, |node| match text(node)? {
            "stdio" | "local" => Ok(()),
            _ => Err(Fault::new(node, "must be `stdio`, or left out, for a server with a `command`")),
        });
    }
    Some(Command { command: command?, args: args.unwrap_or_default(), env: env.unwrap_or_default() })
}

fn remote(fields: &mut Fields<'_>) -> Option<Remote> {
    let url = fields.take("url", url);
    let headers = fields.take("headers", headers);
    for name in ["args", "env"] {
        fields.take(name, misplaced("is for a server with a `command`; a server with a `url` takes `headers`"));
    }
    let declared = ["type", "transport"].map(|name| fields.take(name, transport).unwrap_or_default());
    let transport = match declared {
        [Transport::Auto, transport] | [transport, Transport::Auto] => transport,
        [one, other] if one == other => one,
        _ => {
            let at = fields.member("transport")?.at;
            fields.problem(at, "`type` and `transport` contradict each other: keep one");
            return None;
        }
    };
    Some(Remote { url: url?, transport, headers: headers.unwrap_or_default() })
}

fn process(fields: &mut Fields<'_>) -> Process {
    let default = Process::default();
    let process = Process {
        mode: fields.take("mode", mode).unwrap_or(default.mode),
        max_processes: fields.take("maxProcesses", whole(NonZeroU32::MIN)).unwrap_or(default.max_processes),
        warm_spares: fields.take("warmSpares", whole(0)).unwrap_or(default.warm_spares),
        idle_timeout: fields.take("idleTimeout", duration).unwrap_or(default.idle_timeout),
        install_timeout: fields.take("installTimeout", duration).unwrap_or(default.install_timeout),
        startup_timeout: fields.take("startupTimeout", duration).unwrap_or(default.startup_timeout),
        request_timeout: fields.take("requestTimeout", duration),
    };
    if let Some(member) = fields.member("warmSpares")
        && process.warm_spares > process.max_processes.get()
    {
        let text = format!("`process.warmSpares` must be at most `process.maxProcesses`, {}", process.max_processes);
        fields.problem(member.value.at, text);
    }
    process
}

fn tools(fields: &mut Fields<'_>) -> Tools {
    let mut names = |field| fields.take(field, list(|node| filled(node).map(str::to_owned))).unwrap_or_default();
    Tools { allow: names("allow"), deny: names("deny") }
}

fn route(fields: &mut Fields<'_>) -> Route {
    Route { aggregate: fields.take("aggregate", boolean).unwrap_or(true) }
}

/// Refuses a field of the other kind of server; tools that write every field leave it empty.
fn misplaced(why: &'static str) -> impl FnOnce(&Node) -> Result<(), Fault> {
    move |node| match &node.value {
        Value::List(list) if list.is_empty() => Ok(()),
        Value::Map(map) if map.is_empty() => Ok(()),
        _ => Err(Fault::new(node, why)),
    }
}

/// What to do with a field that is not one of ours. Fields without effect on security are let pass, so that what
/// stands in documentation can be pasted.
fn judge(name: &str) -> Unknown {
    match name {
        "alwaysAllow" | "autoApprove" | "description" | "gallery" | "homepage" | "icon" | "logoUrl" | "longRunning"
        | "name" | "provider" | "providerUrl" | "tags" | "title" | "trust" | "version" => {
            Unknown::Ignored("it is a setting of clients")
        }
        "timeout" => Unknown::Ignored("its unit differs between clients; write `process.requestTimeout`"),
        "cwd" => Unknown::Because("servers run in a directory of their own; write absolute paths in `args`"),
        "envFile" | "envFrom" => Unknown::Because("write the variables in `env`"),
        "baseUrl" | "endpoint" | "httpUrl" | "serverUrl" | "uri" => Unknown::Because("write `url`"),
        "allowedTools" | "enabledTools" | "includeTools" => Unknown::Because("write `tools.allow`"),
        "disabledTools" | "excludeTools" => Unknown::Because("write `tools.deny`"),
        "auth" | "authorization" | "oauth" => Unknown::Because("give the server's token in `headers`"),
        "image" | "network" | "packages" | "replicas" | "resources" | "volumes" => {
            Unknown::Because("it belongs to the McpServer resource of Kubernetes")
        }
        _ => Unknown::Refused,
    }
}
