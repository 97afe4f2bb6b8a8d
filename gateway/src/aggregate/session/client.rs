//! What the client sends.

use bytes::Bytes;
use mcp::envelope::{Kind as Shape, Message, RequestId, code};
use mcp::json::{self, Rope};
use mcp::session::mux::Relation;
use mcp::version::Version;

use super::super::catalogue::Kind;
use super::super::offered::{Extra, capabilities};
use super::super::rewrite;
use super::super::routing::{Refusal, Route, route, single};
use super::{Call, Hello, Session};

impl Session {
    pub(super) async fn take_client(&mut self, message: Message) {
        match message.kind() {
            Shape::Request => self.request(message).await,
            Shape::Notification => self.notification(message).await,
            Shape::Result | Shape::Error => self.reply(&message).await,
        }
    }

    async fn request(&mut self, message: Message) {
        let Some(id) = message.id() else { return };
        if let Some(kind) = Kind::of(message.method()) {
            return self.list(&id, kind, &message).await;
        }
        match message.method() {
            "initialize" => self.initialize(&id, &message).await,
            "ping" => self.answer(&id, [Bytes::from_static(b"{}")]),
            "logging/setLevel" => self.set_level(&id, &message).await,
            _ => match self.find(&message).await {
                Ok(route) => self.pass_on(id, route, &message).await,
                Err(refusal) => self.refuse(&id, refusal.legacy_code(), &refusal.text()),
            },
        }
    }

    async fn initialize(&mut self, id: &RequestId, message: &Message) {
        self.catch_up().await;
        let version = Version::negotiate(&message.str_at(&["protocolVersion"]).unwrap_or_default());
        self.set_version(version);
        self.adopt_capabilities(message.at(&["capabilities"]).unwrap_or("{}"));
        self.hello = Some(Hello { params: message.body().unwrap_or("{}").into(), initialized: false });
        let lists = self.lists();
        let instructions = match lists.instructions.trim_end() {
            "" => String::new(),
            text => format!(r#","instructions":{}"#, json::quote(text)),
        };
        let offered = capabilities(|extra| match extra {
            Extra::Tasks => false,
            Extra::TaskCalls => version == Version::V2025_11_25 && lists.extras.contains(&extra),
            // What is declared now holds for the whole session: what is not known yet may be there.
            Extra::Updates | Extra::Completions | Extra::Logging => !lists.complete || lists.extras.contains(&extra),
        });
        let result = format!(
            r#"{{"protocolVersion":"{version}","capabilities":{offered},"serverInfo":{{"name":"mcp-gateway","version":"{}"}}{instructions}}}"#,
            env!("CARGO_PKG_VERSION")
        );
        self.answer(id, [result.into()]);
    }

    async fn list(&mut self, id: &RequestId, kind: Kind, message: &Message) {
        self.catch_up().await;
        let cursor = message.str_at(&["cursor"]);
        match self.lists().page(kind, cursor.as_deref(), "") {
            Ok(page) => self.answer(id, page),
            Err(error) => self.refuse(id, code::INVALID_PARAMS, &error.to_string()),
        }
    }

    /// The level holds for every member: those that are open, and those that will be.
    async fn set_level(&mut self, id: &RequestId, message: &Message) {
        self.log_level = message.at(&["level"]).map(ToOwned::to_owned);
        let own = RequestId::from_raw(Bytes::from_static(br#""mcp-gateway/setLevel""#));
        let forwarded = Message::call(own.as_ref(), "logging/setLevel", message.body());
        self.tell_members(&forwarded).await;
        self.answer(id, [Bytes::from_static(b"{}")]);
    }

    async fn tell_members(&mut self, message: &Message) {
        for name in self.members.names(|_, _| true) {
            self.send_to(&name, Some(message.clone())).await;
        }
    }

    /// The server that a request is for, which may have become ready a moment ago.
    async fn find(&mut self, message: &Message) -> Result<Route, Refusal> {
        if let Ok(route) = self.route(message) {
            return Ok(route);
        }
        self.catch_up().await;
        self.route(message)
    }

    fn route(&self, message: &Message) -> Result<Route, Refusal> {
        // The newer revision has it.
        if message.method() == "tasks/update" {
            return Err(Refusal::NoMethod(message.method().to_owned()));
        }
        route(&self.lists(), self.sight.is_provisional(), message)
    }

    /// Gives a request to its server, whose session is opened if need be.
    async fn pass_on(&mut self, id: RequestId, route: Route, message: &Message) {
        self.note_subscription(&route, message.method());
        let rewritten = route.rewritten(message);
        let Route { server, uid, .. } = route;
        let Some(rewritten) = rewritten else { return };
        let params = self.hello.as_ref().map_or("{}", |hello| &hello.params);
        self.members.open(&server, uid, params, self.log_level.as_deref()).await;
        let sent = self.members.send(&server, rewritten).await;
        if sent {
            self.calls.insert(id, Call { server, method: message.method().into() });
        } else {
            self.refuse(&id, code::INTERNAL_ERROR, &format!("server `{server}` cannot be reached now"));
        }
    }

    fn note_subscription(&mut self, route: &Route, method: &str) {
        let resource = || (route.server.clone(), route.item.clone());
        match method {
            "resources/subscribe" => drop(self.subscriptions.insert(resource())),
            "resources/unsubscribe" => drop(self.subscriptions.remove(&resource())),
            _ => {}
        }
    }

    async fn notification(&mut self, message: Message) {
        match message.method() {
            "notifications/initialized" => {
                if let Some(hello) = &mut self.hello {
                    hello.initialized = true;
                }
                // What changed since it was told counts as news.
                self.lists_changed();
            }
            "notifications/cancelled" => self.cancel(&message).await,
            "notifications/progress" => self.progress(&message).await,
            // Roots, above all.
            _ => self.tell_members(&message).await,
        }
    }

    async fn cancel(&mut self, message: &Message) {
        let raw = message.at(&["requestId"]);
        let id = raw.and_then(|raw| RequestId::from_raw(message.raw().slice_ref(raw.as_bytes())));
        let Some((id, call)) = id.and_then(|id| Some((id.clone(), self.calls.remove(&id)?))) else { return };
        self.send_to(&call.server, Some(message.clone())).await;
        self.deliver(Relation::Abandoned(id), Rope::default());
    }

    /// How far the client is with a question of a member.
    async fn progress(&mut self, message: &Message) {
        let Some(raw) = message.at(&["progressToken"]) else { return };
        let Some(question) = raw.parse().ok().and_then(|own: u64| self.questions.get(&own)) else { return };
        let token = question.token.as_ref().map(|token| message.edit(raw, token.to_string()));
        let told = token.and_then(|edit| single(message.with([edit])));
        let server = question.server.clone();
        self.send_to(&server, told).await;
    }

    /// The client's answer to a question of a member.
    async fn reply(&mut self, message: &Message) {
        let asked = message.id().and_then(|id| id.as_u64()).and_then(|id| self.questions.remove(&id));
        let Some(question) = asked else { return };
        let related = rewrite::related_to(&question.server, message);
        self.send_to(&question.server, single(message.with_id(&question.id, related))).await;
    }
}
