//! Leaving members of an object out without writing the rest anew.

use std::ops::Range;

use smallvec::SmallVec;

use super::{Object, span};

/// Where the members `keys` of the `object`, which was parsed from `json`, stand in that, each with the comma that goes
/// with it.
pub(crate) fn places(json: &str, object: &Object<'_>, keys: &[&str]) -> SmallVec<[Range<usize>; 4]> {
    let mut found = SmallVec::new();
    let mut start = json.find('{').map_or(0, |brace| brace + 1);
    let (mut last_end, mut any_kept) = (start, false);
    for (key, value) in object.iter() {
        let end = span(json, value).end;
        let next = json[end..].find(',').map_or(end, |comma| end + comma + 1);
        match (keys.contains(&key), any_kept) {
            (true, true) => found.push(last_end..end),
            (true, false) => found.push(start..next),
            (false, _) => any_kept = true,
        }
        (start, last_end) = (next, end);
    }
    found
}

/// The object without these members; `None` when it is none that can be taken apart.
pub fn without(json: &str, keys: &[&str]) -> Option<String> {
    let object = Object::parse(json).ok()?;
    let kept = object.iter().filter(|(key, _)| !keys.contains(key));
    let kept: Vec<_> = kept.map(|(key, value)| format!("{}:{value}", super::quote(key))).collect();
    Some(format!("{{{}}}", kept.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(json: &str, keys: &[&str]) -> String {
        let mut left = json.to_owned();
        for place in places(json, &Object::parse(json).unwrap(), keys).into_iter().rev() {
            left.replace_range(place, "");
        }
        left
    }

    #[test]
    fn what_is_left_is_the_object_without_its_members_and_every_other_byte() {
        for (json, expected) in [
            (r#"{ "a":1, "b" : 2.0 ,"c":[1,2] }"#, r#"{ "a":1, "b" : 2.0 ,"c":[1,2] }"#),
            (r#"{"x":1, "a":{"x":1} }"#, r#"{ "a":{"x":1} }"#),
            (r#"{"a":1 ,"x":",}" }"#, r#"{"a":1 }"#),
            (r#"{"x":1,"y":2,"a":1,"x2":3}"#, r#"{"a":1,"x2":3}"#),
            (r#"{"a":1,"y":2,"x":2,"b":3}"#, r#"{"a":1,"b":3}"#),
            (r#"{"y":[],"x":{}}"#, "{}"),
            (r#"{"\u0078":1,"b":2}"#, r#"{"b":2}"#),
            ("{}", "{}"),
        ] {
            assert_eq!(left(json, &["x", "y"]), expected, "{json}");
        }
    }
}
