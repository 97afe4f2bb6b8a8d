//! What a server of an older revision asks in the middle of a call, as 2026-07-28 has it: the call is answered with what
//! is asked, and goes on when its client sends it again with the answers ("Multi Round-Trip Requests").

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::meta;
use crate::envelope::Message;
use crate::json::{self, Object};

/// What a client declares when it can be asked something.
const CAPABILITIES: [&str; 3] = ["elicitation", "roots", "sampling"];
/// A longer declaration is none that a client makes.
const MAX_DECLARED: usize = 4096;
/// A server that wants a URL visited first says so by this code (2025-11-25, "URL Mode Elicitation Required Error").
const URL_ELICITATION_REQUIRED: i32 = -32042;

/// What the client of `request` can be asked: the capabilities of a handshake, as raw JSON, the same for all clients that
/// can be asked the same. `None` for one that can be asked nothing.
pub fn declared(request: &Message) -> Option<Box<str>> {
    let all = request.at(&["_meta", meta::CLIENT_CAPABILITIES])?;
    let member = |key: &&str| {
        let value = json::lookup(all, &[key]).filter(|value| value.starts_with('{'))?;
        Some(format!("\"{key}\":{}", sorted(value)?))
    };
    let members: Vec<_> = CAPABILITIES.iter().filter_map(member).collect();
    let text = format!("{{{}}}", members.join(","));
    (!members.is_empty() && text.len() <= MAX_DECLARED).then(|| text.into())
}

/// Tells calls apart: by method and parameters, however their JSON is written. What a client adds when it sends a call
/// again, and the envelope, do not count.
pub fn digest(request: &Message) -> Option<[u8; 32]> {
    let object = Object::parse(request.body().unwrap_or("{}")).ok()?;
    let counts = |key: &str| !matches!(key, "_meta" | "inputResponses" | "requestState");
    let mut members: Vec<_> = object.iter().filter(|(key, _)| counts(key)).collect();
    members.sort_unstable();
    let mut hash = Sha256::new().chain_update(request.method()).chain_update([0]);
    for (key, value) in members {
        hash.update(json::quote(key));
        hash.update(sorted(value)?);
    }
    Some(hash.finalize().into())
}

/// JSON without spaces, the members of its objects in the order of their names.
fn sorted(json: &str) -> Option<String> {
    let mut value: serde_json::Value = serde_json::from_str(json).ok()?;
    value.sort_all_objects();
    Some(value.to_string())
}

/// Why a client cannot be asked what a server asks; the server is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unasked;

/// What a server asks, as a value of `inputRequests`. `capabilities` are those that were declared to it.
///
/// # Errors
/// When the client has not declared that it can be asked this.
pub fn entry(question: &Message, capabilities: &str) -> Result<Box<str>, Unasked> {
    let can = |path: &[&str]| json::lookup(capabilities, path).is_some();
    let by_url = question.str_at(&["mode"]).as_deref() == Some("url");
    let declared = match question.method() {
        "sampling/createMessage" if ["tools", "toolChoice"].iter().any(|key| question.at(&[key]).is_some()) => {
            can(&["sampling", "tools"])
        }
        "sampling/createMessage" => can(&["sampling"]),
        "roots/list" => can(&["roots"]),
        "elicitation/create" if by_url => can(&["elicitation", "url"]),
        // Who says nothing of modes means forms ("Elicitation", "Capabilities").
        "elicitation/create" => {
            can(&["elicitation", "form"]) || (can(&["elicitation"]) && !can(&["elicitation", "url"]))
        }
        _ => false,
    };
    if !declared {
        return Err(Unasked);
    }
    Ok(written(question.method(), question.body().unwrap_or("{}")))
}

/// The older revision names each visit of a URL; the newer has nothing to name it for.
fn written(method: &str, params: &str) -> Box<str> {
    let named = json::lookup(params, &["elicitationId"]).is_some();
    let plain = named.then(|| json::without(params, &["elicitationId"])).flatten();
    format!(r#"{{"method":"{method}","params":{}}}"#, plain.as_deref().unwrap_or(params)).into()
}

/// The URLs that have to be visited before a call can be made again, where its `answer` says so: as values of
/// `inputRequests`.
pub fn urls(answer: &Message) -> Option<Vec<Box<str>>> {
    if answer.at(&["code"])?.parse() != Ok(URL_ELICITATION_REQUIRED) {
        return None;
    }
    let all = answer.at(&["data", "elicitations"]).and_then(json::elements).unwrap_or_default();
    let all = all.into_iter().filter(|params| params.starts_with('{'));
    Some(all.map(|params| written("elicitation/create", params)).collect())
}

/// The result that asks.
pub fn required<'a>(entries: impl Iterator<Item = (u64, &'a str)>, state: &str) -> String {
    let entries: Vec<_> = entries.map(|(key, entry)| format!("\"{key}\":{entry}")).collect();
    let (entries, state) = (entries.join(","), json::quote(state));
    format!(r#"{{"resultType":"input_required","inputRequests":{{{entries}}},"requestState":{state}}}"#)
}

/// The name of a call that waits for answers, as its client presents it: which pod has it, which of its places, and what
/// nobody can guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State<'a> {
    /// The pod, or what stands for it.
    pub pod: &'a str,
    /// The place there.
    pub place: u64,
}

