//! Which changes a client listens to (2026-07-28, "Subscriptions").

use super::{TASKS_EXTENSION, meta};
use crate::envelope::{Message, RequestId};
use crate::json;

/// The URIs, and the ids, that one stream may ask for, together, in bytes.
const MAX_RESOURCES: usize = 256 << 10;

/// What one `subscriptions/listen` asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    tools: bool,
    prompts: bool,
    resources: bool,
    /// The URIs of resources.
    pub updates: Vec<Box<str>>,
    /// The ids of tasks (SEP-2663).
    pub tasks: Vec<Box<str>>,
}

/// The keys that ask for resources and for tasks.
const UPDATES: &str = "resourceSubscriptions";
const TASKS: &str = "taskIds";

/// The notifications of changed lists, the key that asks for each, and the capability of a server that tells it.
pub const LISTS: [(&str, &str, &str); 3] = [
    ("notifications/tools/list_changed", "toolsListChanged", "tools"),
    ("notifications/prompts/list_changed", "promptsListChanged", "prompts"),
    ("notifications/resources/list_changed", "resourcesListChanged", "resources"),
];

impl Filter {
    /// What `request` asks for, of what a server with these `capabilities` (raw JSON, of an older revision) tells.
    /// `None` when it asks for too much.
    pub fn of(request: &Message, capabilities: &str) -> Option<Self> {
        let tells = |path: [&str; 2]| json::lookup(capabilities, &path) == Some("true");
        let [tools, prompts, resources] = LISTS.map(|(_, key, capability)| {
            request.at(&["notifications", key]) == Some("true") && tells([capability, "listChanged"])
        });
        let texts = |key, told: bool| -> Vec<Box<str>> {
            let listed = request.at(&["notifications", key]).filter(|_| told);
            listed
                .and_then(json::elements)
                .unwrap_or_default()
                .into_iter()
                .filter_map(json::string)
                .map(Into::into)
                .collect()
        };
        let updates = texts(UPDATES, tells(["resources", "subscribe"]));
        let tasks = texts(TASKS, json::lookup(capabilities, &["extensions", TASKS_EXTENSION]).is_some());
        let bytes: usize = updates.iter().chain(&tasks).map(|text| size_of::<Box<str>>() + text.len()).sum();
        (bytes <= MAX_RESOURCES).then_some(Self { tools, prompts, resources, updates, tasks })
    }

    /// Whether it asked for this notification of a changed list.
    pub fn wants_list(&self, method: &str) -> bool {
        let wanted = [self.tools, self.prompts, self.resources];
        LISTS.iter().zip(wanted).any(|((known, ..), wanted)| wanted && *known == method)
    }

