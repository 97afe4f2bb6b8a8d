//! Arguments of tools that are repeated in headers, so that what is between can route by them (2026-07-28, "Custom
//! Headers from Tool Parameters"). Whoever reads the body sees to it that both say the same.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::check::{Field, Refusal, missing, same_coded, same_value};
use crate::envelope::Message;
use crate::header::{self, MCP_PARAM_PREFIX};
use crate::json;

/// The key in the schema of an argument.
const ANNOTATION: &str = "x-mcp-header";
/// So many arguments of one tool may be repeated; a request could not have more headers anyway.
const MAX_MIRRORED: usize = 64;

/// Which arguments of which tools are repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrored(BTreeMap<String, Vec<Argument>>);

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Argument {
    /// The header's name, in lower case.
    header: String,
    /// Where the argument stands below `arguments`.
    path: Vec<String>,
}

impl Mirrored {
    /// As the tools of a list, each raw JSON, say.
    pub fn of_tools<'a>(tools: impl IntoIterator<Item = &'a str>) -> Self {
        let arguments = |tool: &str| {
            let name = json::lookup(tool, &["name"]).and_then(json::string)?.into_owned();
            let mut found = Vec::new();
            collect(json::lookup(tool, &["inputSchema"])?, &mut Vec::new(), &mut found);
            (!found.is_empty()).then_some((name, found))
        };
        Self(tools.into_iter().filter_map(arguments).collect())
    }

    /// Learns of the tools of one more list, or page of a list.
    pub fn learn<'a>(&mut self, tools: impl IntoIterator<Item = &'a str>) {
        for tool in tools {
            let Some(name) = json::lookup(tool, &["name"]).and_then(json::string) else { continue };
            self.0.remove(&*name);
            self.0.append(&mut Self::of_tools([tool]).0);
        }
    }

    /// The headers that a `tools/call` is to be sent with: names in lower case, and values as they are sent.
    pub fn headers(&self, call: &Message) -> Vec<(String, String)> {
        if call.method() != "tools/call" {
            return Vec::new();
        }
        let arguments = call.str_at(&["name"]).and_then(|name| self.0.get(&*name));
        let value = |path: &[String]| {
            let whole: Vec<_> = std::iter::once("arguments").chain(path.iter().map(String::as_str)).collect();
            let raw = call.at(&whole)?;
            match raw.as_bytes().first()? {
                b'"' => Some(header::encode(&json::string(raw)?).into_owned()),
                b't' | b'f' | b'-' | b'0'..=b'9' => Some(raw.to_owned()),
                _ => None,
            }
        };
        let found = arguments.into_iter().flatten();
        found.filter_map(|Argument { header, path }| Some((header.clone(), value(path)?))).collect()
    }

    /// Checks that the headers of a `tools/call` say what its arguments say. `header` gives the headers by name, in lower
    /// case; those that no argument asks for are let pass.
    ///
    /// # Errors
    /// With the first that differs, as the client is to be told.
    pub fn check<'a>(&self, call: &Message, header: impl Fn(&str) -> Field<'a>) -> Result<(), Refusal> {
        let Some(arguments) = call.str_at(&["name"]).and_then(|name| self.0.get(&*name)) else { return Ok(()) };
        for Argument { header: name, path } in arguments {
            let mut whole = vec!["arguments"];
            whole.extend(path.iter().map(String::as_str));
            match (call.at(&whole).filter(|value| *value != "null"), header(name)) {
                (None, Field::Absent) => {}
                (None, _) => return Err(missing(name, &path.join("."))),
                (Some(value), field) => check_value(value, field, name)?,
            }
        }
        Ok(())
    }
}

fn check_value(value: &str, field: Field<'_>, name: &str) -> Result<(), Refusal> {
    match value.as_bytes().first() {
        Some(b'"') => same_coded(field, name, &json::string(value).unwrap_or_default()),
        Some(b't' | b'f') => same_value(field, name, |text| text == value),
        Some(b'-' | b'0'..=b'9') => same_value(field, name, |text| same_number(text, value)),
        // Not what the schema asks for: the server says so.
        _ => Ok(()),
    }
}

/// Whether two texts are one number, however it is written.
fn same_number(one: &str, other: &str) -> bool {
    match (one.parse::<i128>(), other.parse::<i128>()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one.parse::<f64>().is_ok_and(|one| Ok(one) == other.parse::<f64>()),
    }
}

/// Adds the arguments below a schema that are repeated: those that can be reached by names alone.
fn collect(schema: &str, path: &mut Vec<String>, found: &mut Vec<Argument>) {
    let properties = json::lookup(schema, &["properties"]).unwrap_or("{}");
    let Ok(properties) = serde_json::from_str::<BTreeMap<String, &RawValue>>(properties) else { return };
    for (name, property) in properties {
        let property = property.get();
        path.push(name);
        if let Some(header) = annotation(property)
            && found.len() < MAX_MIRRORED
        {
            found.push(Argument { header, path: path.clone() });
        }
        if path.len() < json::MAX_DEPTH {
            collect(property, path, found);
        }
        path.pop();
    }
}

