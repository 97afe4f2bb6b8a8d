//! The merged lists for clients that do not see every server, or see something of their own. A request that stands alone
//! keeps nothing for the next one, which most often asks for the same.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use mcp::names::Style;

use super::catalogue::Merged;
use super::modern::own::Own;
use super::sight::Sight;
use crate::access::View;
use crate::routes::Routes;

/// So many are kept.
const MAX_KEPT: usize = 64;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Shown {
    style: Style,
    kept: Mutex<VecDeque<Kept>>,
}

#[derive(Debug)]
struct Kept {
    view: Arc<View>,
    /// What it was part of.
    common: Arc<Merged>,
    own: Option<Arc<Own>>,
    merged: Arc<Merged>,
}

impl Shown {
    /// Nothing yet; names will be of this style.
    pub(super) fn new(style: Style) -> Self {
        Self { style, kept: Mutex::default() }
    }

    /// The lists for a client with this sight.
    pub(super) fn lists(&self, sight: &Sight, routes: &Routes) -> Arc<Merged> {
        let (view, common, own) = (sight.view(), sight.common(), sight.own());
        if own.is_none() && view.shows_all(&common.namespaces) {
            return common;
        }
        if let Some(merged) = self.known(&view, &common, own.as_ref()) {
            return merged;
        }
        let better = |name: &str, _: &crate::routes::Route| {
            own.as_ref().and_then(|own| own.get(name).cloned()).or_else(|| sight.better(name))
        };
        let merged = Arc::new(Merged::build(&routes.now(), (&view, self.style), better, &Merged::default()));
        self.keep(Kept { view, common, own, merged: Arc::clone(&merged) });
        merged
    }

    fn known(&self, view: &View, common: &Arc<Merged>, own: Option<&Arc<Own>>) -> Option<Arc<Merged>> {
        let all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |it: &&Kept| {
            let same_own = it.own.as_ref().map(Arc::as_ptr) == own.map(Arc::as_ptr);
            *it.view == *view && Arc::ptr_eq(&it.common, common) && same_own
        };
        all.iter().find(same).map(|it| Arc::clone(&it.merged))
    }

    fn keep(&self, new: Kept) {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody else holds any more has been replaced.
        all.retain(|it| Arc::strong_count(&it.common) > 1);
        if all.len() >= MAX_KEPT {
            all.pop_front();
        }
        all.push_back(new);
    }
}
