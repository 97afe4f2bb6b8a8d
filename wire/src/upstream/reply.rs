//! What a server says to a request of 2026-07-28, which is one HTTP request and stands alone.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use mcp::envelope::{Message, Refused, RequestId};

use super::events::{EventStream, Media, drain, messages};

/// See the [module](self).
#[derive(Debug)]
pub struct Reply {
    id: RequestId,
    max: usize,
    body: Body,
    /// Read and not yet taken.
    read: VecDeque<Message>,
}

#[derive(Debug)]
enum Body {
    Json(Incoming),
    Events(Box<EventStream>),
    /// Neither, or read to its end.
    Nothing,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It is no message.
    #[error("what it sends is neither JSON nor an event stream (status {0})")]
    Media(StatusCode),
    /// It is cut off.
    #[error("what it sends ended before the answer")]
    Ended,
    /// It is longer than may be.
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
    /// It is no message of JSON-RPC.
    #[error("its answer cannot be read: {0}")]
    Unreadable(#[from] Refused),
}

impl Reply {
    /// What `response` says to the request `id`, in messages of up to `max` bytes.
    ///
    /// # Errors
    /// When it holds no messages.
    pub fn new(response: Response<Incoming>, id: RequestId, max: usize) -> Result<Self, NoAnswer> {
        let (head, body) = response.into_parts();
        let body = match Media::of(&head.headers) {
            Media::Json => Body::Json(body),
            Media::Events => Body::Events(Box::new(EventStream::new(body, max))),
            Media::Other => return Err(NoAnswer::Media(head.status)),
        };
        Ok(Self { id, max, body, read: VecDeque::new() })
    }

    /// The next message, of which the answer is the last. Something may be lost when the future is dropped.
    ///
    /// # Errors
    /// When no answer will come.
    pub async fn next(&mut self) -> Result<Message, NoAnswer> {
        loop {
            if let Some(message) = self.read.pop_front() {
                return Ok(message);
            }
            let text = self.text().await?;
            // An event without data says nothing.
            if !text.is_empty() {
                self.read.extend(messages(text, self.max, Some(&self.id))?);
            }
        }
    }

    async fn text(&mut self) -> Result<Bytes, NoAnswer> {
        match &mut self.body {
            Body::Nothing => Err(NoAnswer::Ended),
            Body::Events(events) => match events.next().await {
                Some(Ok(event)) => Ok(event.data),
                Some(Err(event)) => Err(NoAnswer::TooLarge(event.limit)),
                None => Err(NoAnswer::Ended),
            },
            Body::Json(body) => {
                let whole = Limited::new(body, self.max).collect().await;
                self.body = Body::Nothing;
                match whole {
                    Ok(whole) => Ok(whole.to_bytes()),
                    Err(error) if error.is::<LengthLimitError>() => Err(NoAnswer::TooLarge(self.max)),
                    Err(_) => Err(NoAnswer::Ended),
                }
            }
        }
    }

    /// Reads to the end what follows the answer, if that is near: the connection can carry another request then.
    pub async fn finish(self) {
        if let Body::Events(events) = self.body {
            drain(events.into_body()).await;
        }
    }
}
