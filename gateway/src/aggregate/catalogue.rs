//! What all servers offer, merged.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use bytes::Bytes;
use mcp::cursor::{CursorError, Page};
use mcp::json;
use mcp::names::{Names, Style, expose_uri};
use serde_json::value::RawValue;
use std::num::NonZeroUsize;
use wire::status::Catalogue;

use super::offered::Extra;
use crate::access::View;
use crate::routes::{Route, RouteTable};
use crate::store::Uid;

/// A list is answered in one piece up to this many items.
const PAGE: NonZeroUsize = NonZeroUsize::new(1000).expect("a thousand is not zero");
/// Under `_meta` of a list: the servers whose items may be out of date, because they do not work now.
pub(super) const UNAVAILABLE: &str = "mcpgateway.dev/unavailable";

/// The lists of all servers at one moment, ready to be sent.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) tools: List,
    pub(super) prompts: List,
    pub(super) resources: List,
    pub(super) templates: List,
    pub(super) tool_names: Names,
    pub(super) prompt_names: Names,
    /// The members, by name.
    pub(super) members: BTreeMap<String, Member>,
    /// The namespaces that they are in.
    pub(super) namespaces: BTreeSet<Arc<str>>,
    /// The members' instructions, under their names.
    pub(super) instructions: String,
    /// What there is beside tools, prompts and resources.
    pub(super) extras: Vec<Extra>,
    /// Whether every member has said what it offers.
    pub(super) complete: bool,
    /// How long the lists hold, in milliseconds; 0 where some server does not say so.
    pub(super) ttl_ms: u64,
    /// Those that do not work now.
    pub(super) unavailable: Vec<String>,
}

/// A server that is one of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) uid: Uid,
    pub(super) namespace: Option<Arc<str>>,
}

/// One list.
#[derive(Debug, Default)]
pub(super) struct List {
    items: Vec<Bytes>,
    /// All items with commas between them.
    joined: Bytes,
    /// A hash of the contents.
    version: u64,
}

/// The four kinds of lists.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl Kind {
    /// The list that a method asks for.
    pub(super) fn of(method: &str) -> Option<Self> {
        match method {
            "tools/list" => Some(Self::Tools),
            "prompts/list" => Some(Self::Prompts),
            "resources/list" => Some(Self::Resources),
            "resources/templates/list" => Some(Self::Templates),
            _ => None,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }
}

impl Merged {
    /// Merges what the servers offer that `view` shows, under names of this style: `better` is asked first for a server's
    /// catalogue, then its status. A list that is as in `old` is taken from there.
    pub(super) fn build(
        table: &RouteTable,
        (view, style): (&View, Style),
        better: impl Fn(&str, &Route) -> Option<Arc<Catalogue>>,
        old: &Self,
    ) -> Self {
        let offered = |route: &Route| route.spec.route.aggregate && !route.spec.suspend;
        let shown = |route: &Route| offered(route) && view.shows(route.namespace.as_deref());
        let servers: Vec<_> = table.shared().filter(|(_, route)| shown(route)).collect();
        let better: Vec<_> = servers.iter().map(|(name, route)| better(name, route)).collect();
        let catalogues: Vec<(&str, &Catalogue)> = servers
            .iter()
            .zip(&better)
            .filter_map(|((name, route), better)| {
                Some((&***name, better.as_deref().or(route.status.catalogue.as_ref())?))
            })
            .collect();
        let names = |items: fn(&Catalogue) -> &Vec<Box<RawValue>>| {
            let owned: Vec<(&str, Vec<String>)> = catalogues
                .iter()
                .map(|(server, it)| (*server, items(it).iter().filter_map(|i| name(i)).collect()))
                .collect();
            Names::build(owned.iter().map(|(server, names)| (*server, names.iter().map(String::as_str))), style)
        };
        let (tool_names, prompt_names) = (names(|it| &it.tools), names(|it| &it.prompts));
        let list =
            |items: fn(&Catalogue) -> &Vec<Box<RawValue>>, expose: &dyn Fn(&str, &str) -> Option<Bytes>, old: &List| {
                let all = catalogues.iter().flat_map(|(server, it)| items(it).iter().map(|item| (*server, item.get())));
                List::new(all.filter_map(|(server, item)| expose(server, item)).collect(), old)
            };
        let renamed = |names: &Names, server: &str, item: &str| {
            replace(item, "name", |name| names.exposed(server, name).map(ToOwned::to_owned))
        };
        let declared: Vec<_> =
            catalogues.iter().filter_map(|(_, it)| it.capabilities.as_deref()).map(RawValue::get).collect();
        let moved =
            |key: &'static str| move |server: &str, item: &str| replace(item, key, |uri| Some(expose_uri(server, uri)));
        Self {
            tools: list(|it| &it.tools, &|server, item| renamed(&tool_names, server, item), &old.tools),
            prompts: list(|it| &it.prompts, &|server, item| renamed(&prompt_names, server, item), &old.prompts),
            resources: list(|it| &it.resources, &moved("uri"), &old.resources),
            templates: list(|it| &it.resource_templates, &moved("uriTemplate"), &old.templates),
            instructions: instructions(&catalogues),
            extras: Extra::of(&declared),
            complete: catalogues.len() == servers.len(),
            ttl_ms: catalogues.iter().map(|(_, it)| it.ttl_ms.unwrap_or(0)).min().unwrap_or(0),
            members: servers.iter().map(|(name, route)| (name.to_string(), Member::of(route))).collect(),
            namespaces: servers.iter().filter_map(|(_, route)| route.namespace.clone()).collect(),
            unavailable: servers.iter().filter(|(_, it)| !it.is_ready()).map(|(name, _)| name.to_string()).collect(),
            tool_names,
            prompt_names,
        }
    }

