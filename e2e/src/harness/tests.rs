//! The harness with the fixture's binary, and the fixture's faults as a process.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::*;
use crate::client::{Client, HttpClient};
use crate::wait::{PATIENCE, eventually};

fn fixture(flags: &[&str]) -> Launch {
    Launch::new(Bin::Fixture).unwrap().args(flags.iter().copied())
}

#[tokio::test]
async fn a_program_says_where_it_listens_and_stops_on_sigterm() {
    let mut program = fixture(&["--remote", "both"]).listen().await.unwrap();
    let client = HttpClient::connect(&program.url("/mcp"), "2025-11-25").await.unwrap();
    let pid = client.tool_text("pid", json!({})).await.unwrap();
    assert_eq!(pid, program.pid().to_string());
    let census = program.census();
    assert_eq!((census.program().unwrap().pid, census.below().len()), (program.pid(), 0));
    program.signal(Signal::TERM).unwrap();
    assert_eq!(program.wait(PATIENCE).await.unwrap().signal(), Some(15));
}

#[tokio::test]
async fn a_program_that_ends_early_is_reported_with_its_last_words() {
    let launch = fixture(&["--fault", "leak-secret-stderr"]).env("SECRET", "hunter2");
    let error = format!("{:#}", launch.listen().await.unwrap_err());
    assert!(error.contains("without saying where it listens") && error.contains("login with hunter2"), "{error}");
}

#[tokio::test]
async fn processes_left_behind_are_found_and_ended_with_the_program() {
    let program = fixture(&["--fault", "fork-grandchild", "--fault", "ignore-eof"]).spawn().unwrap();
    let census = eventually(PATIENCE, "both leftovers", async || {
        let census = program.census();
        let below = census.below();
        let orphan = below.iter().any(|process| process.command.ends_with("orphan") && process.parent != program.pid());
        (orphan && below.len() == 2).then_some(census)
    });
    let census = census.await.unwrap();
    assert!(program.wait_childless(Duration::ZERO).await.is_err());
    drop(program);
    let gone = eventually(PATIENCE, "all to end", async || {
        census.alive().iter().all(|process| process.state == 'Z').then_some(())
    });
    gone.await.unwrap();
}

#[tokio::test]
async fn sigterm_is_ignored_when_asked_and_sigkill_is_not() {
    let faults = ["--fault", "ignore-term", "--fault", "ignore-eof", "--fault", "stderr-flood=300000"];
    let mut program = fixture(&faults).spawn().unwrap();
    eventually(PATIENCE, "the flood", async || (program.logs().len() >= 300_000).then_some(())).await.unwrap();
    eventually(PATIENCE, "the handler", async || catches_term(program.pid()).then_some(())).await.unwrap();
    program.signal(Signal::TERM).unwrap();
    assert!(program.wait(Duration::from_millis(100)).await.is_err());
    program.kill().await.unwrap();
    assert!(program.census().processes.is_empty());
}

fn catches_term(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & (1 << 14) != 0)
}

#[tokio::test]
async fn a_crash_by_signal_is_seen_as_one() {
    let mut shell =
        Launch::program("/bin/sh").args(["-c", "echo listening on http://h:1; kill -SEGV $$"]).spawn().unwrap();
    assert_eq!(shell.listening().await.unwrap(), "http://h:1");
    assert_eq!(shell.wait(PATIENCE).await.unwrap().signal(), Some(11));
}
