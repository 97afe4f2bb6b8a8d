//! A session on a child's own stdin and stdout: the direct way that everything is compared with.

use std::path::Path;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::Answer;
use crate::process::Process;

/// A child and both ends of its pipes.
#[derive(Debug)]
pub(crate) struct Pipe {
    stdin: Sender,
    stdout: Receiver,
    buffer: BytesMut,
    line: Vec<u8>,
    child: Process,
}

impl Pipe {
    pub(super) fn open(program: &Path) -> anyhow::Result<Self> {
        let (child, stdin, stdout) = Process::piped("child", program)?;
        let stdin = Sender::from_owned_fd(stdin.into()).context("cannot write to the child")?;
        let stdout = Receiver::from_owned_fd(stdout.into()).context("cannot read from the child")?;
        Ok(Self { stdin, stdout, buffer: BytesMut::new(), line: Vec::new(), child })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub(super) async fn request(&mut self, id: u64, message: &[u8]) -> anyhow::Result<Bytes> {
        self.send(message).await?;
        loop {
            let line = self.line().await?;
            if Answer::parse(&line)?.id == Some(id) {
                return Ok(line);
            }
        }
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        self.line.clear();
        self.line.extend_from_slice(message);
        self.line.push(b'\n');
        self.stdin.write_all(&self.line).await.context("cannot write to the child")
    }

    /// Writes lines that end in newlines already.
    pub(crate) async fn send_lines(&mut self, lines: &[u8]) -> anyhow::Result<()> {
        self.stdin.write_all(lines).await.context("cannot write to the child")
    }

    /// Awaits the child's next line.
    pub(crate) async fn line(&mut self) -> anyhow::Result<Bytes> {
        let mut scanned = 0;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer[scanned..]) {
                return Ok(self.buffer.split_to(scanned + end + 1).freeze());
            }
            scanned = self.buffer.len();
            self.buffer.reserve(64 * 1024);
            let count = self.stdout.read_buf(&mut self.buffer).await.context("cannot read from the child")?;
            anyhow::ensure!(count > 0, "the child has exited");
        }
    }

    /// Whether a whole line waits in the buffer.
    pub(crate) fn has_line(&self) -> bool {
        memchr::memchr(b'\n', &self.buffer).is_some()
    }
}
