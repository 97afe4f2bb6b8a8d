//! A stream from the task that owns a session to one client connection.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use mcp::session::SessionKey;
use mcp::session::streams::{Carrier, Delivery, StreamId};
use tokio::sync::{Notify, mpsc};

/// What may wait for one client's connection, in bytes: beyond that it is too slow and cut. A single message may always
/// wait, however large; by default they are as large as this, so that the bound is no higher for several.
const STREAM_BYTES: usize = 16 << 20;
/// The same for a reader in this program, which is about to take what waits.
const INSIDE_BYTES: usize = 512 << 20;
/// What a message that waits costs beside its text, in bytes.
const MESSAGE_COST: usize = 256;
/// So many messages may wait at most, by these two.
const STREAM_QUEUE: usize = STREAM_BYTES / MESSAGE_COST;
/// What is sent to one client connection.
#[derive(Debug)]
pub enum Frame {
    /// A message.
    Message(Box<Delivery>),
    /// The request cannot be served; nothing follows.
    Refused(Box<RefusedRequest>),
}

/// Why a POST or GET was not accepted by its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusedRequest {
    /// The session has ended.
    Gone,
    /// It reuses the id of a request that is still worked on.
    IdInUse(mcp::envelope::RequestId),
    /// `Last-Event-ID` names an event that was never sent.
    UnknownEvent,
}

/// A stream to a client as its session's task holds it. Dropping it ends the stream.
#[derive(Clone, Debug)]
pub struct StreamTx {
    frames: mpsc::Sender<Frame>,
    shared: Arc<Shared>,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    id: OnceLock<StreamId>,
    /// Told once `id` is there.
    accepted: Notify,
    carrier: Decision,
    /// Whether the client is to connect again when the stream ends.
    sent_away: AtomicBool,
}

/// What the response is. Whoever needs to know first decides, and the other end keeps to that: the session, when it has
/// something to send, or the response, when it has to begin.
#[derive(Debug, Default)]
struct Decision(AtomicU8);

impl Decision {
    fn get(&self) -> Carrier {
        match self.0.load(Ordering::Acquire) {
            1 => Carrier::Plain,
            2 => Carrier::Events,
            _ => Carrier::Undecided,
        }
    }

    /// Decides for `carrier`, unless it is decided. What it is now.
    fn settle(&self, carrier: Carrier) -> Carrier {
        let wanted = match carrier {
            Carrier::Undecided => return self.get(),
            Carrier::Plain => 1,
            Carrier::Events => 2,
        };
        // Where it fails, the other end was first.
        let _ = self.0.compare_exchange(0, wanted, Ordering::AcqRel, Ordering::Acquire);
        self.get()
    }
}

/// The other end, held by the HTTP response. When it is dropped, the session's task is told.
#[derive(Debug)]
pub struct StreamRx {
    frames: mpsc::Receiver<Frame>,
    shared: Arc<Shared>,
    farewell: Option<(Arc<Departures>, SessionKey)>,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The client reads too slowly, and too much waits for it already.
    Slow,
    /// The client is gone.
    Gone,
}

/// A stream whose reader, when dropped, reports to `departures` on behalf of `session`.
pub fn stream(departures: &Arc<Departures>, session: SessionKey) -> (StreamTx, StreamRx) {
    let (tx, rx) = mpsc::channel(STREAM_QUEUE);
    let shared = Arc::new(Shared::default());
    let farewell = Some((Arc::clone(departures), session));
    let tx = StreamTx { frames: tx, shared: Arc::clone(&shared), max_bytes: STREAM_BYTES };
    (tx, StreamRx { frames: rx, shared, farewell })
}

impl StreamTx {
    /// The same for a reader in this program: it is not cut for a burst that no network would take at once.
    pub(super) fn inside(self) -> Self {
        Self { max_bytes: INSIDE_BYTES, ..self }
    }

    /// Hands a frame over without waiting.
    pub fn offer(&self, frame: Frame) -> Result<(), Cut> {
        let bytes = frame.bytes();
        let queued = self.shared.queued_bytes.load(Ordering::Relaxed);
        if queued > 0 && queued + bytes > self.max_bytes {
            return Err(Cut::Slow);
        }
        self.frames.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Cut::Slow,
            mpsc::error::TrySendError::Closed(_) => Cut::Gone,
        })?;
        self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Tells the reader which stream of the session this is.
    pub fn set_id(&self, id: StreamId) {
        self.shared.id.get_or_init(|| id);
        self.shared.accepted.notify_one();
    }

    /// The stream is about to end, and its client is to connect again.
    pub fn send_away(&self) {
        self.shared.sent_away.store(true, Ordering::Release);
    }

    /// What the response is, as far as that is decided.
    pub fn carrier(&self) -> Carrier {
        self.shared.carrier.get()
    }

    /// What the response is once `delivery`, which is offered next, goes on it.
    pub fn carry(&self, delivery: &Delivery) -> Carrier {
        self.shared.carrier.settle(self.shared.carrier.get().with(delivery))
    }

    fn is(&self, other: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, other)
    }
}

