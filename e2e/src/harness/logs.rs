//! What a program writes, line by line, for tests to wait for and for people to read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::Notify;

/// Lines kept of each stream; the oldest go first.
const LINES: usize = 5_000;

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    /// The first of all lines, kept for good.
    first: Option<String>,
    ended: bool,
}

/// Lines of one stream, shared with the task that reads it.
#[derive(Debug, Clone, Default)]
pub(super) struct Logs(Arc<(Mutex<State>, Notify)>);

impl Logs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().expect("nothing panics while holding it")
    }

    pub(super) async fn read(self, stream: impl AsyncRead + Unpin) {
        let (mut stream, mut line) = (BufReader::new(stream), Vec::new());
        while matches!(stream.read_until(b'\n', &mut line).await, Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            let mut state = self.state();
            state.first.get_or_insert_with(|| text.clone());
            if state.lines.len() == LINES {
                state.lines.pop_front();
            }
            state.lines.push_back(text);
            self.0.1.notify_waiters();
        }
        self.state().ended = true;
        self.0.1.notify_waiters();
    }

    pub(super) fn text(&self) -> String {
        self.state().lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    pub(super) fn tail(&self, lines: usize) -> String {
        let state = self.state();
        let tail = state.lines.iter().skip(state.lines.len().saturating_sub(lines));
        tail.fold(String::new(), |text, line| text + line + "\n")
    }

    /// The first line; `None` when the stream ends without one.
    pub(super) async fn first(&self) -> Option<String> {
        self.until(|state| state.first.clone()).await
    }

    /// A line that is kept and holds `part`; `None` when the stream ends without one.
    pub(super) async fn line_with(&self, part: &str) -> Option<String> {
        self.until(|state| state.lines.iter().find(|line| line.contains(part)).cloned()).await
    }

    async fn until(&self, look: impl Fn(&State) -> Option<String>) -> Option<String> {
        loop {
            let changed = self.0.1.notified();
            {
                let state = self.state();
                let found = look(&state);
                if found.is_some() || state.ended {
                    return found;
                }
            }
            changed.await;
        }
    }
}
