//! Many clients of one pipe: as many calls under way, in one loop, because a pipe has one reader.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use tokio::time::timeout;

use super::caller::{Words, text_of, write_call};
use super::{GRACE, Recorder, Run, Span, Window, watch_cpu};
use crate::session::{Answer, Endpoint, Pipe, Session};
use crate::target::Role;

/// Calls that await their answer, by id: when they were sent, with which text.
type Sent = HashMap<u64, (Instant, String)>;

/// Keeps `clients` calls under way on one child for the span.
pub(super) async fn pipelined(program: &Path, clients: usize, span: Span) -> anyhow::Result<Run> {
    let endpoint = Endpoint::Pipe { program: program.to_owned() };
    let Session::Pipe(mut pipe) = Session::open(&endpoint).await? else { unreachable!("a pipe opens as a pipe") };
    let window = Window::after(span);
    let roles = vec![Role { name: "child", pid: pipe.pid() }];
    let recorder = Recorder::new();
    let work = async { tokio::join!(call_until(&mut pipe, clients, window, &recorder), watch_cpu(roles, window)) };
    let (called, cpu) =
        timeout(span.warm_up + span.length + GRACE, work).await.context("calls were left without an answer")?;
    called?;
    Ok(Run::new(recorder.take(), window, cpu?, 0))
}

async fn call_until(pipe: &mut Pipe, clients: usize, window: Window, recorder: &Recorder) -> anyhow::Result<()> {
    let mut words = Words::new(0);
    let mut sent = Sent::with_capacity(clients);
    let mut lines = Vec::new();
    for _ in 0..clients {
        push_call(&mut lines, &mut words, &mut sent)?;
    }
    while !sent.is_empty() {
        pipe.send_lines(&lines).await?;
        lines.clear();
        loop {
            let line = pipe.line().await?;
            let id = Answer::parse(&line)?.id.context("the child sent what is not an answer")?;
            let (at, text) = sent.remove(&id).context("the child answered what was not asked")?;
            ensure!(text_of(&line)? == text, "the answer holds another call's text");
            let now = Instant::now();
            if at >= window.start && now <= window.end {
                recorder.record(now - at);
            }
            if now < window.end {
                push_call(&mut lines, &mut words, &mut sent)?;
            }
            if !pipe.has_line() {
                break;
            }
        }
    }
    Ok(())
}

fn push_call(lines: &mut Vec<u8>, words: &mut Words, sent: &mut Sent) -> anyhow::Result<()> {
    let id = words.next_id();
    write_call(lines, id, "echo", &words.text)?;
    lines.push(b'\n');
    sent.insert(id, (Instant::now(), words.text.clone()));
    Ok(())
}
