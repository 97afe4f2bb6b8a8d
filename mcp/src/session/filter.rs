//! Which tools of a server its clients may see and call.

use crate::envelope::Message;
use crate::json::{self, Edit};

/// `tools.allow` and `tools.deny`: names in which `*` stands for any run of characters. A tool passes when it matches
/// some allowed pattern, or none are given, and no denied one. One rule for lists and for calls.
#[derive(Clone, Debug, Default)]
pub struct ToolFilter {
    allow: Vec<String>,
    deny: Vec<String>,
}

impl ToolFilter {
    /// A filter from the two lists of patterns.
    pub fn new(allow: Vec<String>, deny: Vec<String>) -> Self {
        Self { allow, deny }
    }

    /// Whether every tool passes.
    pub fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Whether the tool `name` may be seen and called.
    pub fn passes(&self, name: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, name));
        (self.allow.is_empty() || any(&self.allow)) && !any(&self.deny)
    }

    /// What makes of an answer to `tools/list` one with only the tools that pass; everything else in it stays as it was.
    pub fn list(&self, answer: &Message) -> Option<Edit> {
        let passes = |tool: &str| Some(self.passes(&json::lookup(tool, &["name"]).and_then(json::string)?));
        keep(answer, "tools", |tool| passes(tool) == Some(true))
    }
}

/// What makes of an answer one with only some elements of the array `list`; everything else in it stays as it was.
pub(super) fn keep(answer: &Message, list: &str, keep: impl Fn(&str) -> bool) -> Option<Edit> {
    let list = answer.at(&[list])?;
    let kept: Vec<_> = json::elements(list)?.into_iter().filter(|element| keep(element)).collect();
    Some(answer.edit(list, format!("[{}]", kept.join(","))))
}

/// Whether `name` fits `pattern`, in which `*` stands for any run of characters. What stands between two `*` is looked
/// for once, from where the part before it ended: the first place is as good as any later one.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inner = name.strip_prefix(head).and_then(|name| name.strip_suffix(tail));
    let Some(mut inner) = inner.map(str::as_bytes) else { return false };
    for part in middle.split('*') {
        let Some(at) = memchr::memmem::find(inner, part.as_bytes()) else { return false };
        inner = &inner[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::RequestId;

    fn filter(allow: &[&str], deny: &[&str]) -> ToolFilter {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        ToolFilter::new(owned(allow), owned(deny))
    }

    #[test]
    fn deny_wins_over_allow_and_no_allow_means_all() {
        assert!(filter(&[], &[]).passes("x"));
        assert!(filter(&["get_*"], &[]).passes("get_a"));
        assert!(!filter(&["get_*"], &[]).passes("set_a"));
        assert!(!filter(&["*"], &["*secret*"]).passes("my_secret_tool"));
    }

    #[test]
    fn a_star_is_any_run_of_characters_wherever_it_stands() {
        for (pattern, name, fits) in [
            ("", "", true),
            ("*", "", true),
            ("a*b", "ab", true),
            ("a*b", "aXbXb", true),
            ("ab*ba", "aba", false),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "cba", false),
            ("*aab*", "aaab", true),
            ("**é*", "né", true),
            ("a**", "b", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_long_name_costs_no_more_than_its_length() {
        // Trying every place for every star would take years.
        let name = "ab".repeat(50_000);
        assert!(!filter(&["*a*b*a*b*a*b*a*b*c*"], &[]).passes(&name));
        assert!(filter(&["*a*b*a*b*a*b*a*b*"], &[]).passes(&name));
    }

    #[test]
    fn a_list_loses_only_what_does_not_pass() {
        let result = r#"{"x":1.0,"tools":[{"name":"a","v":[1]},{"title":"none"},{"name":"b"}],"nextCursor":"c"}"#;
        let answer = Message::result(&RequestId::from(1), result);
        let kept = answer.with(filter(&[], &["b"]).list(&answer)).into_bytes();
        let expected =
            br#"{"jsonrpc":"2.0","id":1,"result":{"x":1.0,"tools":[{"name":"a","v":[1]}],"nextCursor":"c"}}"#;
        assert_eq!(kept, &expected[..]);
    }
}
