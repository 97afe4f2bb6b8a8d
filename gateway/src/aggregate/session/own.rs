//! What members offer in this session in particular.
//!
//! A process per session may change its lists for that session alone. When a member says so, its lists are read anew
//! over the client's own session, and stand in for what the member offers to everybody.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use mcp::envelope::{Kind, Message, RequestId};
use mcp::json;
use serde_json::value::RawValue;
use wire::status::Catalogue;

use super::super::catalogue::Merged;
use super::Session;
use crate::routes::Route;

/// A list may have this many pages.
pub(in super::super) const MAX_PAGES: usize = 1000;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Own {
    catalogues: HashMap<String, Catalogue>,
    reading: HashMap<RequestId, Reading>,
    next: u64,
    /// The merged lists, where some server's are the session's own, or its client does not see every server. They are
    /// never another session's.
    pub(super) merged: Option<Arc<Merged>>,
    /// The number of the last change that they show.
    pub(super) shows: u64,
}

/// A list that is being read.
#[derive(Debug)]
struct Reading {
    server: String,
    list: &'static List,
    items: Vec<Box<RawValue>>,
    pages: usize,
}

/// One of the lists that servers may change.
#[derive(Debug)]
pub(in super::super) struct List {
    pub(in super::super) method: &'static str,
    pub(in super::super) key: &'static str,
    /// The notification that says so.
    pub(in super::super) changed: &'static str,
    pub(in super::super) items: fn(&mut Catalogue) -> &mut Vec<Box<RawValue>>,
}

pub(in super::super) static LISTS: [List; 4] = [
    List { method: "tools/list", key: "tools", changed: "notifications/tools/list_changed", items: |it| &mut it.tools },
    List {
        method: "prompts/list",
        key: "prompts",
        changed: "notifications/prompts/list_changed",
        items: |it| &mut it.prompts,
    },
    List {
        method: "resources/list",
        key: "resources",
        changed: "notifications/resources/list_changed",
        items: |it| &mut it.resources,
    },
    List {
        method: "resources/templates/list",
        key: "resourceTemplates",
        changed: "notifications/resources/list_changed",
        items: |it| &mut it.resource_templates,
    },
];

impl Own {
    /// Forgets a server.
    pub(super) fn forget(&mut self, server: &str) {
        self.catalogues.remove(server);
        self.reading.retain(|_, reading| reading.server != server);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.catalogues.is_empty()
    }

    fn request(&mut self, reading: Reading, cursor: Option<&str>) -> Option<Message> {
        self.next += 1;
        let id = RequestId::from_raw(Bytes::from(format!(r#""mcp-gateway/list/{}""#, self.next)))?;
        let params = cursor.map_or_else(|| "{}".to_owned(), |cursor| format!(r#"{{"cursor":{cursor}}}"#));
        let message = Message::call(Some(&id), reading.list.method, Some(&params));
        self.reading.insert(id, reading);
        Some(message)
    }
}

impl Session {
    /// A member says that a list has changed: it is read anew.
    pub(super) async fn read_anew(&mut self, server: &str, changed: &str) {
        for list in LISTS.iter().filter(|list| list.changed == changed) {
            let reading = Reading { server: server.to_owned(), list, items: Vec::new(), pages: 0 };
            let request = self.own.request(reading, None);
            self.send_to(server, request).await;
        }
    }

    /// Takes an answer, if it is a page of a list that is being read.
    pub(super) async fn take_page(&mut self, id: &RequestId, message: &Message) -> bool {
        let Some(mut reading) = self.own.reading.remove(id) else { return false };
        if message.kind() == Kind::Error {
            return true;
        }
        let items = message.at(&[reading.list.key]).and_then(json::elements).unwrap_or_default();
        reading.items.extend(items.into_iter().filter_map(|item| RawValue::from_string(item.to_owned()).ok()));
        reading.pages += 1;
        let next = message.at(&["nextCursor"]).filter(|cursor| *cursor != "null" && reading.pages < MAX_PAGES);
        if let Some(cursor) = next {
            let server = reading.server.clone();
            let request = self.own.request(reading, Some(cursor));
            self.send_to(&server, request).await;
        } else {
            self.adopt(reading);
        }
        true
    }

    /// Sends a message to a member, if both are there.
    pub(super) async fn send_to(&mut self, server: &str, message: Option<Message>) {
        if let Some(message) = message {
            // One that has ended is noticed by its silence.
            let _ = self.members.send(server, message).await;
        }
    }

    fn adopt(&mut self, reading: Reading) {
        let Reading { server, list, items, .. } = reading;
        let general = self.general(&server);
        let own = self.own.catalogues.entry(server).or_insert_with(|| general.unwrap_or_default());
        *(list.items)(own) = items;
        self.lists_changed();
    }

    /// What a server offers to clients like this one.
    fn general(&self, server: &str) -> Option<Catalogue> {
        let everybody = || self.aggregate.0.routes.shared(server)?.status.catalogue.clone();
        self.sight.better(server).map(|catalogue| Catalogue::clone(&catalogue)).or_else(everybody)
    }

    /// Merges the lists for this session, where those for everybody will not do.
    pub(super) fn merge_own(&mut self) {
        if self.own.is_empty() && self.view.shows_all(&self.sight.common().namespaces) {
            self.own.merged = None;
            return;
        }
        self.own.shows = self.aggregate.0.routes.latest_change();
        let better = |name: &str, _: &Route| {
            let own = self.own.catalogues.get(name).cloned().map(Arc::new);
            own.or_else(|| self.sight.better(name))
        };
        let old = self.own.merged.clone().unwrap_or_default();
        let shown = (&*self.view, self.aggregate.0.style);
        let merged = Merged::build(&self.aggregate.0.routes.now(), shown, better, &old);
        self.own.merged = Some(Arc::new(merged));
    }
}