impl StreamRx {
    /// The next frame; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Frame> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        let frame = ready!(self.frames.poll_recv(cx));
        match &frame {
            Some(frame) => drop(self.shared.queued_bytes.fetch_sub(frame.bytes(), Ordering::Relaxed)),
            None => self.farewell = None,
        }
        Poll::Ready(frame)
    }

    /// Decides what the response is, unless the session has sent what decides it. What it is now.
    pub fn decide(&self, carrier: Carrier) -> Carrier {
        self.shared.carrier.settle(carrier)
    }

    /// Waits until the session has taken the stream, and then says nothing, or until something comes before, such as a
    /// refusal: `Some` of that, or of the end.
    pub async fn accepted(&mut self) -> Option<Option<Frame>> {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            biased;
            () = shared.accepted.notified() => None,
            frame = self.next() => Some(frame),
        }
    }

    /// Whether the client is to connect again now that the stream has ended.
    pub fn is_sent_away(&self) -> bool {
        self.shared.sent_away.load(Ordering::Acquire)
    }

    /// Which stream of its session this is, once the session knows.
    pub fn id(&self) -> Option<StreamId> {
        self.shared.id.get().copied()
    }
}

impl Drop for StreamRx {
    fn drop(&mut self) {
        // Before it is reported: whoever takes note of the stream only now sees that it is over.
        self.frames.close();
        if let Some((departures, session)) = self.farewell.take() {
            departures.report(Departure { session, stream: Arc::clone(&self.shared) });
        }
    }
}

impl Frame {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(delivery) => MESSAGE_COST + delivery.message.len(),
            Self::Refused(_) => MESSAGE_COST,
        }
    }
}

/// Connections that ended from the client's side. A list beside the command queue, because whoever drops a stream
/// cannot wait for room in that queue; bounded by the number of streams.
#[derive(Debug, Default)]
pub struct Departures {
    list: Mutex<Vec<Departure>>,
    arrived: Notify,
}

/// One such connection.
#[derive(Debug)]
pub struct Departure {
    /// Whose it was.
    pub session: SessionKey,
    stream: Arc<Shared>,
}

impl Departure {
    /// Whether it is this stream.
    pub fn is(&self, stream: &StreamTx) -> bool {
        stream.is(&self.stream)
    }
}

impl Departures {
    fn report(&self, departure: Departure) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(departure);
        self.arrived.notify_one();
    }

    /// Reports a stream whose reader went before the session took note of it, and was reported in vain.
    pub fn report_if_gone(&self, session: SessionKey, stream: &StreamTx) {
        if stream.frames.is_closed() {
            self.report(Departure { session, stream: Arc::clone(&stream.shared) });
        }
    }

    /// Waits for some. Nothing is lost when the future is dropped.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// All there are.
    pub fn take(&self) -> Vec<Departure> {
        std::mem::take(&mut self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use mcp::session::mux::Relation;
    use mcp::session::streams::EventId;

    use super::*;

    fn message(bytes: usize) -> Frame {
        let event = EventId { stream: StreamId::COMMON, number: 1 };
        let message = "x".repeat(bytes).into();
        Frame::Message(Box::new(Delivery { event, relation: Relation::None, message, last: false }))
    }

    #[tokio::test]
    async fn a_burst_may_wait_and_what_is_too_much_is_refused_until_it_is_read() {
        let (tx, mut rx) = stream(&Arc::default(), SessionKey(1));
        for (bytes, fit) in [(50, 50_000..60_000), (2 << 20, 7..8), (10 << 20, 1..2)] {
            let taken = std::iter::from_fn(|| tx.offer(message(bytes)).ok()).count();
            assert!(fit.contains(&taken), "{taken} messages of {bytes} bytes");
            assert_eq!(tx.offer(message(bytes)), Err(Cut::Slow));
            for _ in 0..taken {
                rx.next().await.unwrap();
            }
        }
    }
}
