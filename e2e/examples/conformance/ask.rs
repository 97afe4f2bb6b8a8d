//! What tools and prompts want to know of the client.
//!
//! Up to 2025-11-25 the server sends requests and waits; from 2026-07-28 on the questions are its result, and the client
//! comes again with the answers.

use futures::future::try_join_all;
use rmcp::model::{
    ErrorData, InputRequest, InputRequests, InputRequiredResult, InputResponses, ProtocolVersion, RequestStateCodec,
    ServerRequest,
};
use rmcp::service::RequestContext;
use rmcp::{Peer, RoleServer};
use serde_json::{Value, json};

/// Signs the state that clients carry. It proves nothing here but that it comes back as it went.
const KEY: [u8; 32] = *b"a key for tests, known to anyone";

/// Rounds of questions: all of one are asked at once, the next when they are answered.
#[derive(Debug)]
pub(crate) struct Dialogue {
    pub(crate) rounds: Vec<Value>,
    /// Whether it remembers in a sealed state how far it is.
    pub(crate) sealed: bool,
}

/// What the client has sent along.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) responses: Option<InputResponses>,
    pub(crate) state: Option<String>,
}

/// How far a dialogue has come.
pub(crate) enum Progress {
    /// All is answered.
    Done(InputResponses),
    /// The client is to come again.
    Asking(InputRequiredResult),
}

/// Whether the request is one of 2026-07-28, or of a newer revision.
pub(crate) fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

/// Asks what is not answered yet.
pub(crate) async fn hold(
    dialogue: &Dialogue,
    given: Given,
    context: &RequestContext<RoleServer>,
) -> Result<Progress, ErrorData> {
    if !is_modern(context) {
        return ask_now(dialogue, &context.peer).await.map(Progress::Done);
    }
    let codec = RequestStateCodec::try_new(KEY).map_err(internal)?;
    let asked = match &given.state {
        Some(state) => codec.open_json(state).map_err(|_| refusal("the state is not as it was sent"))?,
        None => 0,
    };
    let mut answers = InputResponses::new();
    for (number, questions) in dialogue.rounds.iter().enumerate().skip(asked) {
        let questions = parse(questions)?;
        let Some(answered) = answers_to(&questions, given.responses.as_ref()) else {
            let state = dialogue.sealed.then(|| codec.seal_json(&number)).transpose().map_err(internal)?;
            return Ok(Progress::Asking(InputRequiredResult::new(Some(questions), state)));
        };
        answers.extend(answered);
    }
    Ok(Progress::Done(answers))
}

async fn ask_now(dialogue: &Dialogue, peer: &Peer<RoleServer>) -> Result<InputResponses, ErrorData> {
    let mut answers = InputResponses::new();
    for questions in &dialogue.rounds {
        let asked = parse::<InputRequests>(questions)?.into_iter().map(async |(key, question)| {
            let answer = peer.send_request(request(question)?).await.map_err(internal)?;
            Ok::<_, ErrorData>((key, serde_json::to_value(answer).map_err(internal)?))
        });
        answers.extend(try_join_all(asked).await?);
    }
    Ok(answers)
}

/// The answers, if there is one to each question. What is no object is none.
fn answers_to(questions: &InputRequests, given: Option<&InputResponses>) -> Option<InputResponses> {
    let answer = |key: &String| Some((key.clone(), given?.get(key).filter(|answer| answer.is_object())?.clone()));
    questions.keys().map(answer).collect()
}

fn request(question: InputRequest) -> Result<ServerRequest, ErrorData> {
    match question {
        InputRequest::CreateMessage(request) => Ok(request.into()),
        InputRequest::Elicitation(request) => Ok(request.into()),
        InputRequest::ListRoots(request) => Ok(request.into()),
        other => Err(internal(format!("no client is asked {other:?}"))),
    }
}

/// A question for a form with these properties, all of them required.
pub(crate) fn form(message: &str, properties: Value) -> Value {
    let required: Vec<_> = properties.as_object().into_iter().flat_map(|all| all.keys().cloned()).collect();
    let mut schema = json!({"type": "object", "required": required});
    schema["properties"] = properties;
    json!({"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}})
}

/// A question for a language model.
pub(crate) fn sampling(prompt: &str) -> Value {
    let messages = json!([{"role": "user", "content": {"type": "text", "text": prompt}}]);
    json!({"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": 100}})
}

/// The question for the client's roots.
pub(crate) fn roots() -> Value {
    json!({"method": "roots/list"})
}

/// Any type of the SDK from JSON, which is shorter than its builders.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(json: &Value) -> Result<T, ErrorData> {
    serde_json::from_value(json.clone()).map_err(internal)
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(crate) fn internal(error: impl ToString) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

pub(crate) fn refusal(what: impl Into<std::borrow::Cow<'static, str>>) -> ErrorData {
    ErrorData::invalid_params(what, None)
}
