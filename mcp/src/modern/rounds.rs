//! Questions that a server of 2026-07-28 asks by its results ("Multi Round-Trip Requests"), as requests to a client of an
//! older revision, and the client's answers as members of the request that is made again.

use bytestring::ByteString;

use super::downgrade::block;
use super::stamp::Client;
use crate::envelope::{Kind, Message};
use crate::json::{self, Object, without};
use crate::version::Version;

/// What is said of an elicitation that brought no answer.
pub const NOT_ELICITED: &str = r#"{"action":"cancel"}"#;

/// Of which kind a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer.
    Complete,
    /// Something is to be answered first.
    Asks,
    /// Something that clients of older revisions cannot have.
    Foreign,
}

/// What a server wants to know.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// In the server's order.
    pub questions: Vec<Question>,
    /// What is to come back with the answers, as raw JSON.
    pub state: Option<ByteString>,
}

/// One of its questions.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    /// What the server calls it.
    pub key: Box<str>,
    /// The method of the request.
    pub method: Box<str>,
    /// Its `params`, raw JSON.
    params: String,
}

/// Of which kind the answer is.
pub fn outcome(answer: &Message) -> Outcome {
    match answer.str_at(&["resultType"]).as_deref() {
        _ if answer.kind() == Kind::Error => Outcome::Complete,
        None | Some("complete") => Outcome::Complete,
        Some("input_required") => Outcome::Asks,
        Some(_) => Outcome::Foreign,
    }
}

/// What the answer asks.
///
/// # Errors
/// When it cannot be read, asks nothing, or asks what the client has not declared that it answers: says what.
pub fn asked(answer: &Message, client: &Client) -> Result<Asked, String> {
    let state = answer.at(&["requestState"]).filter(|state| state.starts_with('"')).map(|state| answer.part(state));
    let questions = match answer.at(&["inputRequests"]) {
        None | Some("null") => Vec::new(),
        Some(requests) => {
            let object = Object::parse(requests).map_err(|error| format!("`inputRequests` cannot be read: {error}"))?;
            object.iter().map(|(key, request)| question(key, request, client)).collect::<Result<_, _>>()?
        }
    };
    if questions.is_empty() && state.is_none() {
        return Err("it wants something, and does not say what".to_owned());
    }
    Ok(Asked { questions, state })
}

fn question(key: &str, request: &str, client: &Client) -> Result<Question, String> {
    let method = json::lookup(request, &["method"]).and_then(json::string).unwrap_or_default();
    let params = json::lookup(request, &["params"]).unwrap_or("{}");
    if !params.starts_with('{') {
        return Err(format!("the `params` of `{method}` are no object"));
    }
    let names = |key| json::lookup(params, &[key]).is_some();
    let needed: &[&str] = match method.as_ref() {
        "elicitation/create" if is_by_url(params) => &["elicitation", "url"],
        "elicitation/create" => &["elicitation", "form"],
        "sampling/createMessage" if names("tools") || names("toolChoice") => &["sampling", "tools"],
        "sampling/createMessage" => &["sampling"],
        "roots/list" => &["roots"],
        other => return Err(format!("it asks for `{other}`, which no client answers")),
    };
    if !client.declares(needed) {
        return Err(format!("it asks for `{method}`, and this client has not declared `{}`", needed.join(".")));
    }
    let older = match method.as_ref() {
        "elicitation/create" if client.version < Version::V2025_11_25 => without(params, &["mode"]),
        "sampling/createMessage" => messages(params, client.version),
        _ => None,
    };
    let params = older.unwrap_or_else(|| params.to_owned());
    Ok(Question { key: key.into(), method: method.into(), params })
}

fn is_by_url(params: &str) -> bool {
    json::lookup(params, &["mode"]).and_then(json::string).as_deref() == Some("url")
}

