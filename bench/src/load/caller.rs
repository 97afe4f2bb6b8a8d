//! A client that calls `echo` and checks what comes back.

use std::borrow::Cow;
use std::io::Write as _;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::session::{Answer, Session};
use crate::target::Target;

/// A session and the words that only it uses.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) session: Session,
    tool: String,
    words: Words,
    message: Vec<u8>,
}

/// Texts and ids that no two clients share, so that another's answer is known as such.
#[derive(Debug)]
pub(super) struct Words {
    client: usize,
    calls: u64,
    pub(super) text: String,
}

impl Words {
    pub(super) fn new(client: usize) -> Self {
        Self { client, calls: 0, text: String::new() }
    }

    /// The next call's id; its text makes question and answer about 200 bytes each.
    pub(super) fn next_id(&mut self) -> u64 {
        self.calls += 1;
        let id = ((self.client as u64) << 32) + self.calls;
        self.text = format!("canary-{id:0>16}-{:-<76}", self.client);
        id
    }
}

impl Caller {
    pub(crate) async fn open(target: &Target, client: usize) -> anyhow::Result<Self> {
        let session = Session::open(&target.endpoint)
            .await
            .with_context(|| format!("{}: cannot open session {client}", target.name))?;
        Ok(Self { session, tool: target.tool("echo"), words: Words::new(client), message: Vec::new() })
    }

    /// One call, checked.
    pub(crate) async fn call(&mut self) -> anyhow::Result<()> {
        let id = self.words.next_id();
        self.message.clear();
        write_call(&mut self.message, id, &self.tool, &self.words.text)?;
        let answer = self.session.request(id, &self.message).await?;
        ensure!(text_of(&answer)? == self.words.text, "the answer holds another call's text");
        Ok(())
    }

    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.session.close().await
    }
}

/// A call of `echo`; `text` needs no escape.
pub(crate) fn write_call(message: &mut Vec<u8>, id: u64, tool: &str, text: &str) -> std::io::Result<()> {
    write!(
        message,
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"text":"{text}"}}}}}}"#
    )
}

/// The text of a result with one text content.
pub(crate) fn text_of(answer: &[u8]) -> anyhow::Result<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct CallResult<'a> {
        #[serde(borrow)]
        content: [Content<'a>; 1],
    }
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        text: Cow<'a, str>,
    }
    let result = Answer::parse(answer)?.result()?;
    let CallResult { content: [Content { text }] } =
        serde_json::from_str(result).context("the result is not one text")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clients_never_use_the_same_id_or_text() {
        let (mut one, mut two) = (Words::new(1), Words::new(2));
        assert_ne!(one.next_id(), two.next_id());
        assert_ne!(one.text, two.text);
        assert_eq!((one.text.len(), two.text.len()), (100, 100));
    }

    #[test]
    fn the_text_is_found_whatever_else_the_answer_holds() {
        let answer = br#"{"id":1,"jsonrpc":"2.0","result":{"_meta":{"server":"echo"},"content":[{"type":"text","text":"a\u0041","annotations":{}}]}}"#;
        assert_eq!(text_of(answer).unwrap(), "aA");
    }

    #[test]
    fn an_error_is_not_a_text() {
        let refused = text_of(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}"#).unwrap_err();
        assert!(refused.to_string().contains("-32602"));
    }
}
