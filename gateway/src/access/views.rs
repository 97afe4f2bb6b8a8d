//! What each account sees among all servers together: the servers of the namespaces where it may call.
//!
//! Every request says it anew ([`Views::set`]), and sessions follow it ([`Views::follow`]). Between requests it is kept in
//! step with what the account may, so that whoever only listens loses what was taken away.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::keys::{Account, Principal, PrincipalHash};

/// How long an account is remembered that has no session: its next request may open one.
const KEPT: Duration = Duration::from_secs(60);

/// The servers that somebody sees among those that are offered together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// Each of them.
    All,
    /// Those of these namespaces.
    Of(BTreeSet<Arc<str>>),
}

impl View {
    /// None of them.
    pub fn nothing() -> Self {
        Self::Of(BTreeSet::new())
    }

    /// Whether the servers of a namespace are among them.
    pub fn shows(&self, namespace: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Of(namespaces) => namespace.is_some_and(|it| namespaces.contains(it)),
        }
    }

    /// Whether the servers of all these namespaces are.
    pub fn shows_all(&self, namespaces: &BTreeSet<Arc<str>>) -> bool {
        match self {
            Self::All => true,
            Self::Of(shown) => namespaces.is_subset(shown),
        }
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Views(Mutex<HashMap<PrincipalHash, Viewer>>);

/// One account's view is its own, whatever others see.
#[derive(Debug)]
struct Viewer {
    account: Arc<Account>,
    seen: Instant,
    view: watch::Sender<Arc<View>>,
}

impl Views {
    /// What an account sees as of now; `now` is when it asked.
    pub(super) fn set(&self, account: &Arc<Account>, view: View, now: Instant) {
        let principal = Principal::Account(Arc::clone(account)).hash();
        let mut all = self.lock();
        let viewer = all.entry(principal).or_insert_with(|| Viewer {
            account: Arc::clone(account),
            seen: now,
            view: watch::Sender::new(Arc::new(View::nothing())),
        });
        (viewer.account, viewer.seen) = (Arc::clone(account), now);
        viewer.show(view);
    }

    /// Corrects the view of an account that may see something else now.
    pub(super) fn correct(&self, account: &Arc<Account>, view: View) {
        let principal = Principal::Account(Arc::clone(account)).hash();
        if let Some(viewer) = self.lock().get(&principal).filter(|it| it.account == *account) {
            viewer.show(view);
        }
    }

    /// Follows what a principal sees, if it is an account that was here.
    pub(super) fn follow(&self, principal: PrincipalHash) -> Option<watch::Receiver<Arc<View>>> {
        Some(self.lock().get(&principal)?.view.subscribe())
    }

    /// The accounts whose sessions follow, or that were here a moment ago; the others are forgotten.
    pub(super) fn accounts(&self, now: Instant) -> Vec<Arc<Account>> {
        let mut all = self.lock();
        all.retain(|_, viewer| viewer.view.receiver_count() > 0 || now.duration_since(viewer.seen) < KEPT);
        all.values().map(|viewer| Arc::clone(&viewer.account)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PrincipalHash, Viewer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Viewer {
    fn show(&self, view: View) {
        self.view.send_if_modified(|shown| {
            let differs = **shown != view;
            if differs {
                *shown = Arc::new(view);
            }
            differs
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, group: &str) -> Arc<Account> {
        Arc::new(Account { name: name.into(), groups: vec![group.into()], ..Account::default() })
    }

    fn of(namespaces: &[&str]) -> View {
        View::Of(namespaces.iter().map(|it| (*it).into()).collect())
    }

    fn hash(account: &Arc<Account>) -> PrincipalHash {
        Principal::Account(Arc::clone(account)).hash()
    }

    #[test]
    fn a_view_shows_its_namespaces_and_no_others() {
        let view = of(&["a", "b"]);
        assert_eq!([Some("a"), Some("c"), None].map(|it| view.shows(it)), [true, false, false]);
        let all = |names: &[&str]| names.iter().map(|it| Arc::from(*it)).collect::<BTreeSet<Arc<str>>>();
        assert!(view.shows_all(&all(&["a"])) && view.shows_all(&all(&[])) && !view.shows_all(&all(&["a", "c"])));
        assert!(View::All.shows(None) && View::All.shows_all(&all(&["c"])));
    }

    #[test]
    fn each_account_has_a_view_of_its_own_and_sessions_follow_it() {
        let (views, now) = (Views::default(), Instant::now());
        let (one, other) = (account("one", "g"), account("other", "g"));
        views.set(&one, of(&["a"]), now);
        views.set(&other, of(&["b"]), now);
        let mut followed = views.follow(hash(&one)).unwrap();
        assert_eq!(**followed.borrow(), of(&["a"]));
        assert_eq!(**views.follow(hash(&other)).unwrap().borrow(), of(&["b"]));
        views.set(&one, of(&["a"]), now);
        views.set(&other, of(&["a", "b"]), now);
        assert!(!followed.has_changed().unwrap(), "nothing changed for this one");
        views.correct(&one, View::nothing());
        assert_eq!(**followed.borrow_and_update(), View::nothing());
        assert!(views.follow(hash(&account("nobody", "g"))).is_none());
    }

    #[test]
    fn what_an_account_was_allowed_in_other_groups_corrects_nothing() {
        let views = Views::default();
        let (before, after) = (account("one", "admins"), account("one", "users"));
        views.set(&before, of(&["a", "b"]), Instant::now());
        views.set(&after, of(&["a"]), Instant::now());
        views.correct(&before, of(&["a", "b"]));
        assert_eq!(**views.follow(hash(&after)).unwrap().borrow(), of(&["a"]));
    }

    #[test]
    fn an_account_is_forgotten_when_it_is_gone_for_a_while() {
        let (views, start) = (Views::default(), Instant::now());
        let (listens, gone) = (account("listens", "g"), account("gone", "g"));
        views.set(&listens, of(&["a"]), start);
        views.set(&gone, of(&["a"]), start);
        let _session = views.follow(hash(&listens)).unwrap();
        assert_eq!(views.accounts(start).len(), 2);
        assert_eq!(views.accounts(start + 2 * KEPT), [listens]);
    }
}
