//! Which server a request to all of them is for.

use mcp::envelope::{self, Incoming, Message, code};
use mcp::json::{self, Edit, Rope};
use mcp::names::{Names, Resolution, resolve_uri};

use super::catalogue::Merged;
use crate::store::Uid;

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) server: String,
    /// The server, as the lists have it.
    pub(super) uid: Uid,
    /// What the server calls the thing that is asked for.
    pub(super) item: String,
    edit: Edit,
}

/// Why it goes nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It names nothing that is there.
    Params(String),
    /// There is no resource of that address.
    NoResource(String),
    /// Its method is none for all servers together.
    NoMethod(String),
}

impl Refusal {
    /// What the client is told.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Params(text) => text.clone(),
            Self::NoResource(uri) => format!("Resource not found: {uri}"),
            Self::NoMethod(method) => {
                format!("method `{method}` is not known for all servers together; ask one server at /NAME/mcp")
            }
        }
    }

    /// The JSON-RPC code for clients of older revisions.
    pub(super) fn legacy_code(&self) -> i32 {
        match self {
            Self::NoResource(_) => code::RESOURCE_NOT_FOUND,
            Self::Params(_) | Self::NoMethod(_) => self.modern_code(),
        }
    }

    /// The same for clients of 2026-07-28.
    pub(super) fn modern_code(&self) -> i32 {
        match self {
            Self::Params(_) | Self::NoResource(_) => code::INVALID_PARAMS,
            Self::NoMethod(_) => code::METHOD_NOT_FOUND,
        }
    }
}

impl Route {
    /// A request for what is called `exposed` (raw JSON in `message`) here, and `item` at `server`.
    pub(super) fn new(
        lists: &Merged,
        message: &Message,
        exposed: &str,
        (server, item): (String, String),
    ) -> Option<Self> {
        let uid = lists.members.get(&server)?.uid;
        Some(Self { server, uid, edit: message.edit(exposed, json::quote(&item)), item })
    }

    /// The request as the server gets it.
    pub(super) fn rewritten(&self, message: &Message) -> Option<Message> {
        single(message.with([self.edit.clone()]))
    }
}

/// Finds the server that has what a request asks for. While the lists are `provisional`, a server may have what they do
/// not show.
///
/// # Errors
/// When there is none.
pub(super) fn route(lists: &Merged, provisional: bool, message: &Message) -> Result<Route, Refusal> {
    let named = |names: &Names, path: &[&str], what: &str| {
        let raw = string(message, path, &format!("the {what}'s name"))?;
        let found = by_name(lists, names, provisional, &raw.1, what)?;
        Route::new(lists, message, raw.0, found).ok_or_else(|| Refusal::Params(format!("Unknown {what}: {}", raw.1)))
    };
    // Addresses of resources and ids of tasks say whose they are.
    let of_server = |path: &[&str], what: &str, missing: fn(String) -> Refusal| {
        let (raw, exposed) = string(message, path, what)?;
        let found = resolve_uri(&exposed, |server| lists.members.contains_key(server));
        found.and_then(|found| Route::new(lists, message, raw, found)).ok_or_else(|| missing(exposed))
    };
    let addressed = |path: &[&str]| of_server(path, "the resource's `uri`", Refusal::NoResource);
    let unknown_task = |_| Refusal::Params("Unknown task: it has ended, or never was".to_owned());
    match message.method() {
        "tasks/get" | "tasks/cancel" | "tasks/result" | "tasks/update" => {
            of_server(&["taskId"], "the task's id", unknown_task)
        }
        "tools/call" => named(&lists.tool_names, &["name"], "tool"),
        "prompts/get" => named(&lists.prompt_names, &["name"], "prompt"),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => addressed(&["uri"]),
        "completion/complete" => match message.str_at(&["ref", "type"]).as_deref() {
            Some("ref/resource") => addressed(&["ref", "uri"]),
            _ => named(&lists.prompt_names, &["ref", "name"], "prompt"),
        },
        method => Err(Refusal::NoMethod(method.to_owned())),
    }
}

/// A string of a request, raw and read.
pub(super) fn string<'a>(message: &'a Message, path: &[&str], what: &str) -> Result<(&'a str, String), Refusal> {
    let raw = message.at(path).ok_or_else(|| Refusal::Params(format!("{what} is missing")))?;
    let text = json::string(raw).ok_or_else(|| Refusal::Params(format!("{what} is not a string")))?;
    Ok((raw, text.into_owned()))
}