/// Messages for a model, one block of content each, as it was before 2025-11-25; `None` when they need no change.
fn messages(params: &str, version: Version) -> Option<String> {
    let list = json::lookup(params, &["messages"]).filter(|_| version < Version::V2025_11_25)?;
    let mut older = Vec::new();
    for message in json::elements(list)? {
        let content = json::lookup(message, &["content"])?;
        let blocks = json::elements(content).unwrap_or_else(|| vec![content]);
        let place = json::span(message, content);
        older.extend(blocks.into_iter().map(|one| {
            let known = block(one, version);
            format!("{}{}{}", &message[..place.start], known.as_deref().unwrap_or(one), &message[place.end..])
        }));
    }
    let mut params = params.to_owned();
    let place = json::lookup(&params, &["messages"]).map(|list| json::span(&params, list))?;
    params.replace_range(place, &format!("[{}]", older.join(",")));
    Some(params)
}

impl Question {
    /// Whether a user is asked, who may as well say nothing.
    pub fn elicits(&self) -> bool {
        &*self.method == "elicitation/create"
    }

    /// The `params` of the request under the number `id`. Older revisions know elicitations of a URL by an id.
    pub fn params(&self, id: u64) -> String {
        let named = json::lookup(&self.params, &["elicitationId"]).is_some();
        if !self.elicits() || !is_by_url(&self.params) || named {
            return self.params.clone();
        }
        format!(r#"{{"elicitationId":"{id}",{}"#, self.params[1..].trim_start())
    }
}

/// What a request says of the round before, each member behind a comma: the answers by what the server calls the
/// questions, all raw JSON, and the server's state.
pub fn answered<'a>(answers: impl Iterator<Item = (&'a str, &'a str)>, state: Option<&str>) -> String {
    let answers: Vec<_> = answers.map(|(key, answer)| format!("{}:{answer}", json::quote(key))).collect();
    let responses = (!answers.is_empty()).then(|| format!(r#","inputResponses":{{{}}}"#, answers.join(",")));
    let state = state.map(|state| format!(r#","requestState":{state}"#));
    responses.unwrap_or_default() + &state.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::RequestId;

    fn client(version: &str, capabilities: &str) -> Client {
        Client::new(&format!(r#"{{"protocolVersion":"{version}","capabilities":{capabilities}}}"#))
    }

    fn asks(rest: &str) -> Message {
        Message::result(&RequestId::from(1), &format!(r#"{{"resultType":"input_required"{rest}}}"#))
    }

    fn requests(requests: &str) -> Message {
        asks(&format!(r#","inputRequests":{{{requests}}}"#))
    }

    #[test]
    fn the_kind_of_a_result_is_what_it_says_and_a_plain_one_is_complete() {
        for (result, expected) in [
            ("{}", Outcome::Complete),
            ("[]", Outcome::Complete),
            (r#"{"resultType":"complete"}"#, Outcome::Complete),
            (r#"{"resultType":"input_\u0072equired"}"#, Outcome::Asks),
            (r#"{"resultType":"task","taskId":"1"}"#, Outcome::Foreign),
            (r#"{"resultType":"x"}"#, Outcome::Foreign),
        ] {
            assert_eq!(outcome(&Message::result(&RequestId::from(1), result)), expected, "{result}");
        }
        let error = Message::error(Some(&RequestId::from(1)), 1, "x", None);
        assert_eq!(outcome(&error), Outcome::Complete);
        assert!(crate::modern::may_ask("tools/call") && !crate::modern::may_ask("tools/list"));
    }

    #[test]
    fn a_client_is_asked_what_it_declares_and_nothing_else() {
        let form = r#""k":{"method":"elicitation/create","params":{"message":"m"}}"#;
        let url = r#""k":{"method":"elicitation/create","params":{"mode":"url","url":"u"}}"#;
        let model = r#""k":{"method":"sampling/createMessage","params":{"messages":[]}}"#;
        let tools = r#""k":{"method":"sampling/createMessage","params":{"messages":[],"tools":[]}}"#;
        let roots = r#""k":{"method":"roots/list"}"#;
        for (declared, question, asked) in [
            (r#"{"elicitation":{}}"#, form, true),
            (r#"{"elicitation":{}}"#, url, false),
            (r#"{"elicitation":{"url":{}}}"#, url, true),
            (r#"{"elicitation":{"url":{}}}"#, form, false),
            (r#"{"sampling":{}}"#, model, true),
            (r#"{"sampling":{}}"#, tools, false),
            (r#"{"sampling":{"tools":{}}}"#, tools, true),
            (r#"{"roots":{"listChanged":true}}"#, roots, true),
            ("{}", roots, false),
            (r#"{"roots":{}}"#, r#""k":{"method":"ping"}"#, false),
            (r#"{"roots":{}}"#, r#""k":1"#, false),
            (r#"{"roots":{}}"#, r#""k":{"method":"roots/list","params":1}"#, false),
        ] {
            let found = super::asked(&requests(question), &client("2025-11-25", declared));
            assert_eq!(found.is_ok(), asked, "{declared} {question}: {found:?}");
        }
    }

    #[test]
    fn a_result_that_asks_nothing_is_wrong_and_one_with_a_state_alone_is_not() {
        let client = client("2025-11-25", "{}");
        for rest in ["", r#","inputRequests":{}"#, r#","inputRequests":1"#, r#","requestState":1"#] {
            assert!(asked(&asks(rest), &client).is_err(), "{rest}");
        }
        let found = asked(&asks(r#","inputRequests":null,"requestState":"s\u00e9""#), &client).unwrap();
        assert_eq!((found.questions.len(), found.state.as_deref()), (0, Some(r#""s\u00e9""#)));
    }

    #[test]
    fn a_question_is_worded_as_the_clients_revision_has_it() {
        let ask = |version: &str, question: &str| {
            let everything = r#"{"elicitation":{"form":{},"url":{}},"sampling":{}}"#;
            let found = asked(&requests(&format!(r#""k":{question}"#)), &client(version, everything)).unwrap();
            found.questions[0].params(9)
        };
        let elicit = r#"{"method":"elicitation/create","params":{"mode":"form","message":"m"}}"#;
        assert_eq!(ask("2025-06-18", elicit), r#"{"message":"m"}"#);
        assert_eq!(ask("2025-11-25", elicit), r#"{"mode":"form","message":"m"}"#);
        let url = r#"{"method":"elicitation/create","params":{ "mode":"url","url":"u"}}"#;
        assert_eq!(ask("2025-11-25", url), r#"{"elicitationId":"9","mode":"url","url":"u"}"#);
        let two = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"audio","mimeType":"x"}],"y":1.0}],"maxTokens":1e2}"#;
        let sample = format!(r#"{{"method":"sampling/createMessage","params":{two}}}"#);
        assert_eq!(ask("2025-11-25", &sample), two);
        assert_eq!(
            ask("2025-06-18", &sample),
            r#"{"messages":[{"role":"user","content":{"type":"text","text":"a"},"y":1.0},{"role":"user","content":{"type":"audio","mimeType":"x"},"y":1.0}],"maxTokens":1e2}"#
        );
        assert!(ask("2024-11-05", &sample).contains("(audio of the type x"));
    }

    #[test]
    fn the_answers_and_the_state_go_back_as_they_are() {
        let answers = [("a", r#"{"x":1.0}"#), ("b\"", "{}")];
        assert_eq!(
            answered(answers.into_iter(), Some(r#""s\u00e9""#)),
            r#","inputResponses":{"a":{"x":1.0},"b\"":{}},"requestState":"s\u00e9""#
        );
        assert_eq!(answered(std::iter::empty(), Some("\"s\"")), r#","requestState":"s""#);
        assert_eq!(answered(answers.into_iter().take(1), None), r#","inputResponses":{"a":{"x":1.0}}"#);
    }
}