    /// Whether a client would see a difference.
    pub(super) fn differs(&self, other: &Self) -> bool {
        self.versions() != other.versions() || self.members != other.members
    }

    /// What the three notifications of changed lists are about.
    pub(super) fn versions(&self) -> [u64; 3] {
        [
            self.tools.version,
            self.prompts.version,
            self.resources.version.wrapping_add(self.templates.version.rotate_left(1)),
        ]
    }

    /// A page of a list, as the chunks of a raw result: what it begins with, the items, the rest. `before` are members
    /// that come first, with a comma behind each.
    pub(super) fn page(&self, kind: Kind, cursor: Option<&str>, before: &str) -> Result<[Bytes; 3], CursorError> {
        let list = match kind {
            Kind::Tools => &self.tools,
            Kind::Prompts => &self.prompts,
            Kind::Resources => &self.resources,
            Kind::Templates => &self.templates,
        };
        let page = Page::of(list.items.len(), PAGE, list.version, cursor)?;
        let items = if page.items.len() == list.items.len() {
            list.joined.clone()
        } else {
            list.items[page.items.clone()].join(&b","[..]).into()
        };
        let next = page.next.map(|next| format!(r#","nextCursor":{}"#, json::quote(&next))).unwrap_or_default();
        let meta = if self.unavailable.is_empty() {
            String::new()
        } else {
            let names: Vec<_> = self.unavailable.iter().map(|name| json::quote(name)).collect();
            format!(r#","_meta":{{"{UNAVAILABLE}":[{}]}}"#, names.join(","))
        };
        Ok([format!(r#"{{{before}"{}":["#, kind.key()).into(), items, format!("]{next}{meta}}}").into()])
    }
}

impl Member {
    fn of(route: &Route) -> Self {
        Self { uid: route.uid, namespace: route.namespace.clone() }
    }
}

impl List {
    fn new(items: Vec<Bytes>, old: &Self) -> Self {
        let mut hasher = DefaultHasher::new();
        items.hash(&mut hasher);
        let version = hasher.finish();
        if version == old.version && items == old.items {
            return Self { items: old.items.clone(), joined: old.joined.clone(), version };
        }
        Self { joined: items.join(&b","[..]).into(), items, version }
    }
}

fn name(item: &RawValue) -> Option<String> {
    Some(json::string(json::lookup(item.get(), &["name"])?)?.into_owned())
}

/// The item with the string at `key` replaced; everything else stays as the server wrote it.
fn replace(item: &str, key: &str, with: impl FnOnce(&str) -> Option<String>) -> Option<Bytes> {
    let old = json::lookup(item, &[key])?;
    let new = json::quote(&with(&json::string(old)?)?);
    let range = json::span(item, old);
    Some(format!("{}{new}{}", &item[..range.start], &item[range.end..]).into())
}

fn instructions(catalogues: &[(&str, &Catalogue)]) -> String {
    let given = catalogues.iter().filter_map(|(server, it)| Some((server, it.instructions.as_ref()?)));
    given.flat_map(|(server, text)| ["# ", server, "\n\n", text, "\n\n"]).collect()
}
