//! What can be told of an answer that is too large, or too deep, to be read.

use std::collections::VecDeque;

/// So much of each end is looked at, in bytes.
const END: usize = 256;

/// Both ends of a text of which the middle is thrown away.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    head: Vec<u8>,
    tail: VecDeque<u8>,
}

impl Ends {
    /// The ends of `text`.
    pub fn of(text: &[u8]) -> Self {
        let mut ends = Self::default();
        ends.push(text);
        ends
    }

    /// The text goes on.
    pub fn push(&mut self, more: &[u8]) {
        let missing = END.saturating_sub(self.head.len()).min(more.len());
        self.head.extend_from_slice(&more[..missing]);
        let newest = &more[more.len().saturating_sub(END)..];
        let old = (self.tail.len() + newest.len()).saturating_sub(END);
        self.tail.drain(..old.min(self.tail.len()));
        self.tail.extend(newest);
    }

    /// The request that the text answers, as far as its beginning says so: the number of one of ours. A log line that
    /// quotes an answer is none: the answer itself is still to come.
    pub fn answers_at_head(&self) -> Option<u64> {
        let holds = |part: &[u8]| memchr::memmem::find(&self.head, part).is_some();
        if !self.head.trim_ascii_start().starts_with(b"{") || !holds(b"\"jsonrpc\"") || holds(b"\"method\"") {
            return None;
        }
        let at = memchr::memmem::find(&self.head, b"\"id\"")? + 4;
        let rest = self.head[at..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        number(&rest[..rest.iter().take_while(|byte| byte.is_ascii_digit()).count()])
    }

    /// The same of a text that has ended, as its end says it: many servers write `id` last.
    pub fn answers_at_tail(&self) -> Option<u64> {
        if !self.begins_as_answer() {
            return None;
        }
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        let mut rest = tail.trim_ascii_end().strip_suffix(b"}")?;
        // `id` is the last member, or stands before `jsonrpc`.
        for _ in 0..2 {
            let comma = memchr::memrchr(b',', rest)?;
            let (key, value) = member(&rest[comma + 1..])?;
            match key {
                b"\"id\"" => return number(value),
                b"\"jsonrpc\"" => rest = &rest[..comma],
                _ => return None,
            }
        }
        None
    }

    /// Whether `result` or `error` is its first member, but for `jsonrpc`.
    fn begins_as_answer(&self) -> bool {
        let begins = |text: &[u8]| {
            let text = text.trim_ascii_start();
            text.starts_with(b"\"result\"") || text.starts_with(b"\"error\"")
        };
        let Some(rest) = self.head.trim_ascii_start().strip_prefix(b"{") else { return false };
        let first = || memchr::memchr(b',', rest).and_then(|at| Some((member(&rest[..at])?.0, &rest[at + 1..])));
        begins(rest) || first().is_some_and(|(key, rest)| key == b"\"jsonrpc\"" && begins(rest))
    }
}

/// The parts of `"key": value`.
fn member(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', text)?;
    Some((text[..colon].trim_ascii(), text[colon + 1..].trim_ascii()))
}

fn number(digits: &[u8]) -> Option<u64> {
    // `parse` takes a sign, too.
    let digits = Some(digits).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(text: &str, step: usize) -> (Option<u64>, Option<u64>) {
        let mut ends = Ends::default();
        text.as_bytes().chunks(step).for_each(|chunk| ends.push(chunk));
        assert!(ends.head.len() <= END && ends.tail.len() <= END);
        (ends.answers_at_head(), ends.answers_at_tail())
    }

    #[test]
    fn the_id_of_an_answer_is_found_at_either_end_and_nowhere_else() {
        let long = "x".repeat(2000);
        for (text, expected) in [
            (format!(r#"{{"jsonrpc":"2.0","id":7,"result":"{long}"}}"#), (Some(7), None)),
            (format!(r#"{{"result":"{long}","jsonrpc":"2.0","id":7}}"#), (None, Some(7))),
            (format!("{{\"result\": \"{long}\", \"id\": 7, \"jsonrpc\": \"2.0\" }} \r"), (None, Some(7))),
            (format!(r#"{{"jsonrpc":"2.0","error":{{"message":"{long}"}},"id":7}}"#), (None, Some(7))),
            // What stands inside is not the answer's own.
            (format!(r#"{{"result":{{"x":"{long}","jsonrpc":"2.0","id":7}}}}"#), (None, None)),
            (format!(r#"{{"result":"{long}\",\"jsonrpc\":\"2.0\",\"id\":7}}"#), (None, None)),
            // Requests and notifications are no answers.
            (format!(r#"{{"method":"x","params":"{long}","jsonrpc":"2.0","id":7}}"#), (None, None)),
            (format!(r#"{{"params":"{long}","method":"x","jsonrpc":"2.0","id":7}}"#), (None, None)),
            (format!(r#"{{"jsonrpc":"2.0","method":"x","params":"{long}","id":7}}"#), (None, None)),
            (format!(r#"{{"result":"{long}","jsonrpc":"2.0","id":"7"}}"#), (None, None)),
            (format!(r#"{{"result":"{long}","jsonrpc":"2.0","id":7"#), (None, None)),
            (format!("DEBUG {{\"result\":\"{long}\",\"jsonrpc\":\"2.0\",\"id\":7}}"), (None, None)),
            (long.clone(), (None, None)),
            (String::new(), (None, None)),
        ] {
            for step in [1, 100, 5000] {
                assert_eq!(ends(&text, step), expected, "{step} {text}");
            }
        }
    }
}
