//! Resource URIs of the aggregate.
//!
//! Servers name resources as they like, and links may point at resources that no list mentions, so whose a URI is must
//! stand in the URI itself: `time+file:///x` is `file:///x` of the server `time`. The prefix joins the scheme, which
//! leaves the URI its shape for clients that take it apart. Only `ui://` stays in front, because hosts of MCP Apps look
//! for it: `ui://time+clock/index.html`.
//!
//! A scheme begins with a letter, knows no `_`, and is in lower case or will be (RFC 3986 §3.1), but a server may be
//! called `GitHub`, `my_server` or `7zip`. No name holds `+`, hence in a prefix
//! - `+.` makes the letter before it a capital: `g+.ith+.ub+file:///x`,
//! - `+-` is `_`: `my+-server+file:///x`,
//! - `x+0` stands before a digit that begins the name: `x+07zip+file:///x`,
//! - `+` before anything else ends the prefix, and so does `++`, written where the original begins like one of these.
//!
//! A client that normalizes URIs sends back the original as it would have normalized it without the gateway, or less
//! changed: rules for the hosts and ports of `http` do not apply to `time+http`.

const UI: &str = "ui://";

/// The aggregate's URI for the resource `uri`, or the URI template `uri`, of `server`, a legal server name.
pub fn expose_uri(server: &str, uri: &str) -> String {
    let (scheme, rest) = match uri.strip_prefix(UI) {
        Some(rest) => (UI, rest),
        None => ("", uri),
    };
    let mut exposed = String::with_capacity(uri.len() + server.len() + 8);
    exposed.push_str(scheme);
    push_prefix(&mut exposed, server);
    exposed.push_str(if rest.starts_with(['.', '-', '0', '+']) { "++" } else { "+" });
    exposed.push_str(rest);
    exposed
}

/// The server, one that is `known`, and its own URI for what [`expose_uri`] called `uri`. `None` for any other text.
pub fn resolve_uri(uri: &str, known: impl Fn(&str) -> bool) -> Option<(String, String)> {
    let (scheme, prefixed) = match uri.strip_prefix(UI) {
        Some(prefixed) => (UI, prefixed),
        None => ("", uri),
    };
    let (server, rest) = split_prefix(prefixed)?;
    let original = [scheme, rest].concat();
    // One resource must not have two URIs.
    (known(&server) && expose_uri(&server, &original) == uri).then_some((server, original))
}

fn push_prefix(out: &mut String, server: &str) {
    if server.starts_with(|first: char| first.is_ascii_digit()) {
        out.push_str("x+0");
    }
    for character in server.chars() {
        match character {
            '_' => out.push_str("+-"),
            'A'..='Z' => out.extend([character.to_ascii_lowercase(), '+', '.']),
            _ => out.push(character),
        }
    }
}

fn split_prefix(prefixed: &str) -> Option<(String, &str)> {
    let mut server = String::new();
    let mut rest = prefixed;
    loop {
        let (part, after) = rest.split_once('+')?;
        server.push_str(part);
        match after.bytes().next() {
            Some(b'.') => {
                let letter = server.pop()?;
                server.push(letter.to_ascii_uppercase());
            }
            Some(b'-') => server.push('_'),
            Some(b'0') => server.clear(),
            Some(b'+') => return Some((server, &after[1..])),
            _ => return Some((server, after)),
        }
        rest = &after[1..];
    }
}
