//! What is answered for all servers together.

use bytes::Bytes;
use mcp::cursor::CursorError;
use mcp::json;
use mcp::modern::meta;
use mcp::version::Version;

use super::super::catalogue::{Kind, Merged};
use super::super::offered::{Extra, capabilities};

/// What an answer begins with: how long it may be kept, and that it is for nobody else, as clients see different servers
/// and are offered different things ("Caching").
fn hints(lists: &Merged) -> String {
    format!(r#""resultType":"complete","ttlMs":{},"cacheScope":"private","#, lists.ttl_ms)
}

/// The result of `server/discover`.
pub(super) fn discover(lists: &Merged) -> String {
    let instructions = match lists.instructions.trim_end() {
        "" => String::new(),
        text => format!(r#","instructions":{}"#, json::quote(text)),
    };
    format!(
        r#"{{{}"supportedVersions":["{}"],"capabilities":{}{instructions},"_meta":{{"{}":{{"name":"mcp-gateway","version":"{}"}}}}}}"#,
        hints(lists),
        Version::V2026_07_28,
        capabilities(|extra| extra != Extra::TaskCalls && lists.extras.contains(&extra)),
        meta::SERVER_INFO,
        env!("CARGO_PKG_VERSION"),
    )
}

/// A page of a list, as the pieces of a result.
pub(super) fn page(lists: &Merged, kind: Kind, cursor: Option<&str>) -> Result<[Bytes; 3], CursorError> {
    let [head, items, rest] = lists.page(kind, cursor, &hints(lists))?;
    let items = match kind {
        Kind::Tools => plain_tools(items),
        Kind::Prompts | Kind::Resources | Kind::Templates => items,
    };
    Ok([head, items, rest])
}

/// The tools, with commas between them, without what some say of tasks of 2025-11-25.
fn plain_tools(items: Bytes) -> Bytes {
    if memchr::memmem::find(&items, b"\"execution\"").is_none() {
        return items;
    }
    let list = format!("[{}]", String::from_utf8_lossy(&items));
    let tools: Vec<_> = json::elements(&list).unwrap_or_default().into_iter().map(plain_tool).collect();
    tools.join(",").into()
}

fn plain_tool(tool: &str) -> String {
    json::without(tool, &["execution"]).unwrap_or_else(|| tool.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_tells_of_this_revision_alone() {
        let lists = Merged { instructions: "# a\n\nuse \"a\"\n\n".to_owned(), ..Merged::default() };
        let found: serde_json::Value = serde_json::from_str(&discover(&lists)).unwrap();
        assert_eq!(found["supportedVersions"], serde_json::json!(["2026-07-28"]));
        assert_eq!(found["instructions"], "# a\n\nuse \"a\"");
        assert_eq!(found["_meta"][meta::SERVER_INFO]["name"], "mcp-gateway");
        assert!(!discover(&Merged::default()).contains("instructions"));
    }

    #[test]
    fn a_list_says_how_long_it_holds_and_nothing_of_tasks() {
        for ttl_ms in [0, 5000] {
            let lists = Merged { ttl_ms, ..Merged::default() };
            let text = String::from_utf8(page(&lists, Kind::Tools, Some("")).unwrap().concat()).unwrap();
            let hints = format!(r#""ttlMs":{ttl_ms},"cacheScope":"private""#);
            assert_eq!(text, format!(r#"{{"resultType":"complete",{hints},"tools":[]}}"#));
        }
        let tools = r#"{"name":"a","execution":{"taskSupport":"optional"},"x":1e2},{"name":"b","x":"\"execution\""}"#;
        let plain = r#"{"name":"a","x":1e2},{"name":"b","x":"\"execution\""}"#;
        assert_eq!(plain_tools(Bytes::from_static(tools.as_bytes())), plain);
        assert!(page(&Merged::default(), Kind::Tools, Some("stale")).is_err());
    }
}