const SCHEME: &str = "mgw1";

impl<'a> State<'a> {
    /// Reads a state as far as it says where the call is; `None` for what is none.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(4, '.');
        let (scheme, pod, place) = (parts.next()?, parts.next()?, parts.next()?);
        let secret = parts.next()?;
        let place = place.parse().ok()?;
        (scheme == SCHEME && !secret.is_empty()).then_some(Self { pod, place })
    }

    /// The whole, which only who has the `key` can make: the `number`th of this place.
    pub fn named(self, key: &Key, number: u64) -> Box<str> {
        let hash = Sha256::new().chain_update(key.0).chain_update(self.place.to_be_bytes());
        let hash = hash.chain_update(number.to_be_bytes()).finalize();
        let mut secret = [0; 16];
        secret.copy_from_slice(&hash[..16]);
        format!("{SCHEME}.{}.{}.{:032x}", self.pod, self.place, u128::from_be_bytes(secret)).into()
    }
}

/// Makes names that cannot be guessed, as long as nobody knows it.
#[derive(Clone)]
pub struct Key(pub [u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{self, RequestId};

    fn call(params: &str) -> Message {
        Message::call(Some(&RequestId::from(1)), "tools/call", Some(params))
    }

    #[test]
    fn corpus_replays() {
        let everything = r#"{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{"tools":{}}}"#;
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/modern_parked")).unwrap() {
            let raw = std::fs::read(file.unwrap().path()).unwrap();
            if let Some(state) = std::str::from_utf8(&raw).ok().and_then(State::parse) {
                assert_eq!(State::parse(&state.named(&Key([7; 32]), 1)), Some(state));
            }
            for message in envelope::parse(raw.into(), 1 << 20).map_or(Vec::new(), envelope::Incoming::into_messages) {
                assert!(digest(&message).is_some() || message.is_response());
                let asked = entry(&message, everything).into_iter().chain(urls(&message).into_iter().flatten());
                for asked in asked {
                    let result = Message::result(&RequestId::from(1), &required([(1, &*asked)].into_iter(), "s"));
                    assert_eq!(result.at(&["inputRequests", "1"]), Some(&*asked));
                }
            }
        }
    }

    #[test]
    fn what_a_client_can_be_asked_is_the_same_text_however_it_is_written() {
        let with = |capabilities: &str| {
            declared(&call(&format!(r#"{{"_meta":{{"{}":{capabilities}}}}}"#, meta::CLIENT_CAPABILITIES)))
        };
        for (capabilities, expected) in [
            ("{}", None),
            (r#"{"extensions":{},"roots":null,"sampling":true}"#, None),
            (r#"{"sampling":{ }}"#, Some(r#"{"sampling":{}}"#)),
            (
                r#"{"sampling":{"tools":{},"context":{}},"x":1,"elicitation":{"url":{},"form":{}}}"#,
                Some(r#"{"elicitation":{"form":{},"url":{}},"sampling":{"context":{},"tools":{}}}"#),
            ),
        ] {
            assert_eq!(with(capabilities).as_deref(), expected, "{capabilities}");
        }
        assert_eq!(with(&format!(r#"{{"roots":{{"x":"{}"}}}}"#, "x".repeat(MAX_DECLARED))), None);
        assert_eq!(declared(&call("{}")), None);
    }

    #[test]
    fn a_call_that_is_sent_again_is_known_and_another_is_not() {
        let first = digest(&call(r#"{"name":"t","arguments":{"a":1,"b":[1,2]},"_meta":{"progressToken":1}}"#)).unwrap();
        let same = [
            r#"{"arguments":{"b":[1, 2],"a":1},"name":"t"}"#,
            r#"{"name":"\u0074","arguments":{"a":1,"b":[1,2]},"requestState":"s","inputResponses":{}}"#,
        ];
        for params in same {
            assert_eq!(digest(&call(params)), Some(first), "{params}");
        }
        let other = [
            r#"{"name":"t","arguments":{"a":2,"b":[1,2]}}"#,
            r#"{"name":"t","arguments":{"a":1,"b":[2,1]}}"#,
            r#"{"name":"t","arguments":{"a":1,"b":[1,2]},"x":1}"#,
            r#"{"name":"u","arguments":{"a":1,"b":[1,2]}}"#,
            "{}",
        ];
        for params in other {
            assert_ne!(digest(&call(params)), Some(first), "{params}");
        }
        let prompt = Message::call(None, "prompts/get", call(r#"{"name":"t"}"#).body());
        assert_ne!(digest(&prompt), digest(&call(r#"{"name":"t"}"#)));
    }

    #[test]
    fn a_client_is_asked_what_it_has_declared() {
        let all = r#"{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{}}"#;
        let form = r#"{"message":"m","requestedSchema":{"type":"object","properties":{}}}"#;
        let url = r#"{"mode":"url","elicitationId":"e","url":"https:\/\/a","message":"m"}"#;
        for (method, params, capabilities, expected) in [
            ("roots/list", None, all, Some(r#"{"method":"roots/list","params":{}}"#.to_owned())),
            ("roots/list", None, r#"{"sampling":{}}"#, None),
            ("sampling/createMessage", Some(r#"{"toolChoice":{}}"#), r#"{"sampling":{}}"#, None),
            (
                "sampling/createMessage",
                Some(r#"{"n":1.0}"#),
                all,
                Some(r#"{"method":"sampling/createMessage","params":{"n":1.0}}"#.to_owned()),
            ),
            (
                "elicitation/create",
                Some(form),
                r#"{"elicitation":{}}"#,
                Some(format!(r#"{{"method":"elicitation/create","params":{form}}}"#)),
            ),
            ("elicitation/create", Some(form), r#"{"elicitation":{"url":{}}}"#, None),
            ("elicitation/create", Some(url), r#"{"elicitation":{}}"#, None),
            (
                "elicitation/create",
                Some(url),
                all,
                Some(
                    r#"{"method":"elicitation/create","params":{"mode":"url","url":"https:\/\/a","message":"m"}}"#
                        .to_owned(),
                ),
            ),
            ("tasks/list", None, all, None),
        ] {
            let question = Message::call(Some(&RequestId::from(1)), method, params);
            assert_eq!(entry(&question, capabilities).ok().as_deref(), expected.as_deref(), "{method} {capabilities}");
        }
    }

    #[test]
    fn urls_to_be_visited_first_are_asked_for() {
        let data = r#"{"elicitations":[{"mode":"url","elicitationId":"e","url":"https://a","message":"m"},1]}"#;
        let answer = |code| Message::error(Some(&RequestId::from(1)), code, "x", Some(data));
        let expected: Box<str> =
            r#"{"method":"elicitation/create","params":{"mode":"url","url":"https://a","message":"m"}}"#.into();
        assert_eq!(urls(&answer(-32042)), Some(vec![expected]));
        assert_eq!(urls(&answer(-32602)), None);
        assert_eq!(urls(&Message::error(Some(&RequestId::from(1)), -32042, "x", None)), Some(Vec::new()));
    }

    #[test]
    fn a_state_says_where_the_call_is_and_is_never_the_same() {
        let (place, key) = (State { pod: "3f-a", place: 7 }, Key([1; 32]));
        let text = place.named(&key, 1);
        assert!(text.starts_with("mgw1.3f-a.7.") && text.len() == "mgw1.3f-a.7.".len() + 32);
        assert!(State::parse(&text) == Some(place));
        assert_ne!(place.named(&key, 2), text);
        assert_ne!(place.named(&Key([2; 32]), 1), text);
        for text in ["", "mgw1", "mgw1.a.7", "mgw1.a.7.", "mgw1.a.x.s", "mgw2.a.7.s"] {
            assert!(State::parse(text).is_none(), "{text}");
        }
        assert_eq!(format!("{key:?}"), "Key(…)");
    }

    #[test]
    fn a_result_that_asks_names_each_question_and_the_call() {
        let entries = [(3, r#"{"method":"roots/list","params":{}}"#)];
        assert_eq!(
            required(entries.into_iter(), "s"),
            r#"{"resultType":"input_required","inputRequests":{"3":{"method":"roots/list","params":{}}},"requestState":"s"}"#
        );
    }
}
