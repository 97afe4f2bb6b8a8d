//! The merged lists for clients that do not see every server. A request that stands alone keeps nothing for the next one,
//! which most often asks for the same.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::catalogue::Merged;
use super::sight::Sight;
use crate::access::View;
use crate::routes::Routes;

/// So many are kept.
const MAX_KEPT: usize = 64;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    view: Arc<View>,
    /// What it was part of.
    common: Arc<Merged>,
    merged: Arc<Merged>,
}

impl Shown {
    /// The lists for a client with this sight.
    pub(super) fn lists(&self, sight: &Sight, routes: &Routes) -> Arc<Merged> {
        let (view, common) = (sight.view(), sight.common());
        if view.shows_all(&common.namespaces) {
            return common;
        }
        if let Some(merged) = self.known(&view, &common) {
            return merged;
        }
        let better = |route: &crate::routes::Route| sight.better(route.name.as_str());
        let merged = Arc::new(Merged::build(&routes.now(), &view, better, &Merged::default()));
        self.keep(Kept { view, common, merged: Arc::clone(&merged) });
        merged
    }

    fn known(&self, view: &View, common: &Arc<Merged>) -> Option<Arc<Merged>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().find(|it| *it.view == *view && Arc::ptr_eq(&it.common, common))?;
        Some(Arc::clone(&found.merged))
    }

    fn keep(&self, new: Kept) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody else holds any more has been replaced.
        all.retain(|it| Arc::strong_count(&it.common) > 1);
        if all.len() >= MAX_KEPT {
            all.pop_front();
        }
        all.push_back(new);
    }
}
