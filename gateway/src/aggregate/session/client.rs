//! What the client sends.

use bytes::Bytes;
use mcp::envelope::{self, Incoming, Kind as Shape, Message, RequestId, code};
use mcp::json::{self, Rope};
use mcp::names::{Names, Resolution, resolve_uri};
use mcp::session::mux::Relation;
use mcp::version::Version;

use super::super::catalogue::{Kind, Merged};
use super::{Call, Hello, Session};

/// Where a request goes.
struct Route {
    server: String,
    /// The text in the request that names what is asked for, and what the server knows it by.
    replace: Option<(String, String)>,
}

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
        match message.method() {
            "initialize" => self.initialize(&id, &message).await,
            "ping" => self.answer(&id, [Bytes::from_static(b"{}")]),
            "tools/list" => self.list(&id, Kind::Tools, &message).await,
            "prompts/list" => self.list(&id, Kind::Prompts, &message).await,
            "resources/list" => self.list(&id, Kind::Resources, &message).await,
            "resources/templates/list" => self.list(&id, Kind::Templates, &message).await,
            "logging/setLevel" => self.set_level(&id, &message).await,
            method => match self.find(method, &message).await {
                Ok(route) => self.pass_on(id, route, &message).await,
                Err((code, text)) => self.refuse(&id, code, &text),
            },
        }
    }

    async fn initialize(&mut self, id: &RequestId, message: &Message) {
        self.catch_up().await;
        let version = Version::negotiate(&message.str_at(&["protocolVersion"]).unwrap_or_default());
        self.set_version(version);
        self.adopt_capabilities(message.at(&["capabilities"]).unwrap_or("{}"));
        self.hello = Some(Hello { params: message.body().unwrap_or("{}").into(), initialized: false });
        let instructions = &self.lists().instructions;
        let instructions = match instructions.trim_end() {
            "" => String::new(),
            text => format!(r#","instructions":{}"#, json::quote(text)),
        };
        let result = format!(
            r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{"listChanged":true}},"prompts":{{"listChanged":true}},"resources":{{"subscribe":true,"listChanged":true}},"completions":{{}},"logging":{{}}}},"serverInfo":{{"name":"mcp-gateway","version":"{}"}}{instructions}}}"#,
            env!("CARGO_PKG_VERSION")
        );
        self.answer(id, [result.into()]);
    }

    async fn list(&mut self, id: &RequestId, kind: Kind, message: &Message) {
        self.catch_up().await;
        let cursor = message.str_at(&["cursor"]);
        match self.lists().page(kind, cursor.as_deref()) {
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
    async fn find(&mut self, method: &str, message: &Message) -> Result<Route, (i32, String)> {
        if let Ok(route) = self.route(method, message) {
            return Ok(route);
        }
        self.catch_up().await;
        self.route(method, message)
    }

    fn route(&self, method: &str, message: &Message) -> Result<Route, (i32, String)> {
        let lists = self.lists();
        match method {
            "tools/call" => self.by_name(&lists, &lists.tool_names, message, &["name"], "tool"),
            "prompts/get" => self.by_name(&lists, &lists.prompt_names, message, &["name"], "prompt"),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => by_uri(&lists, message, &["uri"]),
            "completion/complete" => match message.str_at(&["ref", "type"]).as_deref() {
                Some("ref/resource") => by_uri(&lists, message, &["ref", "uri"]),
                _ => self.by_name(&lists, &lists.prompt_names, message, &["ref", "name"], "prompt"),
            },
            _ => {
                let text =
                    format!("method `{method}` is not known for all servers together; ask one server at /NAME/mcp");
                Err((code::METHOD_NOT_FOUND, text))
            }
        }
    }

    fn by_name(
        &self,
        lists: &Merged,
        names: &Names,
        message: &Message,
        path: &[&str],
        what: &str,
    ) -> Result<Route, (i32, String)> {
        let raw = message.at(path).ok_or_else(|| (code::INVALID_PARAMS, format!("the {what}'s name is missing")))?;
        let name =
            json::string(raw).ok_or_else(|| (code::INVALID_PARAMS, format!("the {what}'s name is not a string")))?;
        let found = |server: &str, item: &str| Route {
            server: server.to_owned(),
            replace: Some((raw.to_owned(), json::quote(item))),
        };
        match names.resolve(&name) {
            Resolution::Found { server, item } => Ok(found(server, item)),
            Resolution::Ambiguous(names) => Err((
                code::INVALID_PARAMS,
                format!("{what} name `{name}` is ambiguous: use one of {}", names.join(", ")),
            )),
            // What the server offers to this client in particular is not known yet: it will say itself.
            Resolution::Unknown if self.lists_are_provisional() => {
                let split = |server: &String| {
                    Some((
                        server.clone(),
                        name.strip_prefix(server.as_str())?.trim_start_matches(['-', '_']).to_owned(),
                    ))
                };
                let candidates: Vec<_> = lists.members.keys().filter_map(split).collect();
                match candidates.as_slice() {
                    [(server, item)] => Ok(found(server, item)),
                    _ => Err((code::INVALID_PARAMS, format!("Unknown {what}: {name}"))),
                }
            }
            Resolution::Unknown => Err((code::INVALID_PARAMS, format!("Unknown {what}: {name}"))),
        }
    }

    /// Gives a request to its server, whose session is opened if need be.
    async fn pass_on(&mut self, id: RequestId, route: Route, message: &Message) {
        let Route { server, replace } = route;
        self.note_subscription(&server, replace.as_ref(), message.method());
        let rewritten = rewrite(message, replace.as_ref());
        let uid = self.lists().members.get(&server).map(|member| member.uid);
        let Some((uid, rewritten)) = uid.zip(rewritten) else {
            return self.refuse(&id, code::INTERNAL_ERROR, &format!("server `{server}` has been removed"));
        };
        let params = self.hello.as_ref().map_or("{}", |hello| &hello.params);
        self.members.open(&server, uid, params, self.log_level.as_deref()).await;
        let sent = self.members.send(&server, rewritten).await;
        if sent {
            self.calls.insert(id, Call { server, method: message.method().into() });
        } else {
            self.refuse(&id, code::INTERNAL_ERROR, &format!("server `{server}` cannot be reached now"));
        }
    }

    fn note_subscription(&mut self, server: &str, replace: Option<&(String, String)>, method: &str) {
        let uri = replace.and_then(|(_, raw)| Some((server.to_owned(), json::string(raw)?.into_owned())));
        match (method, uri) {
            ("resources/subscribe", Some(uri)) => drop(self.subscriptions.insert(uri)),
            ("resources/unsubscribe", Some(uri)) => drop(self.subscriptions.remove(&uri)),
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
        self.send_to(&question.server, single(message.with_id(&question.id, None))).await;
    }
}

fn by_uri(lists: &Merged, message: &Message, path: &[&str]) -> Result<Route, (i32, String)> {
    let raw = message.at(path).ok_or_else(|| (code::INVALID_PARAMS, "the resource's `uri` is missing".to_owned()))?;
    let uri =
        json::string(raw).ok_or_else(|| (code::INVALID_PARAMS, "the resource's `uri` is not a string".to_owned()))?;
    match resolve_uri(&uri, |server| lists.members.contains_key(server)) {
        Some((server, original)) => Ok(Route { server, replace: Some((raw.to_owned(), json::quote(&original))) }),
        None => Err((code::RESOURCE_NOT_FOUND, format!("Resource not found: {uri}"))),
    }
}

/// The request as its server gets it.
fn rewrite(message: &Message, replace: Option<&(String, String)>) -> Option<Message> {
    let Some((old, new)) = replace else { return Some(message.clone()) };
    let paths: [&[&str]; 4] = [&["name"], &["uri"], &["ref", "name"], &["ref", "uri"]];
    let at = paths.into_iter().find_map(|path| message.at(path).filter(|raw| raw == old))?;
    single(message.with([message.edit(at, new.clone())]))
}

/// A message that was put together from pieces.
fn single(rope: Rope) -> Option<Message> {
    match envelope::parse(rope.into_bytes(), usize::MAX) {
        Ok(Incoming::Single(message)) => Some(message),
        _ => None,
    }
}
