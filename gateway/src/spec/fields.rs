//! Reads the members of an object, gathers every problem instead of the first, and names what nobody asked for.

use super::{
    DurationError,
    node::{Member, Node, Position, Problem, Value},
};

/// What is wrong with one value: where, in which part of it (`[1]`, `.KEY`, or nothing), and how it must be.
pub(crate) struct Fault {
    at: Position,
    part: String,
    must: String,
}

impl Fault {
    /// `must` continues the field's name: "must be a string, not a number".
    pub(crate) fn new(node: &Node, must: impl Into<String>) -> Self {
        Self { at: node.at, part: String::new(), must: must.into() }
    }

    fn within(self, part: &str) -> Self {
        Self { part: format!("{part}{}", self.part), ..self }
    }
}

/// The verdict on a member that the reader does not know.
pub(crate) enum Unknown {
    /// Refused; the nearest known name is suggested.
    Refused,
    /// Refused for a reason worth telling.
    Because(&'static str),
    /// Accepted without effect; the caller is told why.
    Ignored(&'static str),
}

/// What reading a document brought up besides its value.
#[derive(Default)]
pub(crate) struct Report {
    /// What makes the document unusable.
    pub(crate) problems: Vec<Problem>,
    /// What was accepted without effect.
    pub(crate) warnings: Vec<String>,
}

/// The members of one object while they are read.
///
/// The names it is asked for are the names it knows, so that suggestions need no second list.
pub(crate) struct Fields<'a> {
    prefix: String,
    members: &'a [Member],
    known: Vec<&'static str>,
    judge: fn(&str) -> Unknown,
    report: &'a mut Report,
}

impl<'a> Fields<'a> {
    /// Reads `node`, which must be an object, with `read`; then has `judge` decide on each member that was not asked
    /// for, by its full name (`process.mode`).
    pub(crate) fn of<T>(
        node: &'a Node,
        judge: fn(&str) -> Unknown,
        report: &'a mut Report,
        read: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        Self::nested(node, String::new(), judge, report, read)
    }

    fn nested<T>(
        node: &'a Node,
        prefix: String,
        judge: fn(&str) -> Unknown,
        report: &'a mut Report,
        read: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        if let Value::Map(members) = &node.value {
            let mut fields = Self { prefix, members, known: Vec::new(), judge, report };
            let value = read(&mut fields);
            fields.finish();
            return Some(value);
        }
        let what = if prefix.is_empty() { "it".to_owned() } else { format!("`{}`", prefix.trim_end_matches('.')) };
        report.problems.push(Problem::new(node.at, format!("{what} must be an object, not {}", node.value)));
        None
    }

    /// The member of that name.
    pub(crate) fn member(&mut self, name: &'static str) -> Option<&'a Member> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.members.iter().find(|member| member.name == name)
    }

    /// The value of a member; a fault is noted and counts as absent.
    pub(crate) fn take<T>(&mut self, name: &'static str, read: impl FnOnce(&'a Node) -> Result<T, Fault>) -> Option<T> {
        let node = &self.member(name)?.value;
        let fault = match read(node) {
            Ok(value) => return Some(value),
            Err(fault) => fault,
        };
        self.problem(fault.at, format!("`{}{name}{}` {}", self.prefix, fault.part, fault.must));
        None
    }

    /// What `read` makes of the members of a nested object.
    pub(crate) fn section<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Fields<'_>) -> T) -> Option<T> {
        let node = &self.member(name)?.value;
        Fields::nested(node, format!("{}{name}.", self.prefix), self.judge, self.report, read)
    }

    /// Notes a problem that is not of a single value.
    pub(crate) fn problem(&mut self, at: Position, text: impl Into<String>) {
        self.report.problems.push(Problem::new(at, text));
    }

    fn finish(self) {
        for member in self.members.iter().filter(|member| !self.known.contains(&member.name.as_str())) {
            let name = format!("{}{}", self.prefix, member.name);
            let text = match (self.judge)(&name) {
                Unknown::Ignored(why) => {
                    self.report.warnings.push(format!("`{name}` is ignored: {why}"));
                    continue;
                }
                Unknown::Because(reason) => format!("`{name}` is not supported: {reason}"),
                Unknown::Refused => match nearest(&member.name, &self.known) {
                    Some(known) => format!("unknown field `{name}`: did you mean `{}{known}`?", self.prefix),
                    None => format!("unknown field `{name}`: known are {}", self.known.join(", ")),
                },
            };
            self.report.problems.push(Problem::new(member.at, text));
        }
    }
}

/// The text of a string.
pub(crate) fn text(node: &Node) -> Result<&str, Fault> {
    match &node.value {
        Value::Text(text) => Ok(text),
        other => Err(Fault::new(node, format!("must be a string, not {other}"))),
    }
}

/// A boolean.
pub(crate) fn boolean(node: &Node) -> Result<bool, Fault> {
    match &node.value {
        Value::Bool(value) => Ok(*value),
        other => Err(Fault::new(node, format!("must be true or false, not {other}"))),
    }
}

/// A whole number of at least `least`.
pub(crate) fn whole<T>(least: T) -> impl FnOnce(&Node) -> Result<T, Fault>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    move |node| {
        let number = if let Value::Number(text) = &node.value { text.parse::<T>().ok() } else { None };
        number
            .filter(|number| *number >= least)
            .ok_or_else(|| Fault::new(node, format!("must be a whole number of at least {least}")))
    }
}

/// A length of time above zero, such as `90s`.
pub(crate) fn duration(node: &Node) -> Result<std::time::Duration, Fault> {
    let duration = if let Value::Text(text) = &node.value { super::parse_duration(text) } else { Err(DurationError) };
    duration.map_err(|error| Fault::new(node, error.to_string()))
}

/// An array whose elements `read` accepts.
pub(crate) fn list<'a, T>(
    read: impl Fn(&'a Node) -> Result<T, Fault>,
) -> impl FnOnce(&'a Node) -> Result<Vec<T>, Fault> {
    move |node| {
        let Value::List(nodes) = &node.value else {
            return Err(Fault::new(node, format!("must be an array of strings, not {}", node.value)));
        };
        let read = |(index, node)| read(node).map_err(|fault| fault.within(&format!("[{index}]")));
        nodes.iter().enumerate().map(read).collect()
    }
}

/// An object whose members `read` accepts, name and value.
pub(crate) fn map<'a, T>(
    read: impl Fn(&'a str, &'a Node) -> Result<T, Fault>,
) -> impl FnOnce(&'a Node) -> Result<std::collections::BTreeMap<String, T>, Fault> {
    move |node| {
        let Value::Map(members) = &node.value else {
            return Err(Fault::new(node, format!("must be an object of strings, not {}", node.value)));
        };
        let read = |member: &'a Member| {
            let value =
                read(&member.name, &member.value).map_err(|fault| fault.within(&format!(".{}", member.name)))?;
            Ok((member.name.clone(), value))
        };
        members.iter().map(read).collect()
    }
}

/// The known name somebody probably meant: equal but for case and separators, or at most two typing errors away.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |text: &str| -> Vec<char> {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(64).collect()
    };
    let wanted = plain(name);
    known
        .iter()
        .map(|known| (distance(&wanted, &plain(known)), *known))
        .filter(|(distance, known)| *distance <= 2 && *distance * 2 < known.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Levenshtein distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
