//! The head of an answer: the few fields the generator acts on.

use anyhow::Context as _;

use super::body::Body;

/// What an answer says about itself.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) media_type: MediaType,
    /// `Mcp-Session-Id`
    pub(crate) session: Option<String>,
    pub(crate) close: bool,
}

/// The two forms an answer takes on Streamable HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaType {
    Json,
    EventStream,
    Other,
}

impl MediaType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::EventStream => "text/event-stream",
            Self::Other => "application/octet-stream",
        }
    }
}

impl Head {
    /// Reads a status line and fields, without the empty line behind them.
    pub(super) fn parse(head: &[u8]) -> anyhow::Result<(Self, Body)> {
        let head = str::from_utf8(head).context("the answer's head is not text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status: u16 = status.context("the answer has no status")?;
        let mut parsed = Self { status, media_type: MediaType::Other, session: None, close: false };
        let mut body = if matches!(status, 204 | 304) { Body::Length(0) } else { Body::UntilClose };
        for line in lines {
            let (name, value) = line.split_once(':').context("the answer's head has a line without a colon")?;
            parsed.field(name, value.trim(), &mut body)?;
        }
        Ok((parsed, body))
    }

    fn field(&mut self, name: &str, value: &str, body: &mut Body) -> anyhow::Result<()> {
        if name.eq_ignore_ascii_case("content-length") {
            *body = Body::Length(value.parse().context("the answer's content-length is not a number")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            *body = Body::chunked();
        } else if name.eq_ignore_ascii_case("content-type") {
            self.media_type = match value.split(';').next() {
                Some("application/json") => MediaType::Json,
                Some("text/event-stream") => MediaType::EventStream,
                _ => MediaType::Other,
            };
        } else if name.eq_ignore_ascii_case("mcp-session-id") {
            self.session = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("connection") {
            self.close = value.eq_ignore_ascii_case("close");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_their_case() {
        let text = b"HTTP/1.1 200 OK\r\nCONTENT-type: application/json; charset=utf-8\r\nmcp-Session-ID: s1\r\nContent-Length: 12";
        let (head, body) = Head::parse(text).unwrap();
        assert_eq!(
            (head.status, head.media_type, head.session.as_deref(), head.close),
            (200, MediaType::Json, Some("s1"), false)
        );
        assert!(matches!(body, Body::Length(12)));
    }

    #[test]
    fn an_answer_without_a_length_ends_with_its_connection() {
        let (head, body) = Head::parse(b"HTTP/1.1 200 OK\r\nConnection: close").unwrap();
        assert!(head.close && matches!(body, Body::UntilClose));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        assert!(Head::parse(b"hello").is_err());
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\nno colon").is_err());
    }
}
