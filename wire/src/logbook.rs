//! The newest lines of a server's standard error, over all its processes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// How many lines are kept.
const LINES: usize = 1000;

/// See the [module](self). Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Logbook(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    book: Mutex<Book>,
    written: Notify,
}

#[derive(Debug, Default)]
struct Book {
    lines: VecDeque<Arc<str>>,
    /// How many lines were ever written.
    count: u64,
}

impl Logbook {
    /// Adds a line.
    pub fn push(&self, line: &str) {
        let mut book = self.lock();
        book.lines.push_back(line.into());
        book.count += 1;
        if book.lines.len() > LINES {
            book.lines.pop_front();
        }
        drop(book);
        self.0.written.notify_waiters();
    }

    /// The last `count` lines, oldest first, and the position behind them.
    pub fn last(&self, count: usize) -> (Vec<Arc<str>>, u64) {
        let book = self.lock();
        (book.lines.iter().skip(book.lines.len().saturating_sub(count)).cloned().collect(), book.count)
    }

    /// The lines behind `position`, waiting for the first; and the position behind them. Lines that were dropped
    /// meanwhile are left out.
    pub async fn after(&self, position: u64) -> (Vec<Arc<str>>, u64) {
        loop {
            let written = self.0.written.notified();
            let mut written = std::pin::pin!(written);
            written.as_mut().enable();
            let count = self.lock().count;
            if count > position {
                return self.last(usize::try_from(count - position).unwrap_or(LINES));
            }
            written.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_follower_gets_each_line_once() {
        let book = Logbook::default();
        book.push("a");
        book.push("b");
        let (lines, position) = book.last(1);
        assert_eq!(lines, ["b".into()]);
        book.push("c");
        let (lines, position) = book.after(position).await;
        assert_eq!(lines, ["c".into()]);
        let later = tokio::spawn({
            let book = book.clone();
            async move { book.after(position).await.0 }
        });
        tokio::task::yield_now().await;
        book.push("d");
        assert_eq!(later.await.unwrap(), ["d".into()]);
    }
}