/// The header in which an argument is repeated, unless its schema says so in a way that counts for nothing.
fn annotation(property: &str) -> Option<String> {
    let kind = json::lookup(property, &["type"]).and_then(json::string)?;
    let name = json::lookup(property, &[ANNOTATION]).and_then(json::string)?;
    let fits = matches!(&*kind, "string" | "integer" | "boolean")
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    fits.then(|| format!("{MCP_PARAM_PREFIX}{}", name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::envelope::{self, Incoming};

    const TOOL: &str = r#"{"name":"t","inputSchema":{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "count":{"type":"integer","x-mcp-header":"Count"},
        "dry":{"type":"boolean","x-mcp-header":"Dry"},
        "at":{"type":"object","properties":{"zone":{"type":"string","x-mcp-header":"Zone"}}},
        "ratio":{"type":"number","x-mcp-header":"Ratio"},
        "bad":{"type":"string","x-mcp-header":"no spaces"},
        "list":{"type":"array","items":{"properties":{"x":{"type":"string","x-mcp-header":"Item"}}}},
        "plain":{"type":"string"}}}}"#;

    fn outcome(arguments: &str, headers: &[(&str, &'static str)]) -> Result<(), i32> {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","arguments":{arguments}}}}}"#
        );
        let Ok(Incoming::Single(call)) = envelope::parse(Bytes::from(text), 1 << 20) else { panic!("{arguments}") };
        let field = |name: &str| {
            let found = headers.iter().find(|(known, _)| format!("mcp-param-{known}") == name);
            found.map_or(Field::Absent, |(_, value)| Field::One(value))
        };
        Mirrored::of_tools([TOOL]).check(&call, field).map_err(|refusal| refusal.code)
    }

    #[test]
    fn arguments_that_are_reached_by_names_and_hold_one_value_are_repeated() {
        let headers: Vec<_> = Mirrored::of_tools([TOOL]).0["t"].iter().map(|one| one.header.clone()).collect();
        assert_eq!(headers, ["mcp-param-zone", "mcp-param-count", "mcp-param-dry", "mcp-param-region"]);
        assert_eq!(Mirrored::of_tools([r#"{"name":"a","inputSchema":{}}"#, "1", "{}"]), Mirrored::default());
    }

    #[test]
    fn a_call_is_sent_with_the_headers_that_its_check_wants() {
        let mut mirrored = Mirrored::default();
        mirrored.learn([TOOL, r#"{"name":"other","inputSchema":{}}"#]);
        let call = |arguments: &str| {
            let params = format!(r#"{{"name":"t","arguments":{arguments}}}"#);
            Message::call(Some(&crate::envelope::RequestId::from(1)), "tools/call", Some(&params))
        };
        for (arguments, expected) in [
            ("{}", vec![]),
            (r#"{"region":null,"plain":"x"}"#, vec![]),
            (
                r#"{"region":"\u00e9","count":-3,"dry":true,"at":{"zone":"a b"}}"#,
                vec![("zone", "a b"), ("count", "-3"), ("dry", "true"), ("region", "=?base64?w6k=?=")],
            ),
        ] {
            let call = call(arguments);
            let headers = mirrored.headers(&call);
            let found: Vec<_> =
                headers.iter().map(|(name, value)| (&name["mcp-param-".len()..], value.as_str())).collect();
            assert_eq!(found, expected, "{arguments}");
            let field = |name: &str| {
                let value = headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
                value.map_or(Field::Absent, Field::One)
            };
            assert_eq!(mirrored.check(&call, field), Ok(()), "{arguments}");
        }
        mirrored.learn([r#"{"name":"t","inputSchema":{}}"#]);
        assert_eq!(mirrored, Mirrored::default());
    }

    #[test]
    fn header_and_body_must_say_the_same() {
        for (arguments, headers, expected) in [
            (r#"{"region":"eu"}"#, vec![("region", "eu")], Ok(())),
            (r#"{"region":"e\u0075"}"#, vec![("region", "=?base64?ZXU=?=")], Ok(())),
            (r#"{"region":"ZXU="}"#, vec![("region", "ZXU=")], Ok(())),
            (r#"{"region":"=?base64?ZXU="}"#, vec![("region", "=?base64?ZXU=")], Ok(())),
            (r#"{"region":"eu"}"#, vec![("region", "EU")], Err(-32020)),
            (r#"{"region":"eu"}"#, vec![("region", "=?base64?ZXU?=")], Err(-32020)),
            (r#"{"region":"eu"}"#, vec![], Err(-32020)),
            (r#"{"region":null}"#, vec![], Ok(())),
            (r#"{"region":null}"#, vec![("region", "eu")], Err(-32020)),
            ("{}", vec![], Ok(())),
            ("{}", vec![("region", "eu")], Err(-32020)),
            ("null", vec![], Ok(())),
            (r#"{"count":42}"#, vec![("count", "42")], Ok(())),
            (r#"{"count":42.0}"#, vec![("count", " 42 ")], Ok(())),
            (r#"{"count":9007199254740993}"#, vec![("count", "9007199254740992")], Err(-32020)),
            (r#"{"count":42}"#, vec![("count", "x")], Err(-32020)),
            (r#"{"dry":true}"#, vec![("dry", "true")], Ok(())),
            (r#"{"dry":true}"#, vec![("dry", "True")], Err(-32020)),
            (r#"{"at":{"zone":"a"}}"#, vec![("zone", "a")], Ok(())),
            (r#"{"at":{"zone":"a"}}"#, vec![], Err(-32020)),
            // What the schema does not allow is the server's to refuse.
            (r#"{"region":[1]}"#, vec![], Ok(())),
            (r#"{"plain":"x","ratio":1.5}"#, vec![("other", "x")], Ok(())),
        ] {
            assert_eq!(outcome(arguments, &headers), expected, "{arguments} {headers:?}");
        }
    }
}