fn by_name(
    lists: &Merged,
    names: &Names,
    provisional: bool,
    name: &str,
    what: &str,
) -> Result<(String, String), Refusal> {
    match names.resolve(name) {
        Resolution::Found { server, item } => Ok((server.to_owned(), item.to_owned())),
        Resolution::Ambiguous(names) => {
            Err(Refusal::Params(format!("{what} name `{name}` is ambiguous: use one of {}", names.join(", "))))
        }
        Resolution::Unknown => {
            let split = |server: &String| {
                let item = name.strip_prefix(server.as_str())?.trim_start_matches(['-', '_']);
                Some((server.clone(), item.to_owned()))
            };
            let mut candidates = lists.members.keys().filter(|_| provisional).filter_map(split);
            match (candidates.next(), candidates.next()) {
                // What the server offers to this client in particular is not known yet: it will say itself.
                (Some(only), None) => Ok(only),
                _ => Err(Refusal::Params(format!("Unknown {what}: {name}"))),
            }
        }
    }
}

/// A message that was put together from pieces.
pub(super) fn single(rope: Rope) -> Option<Message> {
    match envelope::parse(rope.into_bytes(), usize::MAX) {
        Ok(Incoming::Single(message)) => Some(message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mcp::envelope::RequestId;
    use mcp::names::Style;

    use super::super::tests;
    use super::*;
    use crate::access::View;
    use crate::routes::{Event, RouteTable};

    fn lists() -> Merged {
        let servers = vec![tests::route("alpha", "one", 1), tests::route("beta", "two", 2)];
        let table = RouteTable::default().after(Event::Reset(servers));
        Merged::build(&table, (&View::All, Style::Prefixed), |_, _| None, &Merged::default())
    }

    fn request(method: &str, params: &str) -> Message {
        Message::call(Some(&RequestId::from(1)), method, Some(params))
    }

    #[test]
    fn a_request_goes_to_the_server_that_has_what_it_names_under_the_name_it_has_there() {
        let lists = lists();
        for (method, params, server, rewritten) in [
            (
                "tools/call",
                r#"{ "name" : "alpha-tool","arguments":{"name":"alpha-tool"}}"#,
                "alpha",
                r#"{ "name" : "tool","arguments":{"name":"alpha-tool"}}"#,
            ),
            ("prompts/get", r#"{"name":"beta-prompt"}"#, "beta", r#"{"name":"prompt"}"#),
            ("resources/read", r#"{"uri":"beta+test:\/\/y","x":1e2}"#, "beta", r#"{"uri":"test://y","x":1e2}"#),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/prompt","name":"alpha-prompt"}}"#,
                "alpha",
                r#"{"ref":{"type":"ref/prompt","name":"prompt"}}"#,
            ),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/resource","uri":"alpha+test://{x}"}}"#,
                "alpha",
                r#"{"ref":{"type":"ref/resource","uri":"test://{x}"}}"#,
            ),
        ] {
            let message = request(method, params);
            let route = route(&lists, false, &message).unwrap();
            assert_eq!(route.server, server, "{method}");
            assert_eq!(route.rewritten(&message).unwrap().body(), Some(rewritten), "{method}");
        }
    }

    #[test]
    fn a_request_for_what_nobody_has_goes_nowhere_and_is_told_so_in_the_codes_of_its_era() {
        let lists = lists();
        let codes = |method: &str, params: &str| {
            let refusal = route(&lists, false, &request(method, params)).unwrap_err();
            (refusal.legacy_code(), refusal.modern_code())
        };
        assert_eq!(codes("tools/call", r#"{"name":"tool"}"#), (-32602, -32602));
        assert_eq!(codes("tools/call", r#"{"name":1}"#), (-32602, -32602));
        assert_eq!(codes("prompts/get", "{}"), (-32602, -32602));
        assert_eq!(codes("resources/read", r#"{"uri":"test://x"}"#), (-32002, -32602));
        assert_eq!(codes("no/such", "{}"), (-32601, -32601));
    }

    #[test]
    fn as_long_as_it_is_not_known_what_a_server_offers_its_name_is_enough() {
        let message = request("tools/call", r#"{"name":"alpha-new"}"#);
        assert!(route(&lists(), false, &message).is_err());
        let route = route(&lists(), true, &message).unwrap();
        assert_eq!((&*route.server, &*route.item), ("alpha", "new"));
    }
}
