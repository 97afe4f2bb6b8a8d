//! The child behind every target: a stdio MCP server in straight-line, synchronous code.
//!
//! It answers in order and writes when no further line waits, so that what is measured is the bridge in front of it.

use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::envelope::Envelope;
pub use crate::era::Era;
use crate::era::{LEGACY, MODERN};

mod tools;

/// The revisions with an `initialize`; any other request is answered with the newest of them.
const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", LEGACY];

/// How many tools there are at least: `echo`, `blob`, `stall`, and one more that depends on the era.
pub const TOOLS: u16 = tools::LEAST;

/// What is asked: the method, and what follows it.
const QUESTION: &str = r#""elicitation/create","params":{"message":"Which name?","requestedSchema":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}}"#;

/// What a request gets.
enum Outcome {
    /// The members of an object.
    Result(String),
    /// An error's code and message.
    Refused(i32, &'static str),
    /// No answer, ever.
    Silence,
    /// The client is asked something, and gets no answer whatever it says.
    Question,
}

/// Serves until the input ends, one era alone.
pub fn serve<R: Read, W: Write>(
    mut input: BufReader<R>,
    mut output: BufWriter<W>,
    tools: u16,
    era: Era,
) -> io::Result<()> {
    let list = tools::list(tools, era);
    let mut line = Vec::new();
    loop {
        if memchr::memchr(b'\n', input.buffer()).is_none() {
            output.flush()?;
        }
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return output.flush();
        }
        answer(&line, (era, &list), &mut output)?;
    }
}

fn answer(line: &[u8], (era, list): (Era, &str), output: &mut impl Write) -> io::Result<()> {
    let Ok(Envelope { id, method, params }) = Envelope::parse(line) else {
        return write_message(output, "null", &[r#""error":{"code":-32700,"message":"not a JSON-RPC message"}"#]);
    };
    let (Some(id), Some(method)) = (id, method) else {
        return Ok(());
    };
    let params = params.map_or("null", RawValue::get);
    let outcome = match (method.get(), era) {
        (r#""tools/call""#, _) => tools::call(params, era),
        (r#""tools/list""#, _) => Outcome::Result(list.to_owned()),
        (r#""initialize""#, Era::Legacy) => Outcome::Result(initialize(params)),
        (r#""ping""#, Era::Legacy) => Outcome::Result(String::new()),
        (r#""server/discover""#, Era::Modern) => Outcome::Result(discover()),
        _ => Outcome::Refused(-32601, "no such method"),
    };
    let kind = match era {
        Era::Legacy => "",
        Era::Modern => r#""resultType":"complete","#,
    };
    match outcome {
        Outcome::Result(members) => write_message(output, id.get(), &[r#""result":{"#, kind, &members, "}"]),
        Outcome::Refused(code, text) => {
            write_message(output, id.get(), &[&format!(r#""error":{{"code":{code},"message":"{text}"}}"#)])
        }
        // Each side's ids are its own.
        Outcome::Question => write_message(output, id.get(), &[r#""method":"#, QUESTION]),
        Outcome::Silence => Ok(()),
    }
}

fn write_message(output: &mut impl Write, id: &str, parts: &[&str]) -> io::Result<()> {
    for part in [r#"{"jsonrpc":"2.0","id":"#, id, ","].iter().chain(parts).chain(&["}\n"]) {
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
    let revision = REVISIONS.into_iter().find(|&known| known == asked).unwrap_or(LEGACY);
    format!(
        r#""protocolVersion":"{revision}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"bench-echo","version":"1"}}"#
    )
}

fn discover() -> String {
    format!(
        r#""supportedVersions":["{MODERN}"],"capabilities":{{"tools":{{}}}},"ttlMs":3600000,"cacheScope":"public","_meta":{{"io.modelcontextprotocol/serverInfo":{{"name":"bench-echo","version":"1"}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn talk(lines: &str, tools: u16) -> Vec<Value> {
        talk_as(Era::Legacy, lines, tools)
    }

    fn talk_as(era: Era, lines: &str, tools: u16) -> Vec<Value> {
        let mut output = Vec::new();
        serve(BufReader::new(lines.as_bytes()), BufWriter::new(&mut output), tools, era).unwrap();
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
            serve(BufReader::new(line.as_bytes()), BufWriter::new(&mut output), TOOLS, Era::Legacy).unwrap();
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
        for (era, fourth) in [(Era::Legacy, "ask"), (Era::Modern, "tool_003")] {
            let answers = talk_as(era, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, 40);
            let tools = answers[0]["result"]["tools"].as_array().unwrap();
            assert_eq!((tools.len(), &tools[3]["name"]), (40, &json!(fourth)));
        }
    }

    #[test]
    fn a_child_of_the_newer_era_shakes_no_hands_and_takes_calls_that_say_of_themselves_what_they_must() {
        let call = |meta: Value| {
            let params = json!({"name":"echo","arguments":{"text":"a"},"_meta":meta});
            json!({"jsonrpc":"2.0","id":1,"method":"tools/call","params":params}).to_string()
        };
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let lines = [
            json!({"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}).to_string(),
            json!({"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":meta}}).to_string(),
            call(json!({})),
            call(meta),
        ];
        let answers = talk_as(Era::Modern, &lines.join("\n"), TOOLS);
        assert_eq!(answers[0]["error"]["code"], -32601);
        assert_eq!(answers[1]["result"]["supportedVersions"], json!([MODERN]));
        assert_eq!(answers[2]["error"]["code"], -32602);
        assert_eq!(answers[3]["result"], json!({"resultType":"complete","content":[{"type":"text","text":"a"}]}));
    }

    #[test]
    fn ask_asks_and_does_not_answer() {
        let lines = [
            json!({"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"ask","arguments":{"text":""}}})
                .to_string(),
            json!({"jsonrpc":"2.0","id":7,"result":{"action":"cancel"}}).to_string(),
        ];
        let said = talk(&lines.join("\n"), TOOLS);
        assert_eq!((said.len(), &said[0]["method"], &said[0]["id"]), (1, &json!("elicitation/create"), &json!(7)));
    }
}
