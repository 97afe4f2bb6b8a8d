//! A server that is a process: one line per message on its standard input and output (MCP "stdio").
//!
//! [`Program`] says what to run, [`Child`] is the [`Link`] to it. Its standard error is always drained; the last lines
//! are kept for whoever asks why it ended. It runs in a process group of its own, and ends with everything it started.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mcp::json::Rope;
use mcp::session::mux::Loss;
use tokio::net::unix::pipe;
use tokio::time::{Instant, timeout};

use crate::link::{Event, Link};

pub mod launcher;
mod lines;
mod orphans;
mod process;
mod tail;

pub use lines::Lines;
pub use orphans::{end_all, sweep_orphans, tend_orphans};
pub use process::{Exit, Pipes, Process, Program, spawn, start};
pub use tail::{Tail, inherited_secrets};

/// What may wait to be written to a server that does not read. More, and it counts as broken.
const MAX_UNWRITTEN: usize = 64 << 20;
/// Messages up to this size are written by one call from one buffer.
const COPIED: usize = 16 << 10;
/// How much of its output is read at once.
const READ: usize = 64 << 10;
/// The most that a pipe holds, unless root says otherwise.
const MAX_PIPE: usize = 1 << 20;
/// How long a server may take to end after its input was closed, and again after it was told to.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long the last words of a dead server are waited for.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// See the [module](self).
#[derive(Debug)]
pub struct Child {
    name: Arc<str>,
    process: Process,
    /// `None` once closed.
    stdin: Option<pipe::Sender>,
    unwritten: std::collections::VecDeque<Bytes>,
    unwritten_bytes: usize,
    /// `None` at its end.
    stdout: Option<pipe::Receiver>,
    lines: Lines,
    tail: Tail,
    broken: Option<String>,
    exit: Option<Exit>,
}

impl Child {
    /// Takes over a process. `max_line` bounds one message, in bytes; `name` is for error texts.
    pub fn new(name: Arc<str>, process: Process, pipes: Pipes, tail: Tail, max_line: usize) -> Self {
        Self {
            name,
            process,
            stdin: Some(pipes.stdin),
            unwritten: std::collections::VecDeque::new(),
            unwritten_bytes: 0,
            stdout: Some(pipes.stdout),
            lines: Lines::new(max_line),
            tail: tail.drain(pipes.stderr),
            broken: None,
            exit: None,
        }
    }

    /// Takes over a process of `program`, whose own and inherited environment hold secrets.
    fn of(program: &Program, process: Process, pipes: Pipes, inherited: impl Iterator<Item = String>) -> Self {
        let given = program.env.iter().map(|(_, value)| value.clone());
        let tail = Tail::new(given.chain(inherited), program.logbook.clone());
        Self::new(Arc::clone(&program.name), process, pipes, tail, program.max_line)
    }

    /// The process id, while it runs here.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// The last lines of its standard error.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Whether it has ended, as far as is known without waiting.
    pub fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// How it ended, once it has.
    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Writes what the pipe takes now.
    fn write(&mut self) {
        while let (Some(stdin), Some(front)) = (&self.stdin, self.unwritten.front_mut()) {
            match stdin.try_write(front) {
                Ok(written) => {
                    let _ = front.split_to(written);
                    self.unwritten_bytes -= written;
                    if front.is_empty() {
                        self.unwritten.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It no longer reads. Its exit, or the end of its output, says more.
                Err(_) => self.close_stdin(),
            }
        }
    }

    fn close_stdin(&mut self) {
        self.stdin = None;
        self.unwritten.clear();
        self.unwritten_bytes = 0;
    }

    /// Reads what is there now.
    fn read(&mut self) {
        let Some(stdout) = &self.stdout else { return };
        match self.lines.read(READ, |buffer: &mut BytesMut| stdout.try_read_buf(buffer)) {
            Ok(0) => {
                self.stdout = None;
                self.lines.end();
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.stdout = None,
            Ok(_) | Err(_) => {}
        }
    }

    /// Waits until something can be done, and does it.
    async fn step(&mut self) {
        let readable = async {
            match &self.stdout {
                Some(stdout) => drop(stdout.readable().await),
                // Its output has ended: it should follow soon.
                None => tokio::time::sleep(PATIENCE).await,
            }
        };
        let writable = async {
            match &self.stdin {
                Some(stdin) if !self.unwritten.is_empty() => drop(stdin.writable().await),
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = readable => {
                if self.stdout.is_none() && self.exit.is_none() {
                    self.broken.get_or_insert_with(|| "closed its standard output".to_owned());
                }
                self.read();
            }
            () = writable => self.write(),
            exit = self.process.wait() => {
                self.exit = Some(exit);
                if self.process.is_lost() {
                    self.broken.get_or_insert_with(|| "was lost with the launcher that ran it".to_owned());
                }
                // What it wrote before it ended is in the pipe, and counts; what its descendants go on writing does not.
                for _ in 0..=MAX_PIPE / READ {
                    self.read();
                    if !self.lines.filled() {
                        break;
                    }
                }
                self.lines.end();
            }
        }
    }

    /// Why it is lost, with its last words.
    async fn loss(&mut self) -> Loss {
        self.process.kill_group();
        if self.exit.is_none() {
            self.exit = timeout(PATIENCE, self.process.wait()).await.ok();
        }
        self.tail.finish(LAST_WORDS).await;
        let ended = self.broken.take().unwrap_or_else(|| self.exit.map_or_else(String::new, |exit| exit.to_string()));
        tail::loss(&self.name, &ended, self.exit, &self.tail)
    }
}

impl Link for Child {
    fn send(&mut self, message: Rope) {
        if self.stdin.is_none() {
            return;
        }
        let length = message.len() + 1;
        if self.unwritten_bytes + length > MAX_UNWRITTEN {
            self.broken.get_or_insert_with(|| "does not read its standard input".to_owned());
            return;
        }
        self.unwritten_bytes += length;
        if length <= COPIED {
            let mut line = BytesMut::with_capacity(length);
            message.chunks().iter().for_each(|chunk| line.extend_from_slice(chunk));
            line.extend_from_slice(b"\n");
            self.unwritten.push_back(line.freeze());
        } else {
            self.unwritten.extend(message.into_iter().filter(|chunk| !chunk.is_empty()));
            self.unwritten.push_back(Bytes::from_static(b"\n"));
        }
        self.write();
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.lines.pop() {
                return event;
            }
            if self.exit.is_some() || self.broken.is_some() {
                return Event::Lost(self.loss().await);
            }
            self.step().await;
        }
    }

    async fn stop(mut self) {
        self.close_stdin();
        for signal in [None, Some(rustix::process::Signal::TERM)] {
            if let Some(signal) = signal {
                self.process.signal_group(signal);
            }
            if self.exits_by(Instant::now() + PATIENCE).await {
                break;
            }
        }
        self.process.kill_group();
        drop(timeout(PATIENCE, self.process.wait()).await);
    }
}

impl Child {
    /// Whether it ends by then. Its output is read meanwhile, and thrown away, so that it does not wait for that.
    async fn exits_by(&mut self, end: Instant) -> bool {
        let Self { process, stdout, .. } = self;
        let waste = async {
            let mut buffer = vec![0; READ];
            while let Some(open) = stdout {
                drop(open.readable().await);
                match open.try_read(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(1..) => {}
                    Ok(0) | Err(_) => *stdout = None,
                }
            }
            std::future::pending().await
        };
        let ended = async {
            tokio::select! {
                exit = process.wait() => exit,
                never = waste => never,
            }
        };
        tokio::time::timeout_at(end, ended).await.is_ok()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.process.kill_group();
    }
}
