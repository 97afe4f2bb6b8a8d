//! The last words of a server: the end of its standard error, without secrets.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcp::json::quote;
use mcp::session::mux::Loss;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use super::Exit;
use crate::logbook::Logbook;

/// How many lines are kept.
const LINES: usize = 50;
/// How much of a line is kept, in bytes.
const LINE_BYTES: usize = 500;
/// How many lines an error text quotes.
const QUOTED: usize = 5;
/// Values of the environment shorter than this are too likely to occur by chance to be blotted out.
const SHORTEST_SECRET: usize = 6;
/// What the name of an inherited variable holds when its value is a secret. Those given to the server all are.
const SECRET_NAMES: [&str; 6] = ["AUTH", "CREDENTIAL", "KEY", "PASS", "SECRET", "TOKEN"];

/// The last lines of a server's standard error. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
    /// Longest first: one that contains another is blotted out before it.
    secrets: Arc<[String]>,
    book: Logbook,
    reader: Arc<Mutex<Option<Reader>>>,
}

/// Ends the reading task when the last clone is dropped.
#[derive(Debug)]
struct Reader(JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Tail {
    /// Nothing yet. Wherever one of `secrets` occurs, or a line of one, `***` is kept instead.
    /// Every line also goes into `book`.
    pub fn new(secrets: impl IntoIterator<Item = String>, book: Logbook) -> Self {
        let lines = |secret: String| secret.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
        let mut secrets: Vec<_> = secrets.into_iter().flat_map(lines).collect();
        secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets: secrets.into(), book, ..Self::default() }
    }

    /// Reads `stderr` to its end, whatever is in it.
    #[must_use]
    pub fn drain(self, stderr: pipe::Receiver) -> Self {
        let into = Self { reader: Arc::default(), ..self.clone() };
        let task = tokio::spawn(async move { into.read(&stderr).await });
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(Reader(task));
        self
    }

    /// Waits until all of it has been read, though not longer than `limit`: a descendant may hold it open.
    pub async fn finish(&self, limit: Duration) {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut reader) = reader {
            drop(tokio::time::timeout(limit, &mut reader.0).await);
        }
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    async fn read(&self, stderr: &pipe::Receiver) {
        let mut buffer = vec![0; 8 << 10];
        let mut line = Vec::new();
        while stderr.readable().await.is_ok() {
            match stderr.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.take(&buffer[..count], &mut line),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
            // A server that floods its standard error must not keep this thread to itself.
            tokio::task::yield_now().await;
        }
        self.push(&line);
    }

    /// Cuts lines. `line` is the one that has begun.
    fn take(&self, mut bytes: &[u8], line: &mut Vec<u8>) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            self.append(line, &bytes[..at]);
            self.push(line);
            line.clear();
            bytes = &bytes[at + 1..];
        }
        self.append(line, bytes);
    }

    /// Keeps so much more than is shown that no secret is cut, and thereby missed, where it is.
    fn append(&self, line: &mut Vec<u8>, bytes: &[u8]) {
        let room = (LINE_BYTES + self.longest_secret()).saturating_sub(line.len());
        line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn longest_secret(&self) -> usize {
        self.secrets.first().map_or(0, String::len)
    }

    /// Keeps a line.
    pub fn push(&self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        let mut text = String::from_utf8_lossy(line).trim_end().to_owned();
        for secret in self.secrets.iter() {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "***");
            }
        }
        if line.len() > LINE_BYTES {
            let shown = text.len().saturating_sub(self.longest_secret()).min(LINE_BYTES);
            text = String::from_utf8_lossy(&text.as_bytes()[..shown]).into_owned();
        }
        self.book.push(&text);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_back(text);
        if lines.len() > LINES {
            lines.pop_front();
        }
    }
}

/// Secrets in the environment that a server inherits from this process.
pub fn inherited_secrets() -> impl Iterator<Item = String> {
    let is_secret = |name: &str| SECRET_NAMES.iter().any(|part| name.to_ascii_uppercase().contains(part));
    let named = std::env::vars_os().filter(move |(name, _)| name.to_str().is_some_and(is_secret));
    named.filter_map(|(_, value)| value.into_string().ok())
}

/// What the callers of a server that `ended` so are told.
pub(super) fn loss(name: &str, ended: &str, exit: Option<Exit>, tail: &Tail) -> Loss {
    let lines = tail.lines();
    let last = &lines[lines.len().saturating_sub(QUOTED)..];
    let words = if last.is_empty() {
        String::from("; it wrote nothing to its standard error")
    } else {
        format!("; its last words: {}", last.join(" | "))
    };
    let number = |value: Option<i32>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
    let quoted: Vec<_> = last.iter().map(|line| quote(line)).collect();
    let data = format!(
        r#"{{"server":{},"failure":"process","exitCode":{},"signal":{},"stderrTail":[{}]}}"#,
        quote(name),
        number(exit.and_then(|exit| exit.code)),
        number(exit.and_then(|exit| exit.signal)),
        quoted.join(",")
    );
    Loss { message: format!("server `{name}` {ended}{words}"), data: Some(data) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept_and_secrets_never() {
        let tail = Tail::new(["sk-12345".to_owned(), "1".to_owned()], Logbook::default());
        let mut line = Vec::new();
        for number in 0..100 {
            tail.take(format!("line {number} with sk-12345 in it\n").as_bytes(), &mut line);
        }
        tail.take(&[b'x'; 10_000], &mut line);
        tail.push(&line);
        let lines = tail.lines();
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[LINES - 2], "line 99 with *** in it");
        assert_eq!(lines[LINES - 1].len(), LINE_BYTES);
    }

    #[test]
    fn a_secret_is_kept_neither_where_lines_are_cut_nor_in_its_own_lines() {
        let tail = Tail::new(["-----BEGIN\nc2VjcmV0\n".to_owned(), "sk-12345".to_owned()], Logbook::default());
        let mut line = Vec::new();
        for before in LINE_BYTES - 10..LINE_BYTES + 10 {
            tail.take(format!("sk-12345{}sk-12345{}\n", "x".repeat(before), "y".repeat(20)).as_bytes(), &mut line);
        }
        tail.take(b"c2VjcmV0\n", &mut line);
        assert!(tail.lines().iter().all(|line| !line.contains("sk") && !line.contains("c2V")), "{:?}", tail.lines());
    }

    #[test]
    fn a_loss_says_what_happened_to_people_and_programs() {
        let tail = Tail::new([], Logbook::default());
        tail.push(b"boom \"x\"");
        let exit = Exit { code: Some(3), ..Exit::default() };
        let loss = loss("time", &exit.to_string(), Some(exit), &tail);
        assert_eq!(loss.message, "server `time` exited with code 3; its last words: boom \"x\"");
        let data = r#"{"server":"time","failure":"process","exitCode":3,"signal":null,"stderrTail":["boom \"x\""]}"#;
        assert_eq!(loss.data.as_deref(), Some(data));
    }
}
