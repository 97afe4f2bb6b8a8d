//! What members send.

use mcp::envelope::{self, Incoming, Kind, Message, code};
use mcp::session::mux::Relation;
use mcp::session::streams::Delivery;

use super::super::member::HELLO;
use super::super::rewrite;
use super::{Question, Session};

/// As a sidecar says it of its own clients.
const CANNOT_ASK: &str = "the client cannot be asked: it takes no event stream";

impl Session {
    pub(super) async fn take_member(&mut self, server: &str, delivery: Delivery) {
        let Delivery { relation, message, .. } = delivery;
        let Ok(Incoming::Single(message)) = envelope::parse(message.into_bytes(), usize::MAX) else { return };
        match message.kind() {
            Kind::Result | Kind::Error => self.take_answer(server, &message).await,
            Kind::Request => self.question(server, relation, &message).await,
            Kind::Notification => self.news(server, relation, message).await,
        }
    }

    async fn take_answer(&mut self, server: &str, message: &Message) {
        let Some(id) = message.id() else { return };
        if id.raw() == HELLO {
            if message.kind() == Kind::Error {
                let why = message.str_at(&["message"]).unwrap_or_default().into_owned();
                self.lose(server, &why);
            }
            return;
        }
        if self.take_page(&id, message).await {
            return;
        }
        if let Some(call) = self.calls.remove(&id) {
            let answer = rewrite::answer(server, &call.method, message);
            self.deliver(Relation::Answer(id), answer);
        }
    }

    /// Hands a question of a member to the client, under an id that no other member uses.
    async fn question(&mut self, server: &str, relation: Relation, message: &Message) {
        let Some(id) = message.id() else { return };
        if !self.clients.is_heard(self.key, &relation) {
            let refusal = Message::error(Some(&id), code::INTERNAL_ERROR, CANNOT_ASK, None);
            return self.send_to(server, Some(refusal)).await;
        }
        self.next_question += 1;
        let own = self.next_question;
        let token = message.at(&["_meta", "progressToken"]);
        let edits = token.map(|token| message.edit(token, own.to_string()));
        let edits = edits.into_iter().chain(rewrite::related(server, message));
        let asked = message.with_id(&own.into(), edits);
        self.questions.insert(own, Question { server: server.to_owned(), id, token: token.map(Into::into) });
        self.deliver(relation, asked);
    }

    async fn news(&mut self, server: &str, relation: Relation, message: Message) {
        match message.method() {
            // The client is told when the merged lists have changed.
            changed @ ("notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed") => self.read_anew(server, changed).await,
            "notifications/resources/updated" => {
                let updated = rewrite::updated(server, &message);
                self.deliver(relation, updated);
            }
            "notifications/cancelled" => self.take_back(server, &message),
            "notifications/tasks/status" => {
                let changed = rewrite::task_changed(server, &message);
                self.deliver(relation, changed);
            }
            _ => {
                let related = rewrite::related(server, &message);
                self.deliver(relation, message.with(related));
            }
        }
    }

    /// A member takes back a question.
    fn take_back(&mut self, server: &str, message: &Message) {
        let Some(raw) = message.at(&["requestId"]) else { return };
        let asked = |question: &Question| question.server == server && question.id.raw() == raw.as_bytes();
        let Some(own) = self.questions.iter().find(|(_, question)| asked(question)).map(|(own, _)| *own) else {
            return;
        };
        self.questions.remove(&own);
        self.deliver(Relation::None, message.with([message.edit(raw, own.to_string())]));
    }
}
