//! What a sidecar tells of its server for as long as somebody listens: the stream of `GET /status?watch`.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mcp::sse::Decoder;
use wire::status::Status;

/// The largest status; a catalogue of thousands of tools has some megabytes.
const MAX_STATUS: usize = 64 << 20;

/// The statuses of one server, one after the other.
#[derive(Debug)]
pub struct Statuses {
    body: Incoming,
    decoder: Decoder,
}

impl Statuses {
    /// From the body of the answer.
    pub fn new(body: Incoming) -> Self {
        Self { body, decoder: Decoder::new(MAX_STATUS) }
    }

    /// The next one; `None` when the sidecar has ended the stream. Only the newest counts: some may be passed over.
    pub async fn next(&mut self) -> Option<Status> {
        loop {
            let frame = self.body.frame().await?.ok()?;
            frame.into_data().into_iter().for_each(|data| self.decoder.push(data));
            let newest = self.decoder.by_ref().filter_map(Result::ok).last();
            if let Some(status) = newest.and_then(|event| serde_json::from_slice(&event.data).ok()) {
                return Some(status);
            }
        }
    }
}