    /// The first message of the stream that `id` opened: what it will tell.
    pub fn acknowledged(&self, id: &RequestId) -> Message {
        let wanted = [self.tools, self.prompts, self.resources];
        let lists =
            LISTS.iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|((_, key, _), _)| format!(r#""{key}":true"#));
        let members: Vec<_> = lists.chain(named(&self.updates, &self.tasks)).collect();
        let params = format!(r#"{{{},"notifications":{{{}}}}}"#, mark(id), members.join(","));
        Message::call(None, "notifications/subscriptions/acknowledged", Some(&params))
    }
}

/// What asks a server for a stream that tells of these resources and tasks alone: the `notifications` of a request.
pub fn wanted(updates: &[Box<str>], tasks: &[Box<str>]) -> String {
    format!("{{{}}}", named(updates, tasks).collect::<Vec<_>>().join(","))
}

/// The members that name resources and tasks, where there are any.
fn named<'a>(updates: &'a [Box<str>], tasks: &'a [Box<str>]) -> impl Iterator<Item = String> + use<'a> {
    let lists = [(UPDATES, updates), (TASKS, tasks)].into_iter().filter(|(_, texts)| !texts.is_empty());
    lists.map(|(key, texts)| {
        let texts: Vec<_> = texts.iter().map(|text| json::quote(text)).collect();
        format!(r#""{key}":[{}]"#, texts.join(","))
    })
}

/// A notification of an older revision as it stands on the stream that `id` opened.
pub fn marked(notification: &Message, id: &RequestId) -> Option<Message> {
    let mut members = vec![mark_with(notification.at(&["_meta"]), id)?];
    for (key, value) in json::Object::parse(notification.body().unwrap_or("{}")).ok()?.iter() {
        if key != "_meta" {
            members.push(format!("{}:{value}", json::quote(key)));
        }
    }
    Some(Message::call(None, notification.method(), Some(&format!("{{{}}}", members.join(",")))))
}

fn mark(id: &RequestId) -> String {
    format!(r#""_meta":{{"{}":{}}}"#, meta::SUBSCRIPTION_ID, id.text())
}

/// The same beside what is in a `_meta` already.
fn mark_with(old: Option<&str>, id: &RequestId) -> Option<String> {
    let old = json::Object::parse(old.unwrap_or("{}")).ok()?;
    let kept = old.iter().filter(|(key, _)| *key != meta::SUBSCRIPTION_ID);
    let kept: Vec<_> = kept.map(|(key, value)| format!(",{}:{value}", json::quote(key))).collect();
    Some(format!(r#""_meta":{{"{}":{}{}}}"#, meta::SUBSCRIPTION_ID, id.text(), kept.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str =
        r#"{"tools":{"listChanged":true},"prompts":{"listChanged":false},"resources":{"subscribe":true}}"#;

    fn listen(notifications: &str) -> Message {
        let params = format!(r#"{{"notifications":{notifications}}}"#);
        Message::call(Some(&RequestId::from(7)), "subscriptions/listen", Some(&params))
    }

    #[test]
    fn what_is_told_is_what_was_asked_for_and_the_server_tells() {
        let wanted = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourceSubscriptions":["a:1","a:2",3]}"#;
        let filter = Filter::of(&listen(wanted), ALL).unwrap();
        assert!(filter.wants_list("notifications/tools/list_changed"));
        assert!(!filter.wants_list("notifications/prompts/list_changed") && !filter.wants_list("x"));
        let expected = r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7},"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:1","a:2"]}}}"#;
        assert_eq!(filter.acknowledged(&RequestId::from(7)).raw(), expected);
        assert_eq!(Filter::of(&listen(wanted), "{}"), Some(Filter::default()));
        assert_eq!(Filter::of(&listen(r#"{"toolsListChanged":1}"#), ALL), Some(Filter::default()));
    }

    #[test]
    fn tasks_are_told_of_where_there_are_such() {
        let request = listen(r#"{"taskIds":["1",2,"\u0033"],"resourceSubscriptions":["a:1"]}"#);
        let capabilities = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
        let filter = Filter::of(&request, capabilities).unwrap();
        assert_eq!((&filter.tasks, filter.updates.len()), (&vec!["1".into(), "3".into()], 0));
        assert!(filter.acknowledged(&RequestId::from(7)).body().unwrap().ends_with(r#"{"taskIds":["1","3"]}}"#));
        assert_eq!(wanted(&["a:1".into()], &filter.tasks), r#"{"resourceSubscriptions":["a:1"],"taskIds":["1","3"]}"#);
        assert_eq!(Filter::of(&request, ALL).unwrap().tasks.len(), 0);
    }

    #[test]
    fn a_stream_that_asks_for_too_much_is_refused() {
        let uris: Vec<_> = (0..300).map(|n| format!("\"{n}{}\"", "x".repeat(1000))).collect();
        let wanted = format!(r#"{{"resourceSubscriptions":[{}]}}"#, uris.join(","));
        assert_eq!(Filter::of(&listen(&wanted), ALL), None);
    }

    #[test]
    fn a_notification_is_marked_with_its_stream_and_keeps_the_rest() {
        let id = RequestId::from_raw(bytes::Bytes::from_static(b"\"l\"")).unwrap();
        for (params, expected) in [
            (None, r#"{"_meta":{"io.modelcontextprotocol/subscriptionId":"l"}}"#),
            (
                Some(r#"{"uri":"a\u002f","n":1.0,"_meta":{"x":1e2}}"#),
                r#"{"_meta":{"io.modelcontextprotocol/subscriptionId":"l","x":1e2},"uri":"a\u002f","n":1.0}"#,
            ),
        ] {
            let notification = Message::call(None, "notifications/resources/updated", params);
            assert_eq!(marked(&notification, &id).unwrap().body(), Some(expected));
        }
    }
}
