//! A JSON-RPC message as it came, with access to its members.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// An error of JSON-RPC.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("JSON-RPC error {code}: {message}")]
pub struct RpcError {
    /// Code, such as -32602.
    pub code: i64,
    /// Text for people.
    pub message: String,
    /// `data`; null when absent.
    pub data: Value,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: i64, message: &str) -> Self {
        Self { code, message: message.into(), data: Value::Null }
    }
}

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    raw: String,
    id: Option<String>,
    value: Value,
}

impl Message {
    /// Reads one message.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn parse(raw: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Id {
            id: Option<Box<RawValue>>,
        }
        let read = || -> serde_json::Result<Self> {
            let Id { id } = serde_json::from_str(raw)?;
            Ok(Self { raw: raw.into(), id: id.map(|id| id.get().into()), value: serde_json::from_str(raw)? })
        };
        read().with_context(|| format!("this is no message: {}", raw.chars().take(200).collect::<String>()))
    }

    /// Reads one message, or the messages of a batch.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_all(raw: &str) -> Result<Vec<Self>> {
        if raw.trim_start().starts_with('[') {
            let batch: Vec<Box<RawValue>> = serde_json::from_str(raw).context("this is no batch")?;
            batch.iter().map(|message| Self::parse(message.get())).collect()
        } else {
            Self::parse(raw).map(|message| vec![message])
        }
    }

    /// The text as received.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The id as JSON text, so that `1`, `1.0` and `"1"` differ.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The method of a request or a notification.
    pub fn method(&self) -> Option<&str> {
        self.value["method"].as_str()
    }

    /// Params; null when absent.
    pub fn params(&self) -> &Value {
        &self.value["params"]
    }

    /// The text of the result as received.
    pub fn raw_result(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Outcome {
            result: Option<Box<RawValue>>,
        }
        let Outcome { result } = serde_json::from_str(&self.raw).ok()?;
        result.map(|result| result.get().into())
    }

    /// The result, or the error.
    ///
    /// # Errors
    /// Those of the server; an answer with neither counts as an error of code 0.
    pub fn into_result(mut self) -> Result<Value, RpcError> {
        if let Some(result) = self.value.get_mut("result") {
            return Ok(result.take());
        }
        let error = &mut self.value["error"];
        Err(RpcError {
            code: error["code"].as_i64().unwrap_or_default(),
            message: error["message"].as_str().unwrap_or(&self.raw).into(),
            data: error["data"].take(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_their_form() {
        for id in ["1", "1.0", "\"1\"", "123456789012345678901234567890", "\"\\u0041\""] {
            let message = Message::parse(&format!(r#"{{"id":{id},"result":{{ "a":1e2}}}}"#)).unwrap();
            assert_eq!(message.id(), Some(id));
            assert_eq!(message.raw_result().unwrap(), r#"{ "a":1e2}"#);
        }
    }

    #[test]
    fn an_error_keeps_its_data() {
        let message = Message::parse(r#"{"id":1,"error":{"code":-32602,"message":"no","data":[1]}}"#).unwrap();
        let error = message.into_result().unwrap_err();
        assert_eq!(error, RpcError { data: serde_json::json!([1]), ..RpcError::new(-32602, "no") });
    }

    #[test]
    fn a_batch_is_several_messages() {
        assert_eq!(Message::parse_all(r#" [{"id":1},{"method":"m"}]"#).unwrap().len(), 2);
        assert!(Message::parse_all("[1").is_err());
    }
}
