//! The child behind every target: a stdio MCP server in straight-line, synchronous code.
//!
//! It answers in order and writes when no further line waits, so that what is measured is the bridge in front of it.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::envelope::Envelope;

/// The revisions with an `initialize`; any other request is answered with the newest of them.
const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// How many tools there are at least: `echo`, `blob` and `stall`.
pub const TOOLS: u16 = 3;

/// What a request gets.
enum Outcome {
    /// JSON.
    Result(String),
    /// An error's code and message.
    Refused(i32, &'static str),
    /// No answer, ever.
    Silence,
}

/// Serves until the input ends.
pub fn serve<R: Read, W: Write>(mut input: BufReader<R>, mut output: BufWriter<W>, tools: u16) -> io::Result<()> {
    let list = tool_list(tools);
    let mut line = Vec::new();
    loop {
        if memchr::memchr(b'\n', input.buffer()).is_none() {
            output.flush()?;
        }
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return output.flush();
        }
        answer(&line, &list, &mut output)?;
    }
}

fn answer(line: &[u8], list: &str, output: &mut impl Write) -> io::Result<()> {
    let Ok(Envelope { id, method, params }) = Envelope::parse(line) else {
        return write_message(output, "null", "error", r#"{"code":-32700,"message":"not a JSON-RPC message"}"#);
    };
    let (Some(id), Some(method)) = (id, method) else {
        return Ok(());
    };
    let params = params.map_or("null", RawValue::get);
    let outcome = match method.get() {
        r#""tools/call""# => call(params),
        r#""initialize""# => Outcome::Result(initialize(params)),
        r#""ping""# => Outcome::Result("{}".to_owned()),
        r#""tools/list""# => Outcome::Result(list.to_owned()),
        _ => Outcome::Refused(-32601, "no such method"),
    };
    match outcome {
        Outcome::Result(result) => write_message(output, id.get(), "result", &result),
        Outcome::Refused(code, text) => {
            write_message(output, id.get(), "error", &format!(r#"{{"code":{code},"message":"{text}"}}"#))
        }
        Outcome::Silence => Ok(()),
    }
}

fn write_message(output: &mut impl Write, id: &str, member: &str, value: &str) -> io::Result<()> {
    for part in [r#"{"jsonrpc":"2.0","id":"#, id, r#",""#, member, r#"":"#, value, "}\n"] {
        output.write_all(part.as_bytes())?;
    }
    Ok(())
}

fn initialize(params: &str) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Params<'a> {
        #[serde(borrow)]
        protocol_version: &'a str,
    }
    let asked = serde_json::from_str::<Params<'_>>(params).map_or("", |params| params.protocol_version);
    let revision = REVISIONS.into_iter().find(|&known| known == asked).unwrap_or(REVISIONS[REVISIONS.len() - 1]);
    format!(
        r#"{{"protocolVersion":"{revision}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"bench-echo","version":"1"}}}}"#
    )
}

fn call(params: &str) -> Outcome {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        name: &'a str,
        #[serde(borrow)]
        arguments: Arguments<'a>,
    }
    #[derive(Deserialize)]
    struct Arguments<'a> {
        #[serde(borrow)]
        text: Option<&'a RawValue>,
        bytes: Option<usize>,
    }
    let Ok(Params { name, arguments }) = serde_json::from_str(params) else {
        return Outcome::Refused(-32602, "params need name and arguments");
    };
    match (name, arguments) {
        ("echo", Arguments { text: Some(text), .. }) => Outcome::Result(text_result(text.get())),
        ("blob", Arguments { bytes: Some(bytes), .. }) => {
            Outcome::Result(text_result(&format!("\"{}\"", "x".repeat(bytes))))
        }
        ("stall", _) => Outcome::Silence,
        _ => Outcome::Refused(-32602, "no such tool, or its argument is missing"),
    }
}

/// A result whose only content is `text`, which is JSON already.
fn text_result(text: &str) -> String {
    [r#"{"content":[{"type":"text","text":"#, text, "}]}"].concat()
}

/// The three tools and fillers of the size that tools of real servers have.
fn tool_list(tools: u16) -> String {
    let mut list = String::from(r#"{"tools":["#);
    let mut push = |name: &str, property: &str, kind: &str| {
        let comma = if list.ends_with('[') { "" } else { "," };
        write!(
            list,
            r#"{comma}{{"name":"{name}","description":"Returns what it was asked for, at once and unchanged, so that only the way there and back is measured.","inputSchema":{{"type":"object","properties":{{"{property}":{{"type":"{kind}","description":"What to return"}}}},"required":["{property}"]}}}}"#
        )
        .expect("a String takes every write");
    };
    push("echo", "text", "string");
    push("blob", "bytes", "integer");
    push("stall", "text", "string");
    for number in TOOLS..tools {
        push(&format!("tool_{number:03}"), "text", "string");
    }
    list.push_str("]}");
    list
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn talk(lines: &str, tools: u16) -> Vec<Value> {
        let mut output = Vec::new();
        serve(BufReader::new(lines.as_bytes()), BufWriter::new(&mut output), tools).unwrap();
        output
            .split(|&b| b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[test]
    fn ids_of_every_json_form_come_back_as_written() {
        for id in ["1", "\"a\\u0041\"", "1.0", "18446744073709551616", "-0"] {
            let mut output = Vec::new();
            let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}\n");
            serve(BufReader::new(line.as_bytes()), BufWriter::new(&mut output), TOOLS).unwrap();
            assert_eq!(
                String::from_utf8(output).unwrap(),
                format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n")
            );
        }
    }

    #[test]
    fn known_revisions_are_taken_and_unknown_ones_answered_with_the_newest() {
        for (asked, given) in [("2024-11-05", "2024-11-05"), ("2025-06-18", "2025-06-18"), ("1999-01-01", "2025-11-25")]
        {
            let line =
                json!({"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":asked}}).to_string();
            assert_eq!(talk(&line, TOOLS)[0]["result"]["protocolVersion"], given);
        }
    }

    #[test]
    fn echo_returns_its_text_and_blob_as_many_bytes_as_asked() {
        let lines = [
            json!({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"a\n\"b"}}}).to_string(),
            json!({"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"blob","arguments":{"bytes":9}}}).to_string(),
            json!({"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"none","arguments":{}}}).to_string(),
        ];
        let answers = talk(&lines.join("\n"), TOOLS);
        assert_eq!(answers[0]["result"]["content"][0]["text"], "a\n\"b");
        assert_eq!(answers[1]["result"]["content"][0]["text"], "xxxxxxxxx");
        assert_eq!(answers[2]["error"]["code"], -32602);
    }

    #[test]
    fn a_stalled_call_holds_up_no_other() {
        let lines = [
            json!({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"stall","arguments":{}}}).to_string(),
            json!({"jsonrpc":"2.0","id":2,"method":"ping"}).to_string(),
        ];
        let answers = talk(&lines.join("\n"), TOOLS);
        assert_eq!(answers, [json!({"jsonrpc":"2.0","id":2,"result":{}})]);
    }

    #[test]
    fn notifications_are_ignored_and_junk_is_an_error() {
        let answers = talk("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\njunk\n", TOOLS);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0]["error"]["code"], -32700);
    }

    #[test]
    fn tools_list_names_as_many_tools_as_configured() {
        let answers = talk(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, 40);
        assert_eq!(answers[0]["result"]["tools"].as_array().unwrap().len(), 40);
    }
}
