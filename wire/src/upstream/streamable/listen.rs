//! The stream opened by GET, for what answers no request.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Session;
use super::exchange::Done;
use crate::link::Event;
use crate::upstream::events::{Position, messages};

/// Keeps the stream open, and opens it again when it breaks, for as long as the server offers one.
pub(super) async fn listen(session: Arc<Session>, events: mpsc::Sender<Event>) -> Done {
    let mut position = Position::default();
    let (mut opened, mut quiet) = (false, 0);
    loop {
        match session.open(position.event.as_deref()).await {
            Ok(mut stream) => {
                opened = true;
                while let Some(event) = stream.next().await {
                    quiet = 0;
                    for event in event.map_or_else(|_| vec![Event::Junk], |event| unasked(event.data, &session)) {
                        // Nobody is left to be told when the link is gone.
                        let _ = events.send(event).await;
                    }
                }
                position.follow(&stream);
            }
            Err(failure) if failure.is_passing() => {
                tracing::debug!(error = failure.text, "the stream for unasked messages cannot be opened");
            }
            // Only where it was once open does its refusal say something of the session.
            Err(failure) => match session.loss(&failure).filter(|_| opened) {
                Some(loss) => return Done::Lost(loss),
                None => return Done::Over(None),
            },
        }
        tokio::time::sleep(position.pause(quiet)).await;
        quiet += 1;
    }
}

fn unasked(data: Bytes, session: &Session) -> Vec<Event> {
    if data.is_empty() {
        // Such an event only says where to go on.
        return Vec::new();
    }
    match messages(data, session.site.max_message, None) {
        Ok(messages) => messages.map(Event::Message).collect(),
        Err(_) => vec![Event::Junk],
    }
}
