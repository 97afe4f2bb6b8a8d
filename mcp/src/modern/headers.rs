//! The headers that a request is sent with (2026-07-28, Streamable HTTP, "Standard Request Headers").

use super::check::named_by;
use super::meta;
use crate::envelope::Message;
use crate::header::{self, MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION};

/// What the headers of `request` repeat of its body: names in lower case, and values as they are sent. Headers for
/// arguments of tools ([`super::mirrored`]) are not among them.
pub fn of(request: &Message) -> Vec<(&'static str, String)> {
    let version = request.str_at(&["_meta", meta::PROTOCOL_VERSION]).map(std::borrow::Cow::into_owned);
    let name = named_by(request.method()).and_then(|key| request.str_at(&[key]));
    let name = name.map(|name| header::encode(&name).into_owned());
    let all = [(MCP_PROTOCOL_VERSION, version), (MCP_METHOD, Some(request.method().to_owned())), (MCP_NAME, name)];
    all.into_iter().filter_map(|(header, value)| Some((header, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::RequestId;
    use crate::modern::check::{Field, check};
    use crate::modern::probe::own_meta;

    #[test]
    fn a_request_that_is_sent_with_them_says_of_itself_what_it_must() {
        for (method, params, name) in [
            ("tools/call", r#""name":"t","#, Some("t")),
            ("prompts/get", r#""name":"\u00e9","#, Some("=?base64?w6k=?=")),
            ("resources/read", r#""uri":"file:///x","name":"y","#, Some("file:///x")),
            ("tasks/get", r#""taskId":" 7","#, Some("=?base64?IDc=?=")),
            ("tools/list", r#""name":"t","#, None),
            ("tools/call", "", None),
        ] {
            let params = format!(r#"{{{params}"_meta":{}}}"#, own_meta("{}"));
            let request = Message::call(Some(&RequestId::from(1)), method, Some(&params));
            let headers = of(&request);
            let found = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
            assert_eq!(found(MCP_NAME), name, "{method} {params}");
            assert_eq!(check(&request, |name| found(name).map_or(Field::Absent, Field::One)), Ok(()), "{method}");
        }
    }
}
