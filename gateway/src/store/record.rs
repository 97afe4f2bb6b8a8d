//! What is stored of one server.

use serde::Serialize;

use super::{Timestamp, Uid};
use crate::spec::{
    Author, ServerSpec,
    fields::{Fault, Fields, Report, Unknown, text},
    node::{Node, read_json},
    read_entry,
};

/// A deployed server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// What it is to be.
    pub spec: ServerSpec,
    /// When the name was first deployed.
    pub created_at: Timestamp,
    /// The server's identity: a name that is removed and deployed again gets a new one.
    pub uid: Uid,
}

impl Record {
    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("strings, numbers and maps with string keys serialize");
        json.push(b'\n');
        json
    }

    /// Reads what [`Record::to_json`] of this or a later release wrote; fields of a later release are passed over.
    pub(super) fn from_json(json: &str) -> Result<Self, String> {
        let root = read_json(json, usize::MAX).map_err(|problem| problem.to_string())?;
        let mut report = Report::default();
        let later = |_: &str| Unknown::Ignored("it is of a later release");
        let record = Fields::of(&root, later, &mut report, |fields| {
            let spec = fields.member("spec").and_then(|member| {
                let read = read_entry(&member.value, Author::Gateway);
                read.map_err(|error| error.problems.into_iter().for_each(|it| fields.problem(it.at, it.text))).ok()
            });
            let (created_at, uid) = (fields.take("createdAt", parsed), fields.take("uid", parsed));
            Some(Self { spec: spec?.0, created_at: created_at?, uid: uid? })
        });
        match (report.problems.first(), record.flatten()) {
            (Some(problem), _) => Err(problem.to_string()),
            (None, record) => record.ok_or_else(|| "it needs `spec`, `createdAt` and `uid`".to_owned()),
        }
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(node: &Node) -> Result<T, Fault> {
    text(node)?.parse().map_err(|error: T::Err| Fault::new(node, format!("is {error}")))
}
