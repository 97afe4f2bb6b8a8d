//! Connections for clients of 2026-07-28, where the server is of an older revision.
//!
//! Such a server may keep things between two requests, so that each caller has connections of its own; what it offers
//! may depend on what clients have declared, so that there is one for each such declaration. A question of the server's
//! says nothing of the call in which it is asked: where clients can be asked, a connection has one call at a time, and the
//! next goes to another. A call that is sent again with answers goes where it waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcp::envelope::Message;
use mcp::modern::may_ask;
use mcp::modern::parked::{self, State};
use mcp::session::mux::Asking;
use tokio::sync::Semaphore;
use wire::session::{Caller, Exchanges, Lease};

/// See the [module](self).
#[derive(Debug)]
pub struct Pool {
    places: Mutex<HashMap<Kind, Vec<Place>>>,
    next: AtomicU64,
    pod: Box<str>,
    key: parked::Key,
}

/// Who may use a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    owner: Caller,
    /// What they can be asked; see [`parked::declared`].
    declared: Option<Box<str>>,
}

#[derive(Debug)]
struct Place {
    number: u64,
    exchanges: Exchanges,
    /// Whether no call is worked on in which its client can be asked.
    free: Arc<Semaphore>,
}

/// What a request needs.
#[derive(Debug)]
pub struct Wanted {
    kind: Kind,
    /// Whether its client can be asked while it is worked on.
    asks: bool,
    /// Where it waits already.
    place: Option<u64>,
}

impl Wanted {
    /// What `request` needs, on a connection that is `owner`'s.
    pub fn of(request: &Message, owner: Caller) -> Self {
        let declared = parked::declared(request);
        let may_ask = may_ask(request.method());
        let state = request.str_at(&["requestState"]).filter(|_| may_ask);
        let place = state.and_then(|state| Some(State::parse(&state)?.place));
        Self { asks: may_ask && declared.is_some(), kind: Kind { owner, declared }, place }
    }

    /// The same on a connection that everybody shares, so that nobody can be asked.
    pub fn shared() -> Self {
        Self { kind: Kind { owner: Caller::anonymous(), declared: None }, asks: false, place: None }
    }
}

impl Place {
    /// The way to it, if it can take a request that `asks` or not.
    fn lend(&self, asks: bool) -> Option<Exchanges> {
        if !asks {
            return Some(self.exchanges.clone());
        }
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(self.exchanges.clone().leased(Lease::from(permit)))
    }
}

impl Pool {
    /// One without connections, in this `pod`.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub fn new(pod: &str) -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self { places: Mutex::default(), next: AtomicU64::new(1), pod: pod.into(), key: parked::Key(key) })
    }

    /// An open connection for a request.
    pub fn find(&self, wanted: &Wanted) -> Option<Exchanges> {
        Self::among(&self.lock(), wanted)
    }

    /// The same, or else the one that `start` starts, which is given how its clients are asked.
    pub fn open(&self, wanted: &Wanted, start: impl FnOnce(Option<Asking>) -> Exchanges) -> Option<Exchanges> {
        let mut places = self.lock();
        places.retain(|_, places| {
            places.retain(|place| place.exchanges.is_open());
            !places.is_empty()
        });
        // Somebody else may have been faster.
        if let Some(open) = Self::among(&places, wanted) {
            return Some(open);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let asking = wanted.kind.declared.clone().map(|capabilities| Asking {
            capabilities,
            pod: self.pod.clone(),
            place: number,
            key: self.key.clone(),
        });
        let place = Place { number, exchanges: start(asking), free: Arc::new(Semaphore::new(1)) };
        let open = place.lend(wanted.asks);
        places.entry(wanted.kind.clone()).or_default().push(place);
        open
    }

    fn among(places: &HashMap<Kind, Vec<Place>>, wanted: &Wanted) -> Option<Exchanges> {
        let open = |place: &&Place| place.exchanges.is_open();
        if let Some(number) = wanted.place {
            let mine = places.iter().filter(|(kind, _)| kind.owner == wanted.kind.owner).flat_map(|(_, places)| places);
            if let Some(place) = mine.filter(open).find(|place| place.number == number) {
                return Some(place.exchanges.clone());
            }
        }
        places.get(&wanted.kind)?.iter().filter(open).find_map(|place| place.lend(wanted.asks))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Vec<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use mcp::envelope::RequestId;
    use mcp::session::streams::Carrier;
    use tokio::sync::mpsc;
    use wire::session::Command;

    use super::*;

    /// A pool, and what keeps its connections open.
    struct Bench {
        pool: Pool,
        tasks: Vec<mpsc::Receiver<Command>>,
        asked: Vec<Option<Asking>>,
    }

    fn wanted(who: &str, method: &str, capabilities: &str, more: &str) -> Wanted {
        let meta = format!(r#""_meta":{{"io.modelcontextprotocol/clientCapabilities":{capabilities}}}"#);
        let request = Message::call(Some(&RequestId::from(1)), method, Some(&format!("{{{meta}{more}}}")));
        Wanted::of(&request, Caller(who.into()))
    }

    impl Bench {
        fn new() -> Self {
            Self { pool: Pool::new("p").unwrap(), tasks: Vec::new(), asked: Vec::new() }
        }

        /// Which connection a request gets, and the way to it.
        fn get(&mut self, wanted: &Wanted) -> (usize, Exchanges) {
            let exchanges = self.pool.open(wanted, |asking| {
                let (commands, task) = mpsc::channel(1);
                self.tasks.push(task);
                self.asked.push(asking);
                Exchanges::new(commands, Arc::default())
            });
            let exchanges = exchanges.unwrap();
            let sent = exchanges.send(Caller::anonymous(), Message::call(None, "x", None), Carrier::Plain);
            assert!(sent.now_or_never().unwrap().is_ok());
            let at = self.tasks.iter_mut().position(|task| task.try_recv().is_ok());
            (at.unwrap(), exchanges)
        }
    }

    const ROOTS: &str = r#"{"roots":{}}"#;

    #[test]
    fn callers_and_declarations_have_connections_of_their_own() {
        let mut bench = Bench::new();
        for (who, capabilities, expected) in
            [("a", "{}", 0), ("a", "{}", 0), ("b", "{}", 1), ("a", ROOTS, 2), ("a", ROOTS, 2)]
        {
            assert_eq!(bench.get(&wanted(who, "tools/list", capabilities, "")).0, expected, "{who} {capabilities}");
        }
        let asked: Vec<_> = bench.asked.iter().map(|it| it.as_ref().map(|it| (&*it.capabilities, it.place))).collect();
        assert_eq!(asked, [None, None, Some((ROOTS, 3))]);
    }

    #[test]
    fn a_call_in_which_its_client_can_be_asked_has_a_connection_to_itself() {
        let mut bench = Bench::new();
        let (call, list) = (wanted("a", "tools/call", ROOTS, ""), wanted("a", "tools/list", ROOTS, ""));
        let (first, held) = bench.get(&call);
        assert_eq!((first, bench.get(&list).0, bench.get(&call).0), (0, 0, 1));
        drop(held);
        assert_eq!(bench.get(&call).0, 0);
        let plain = wanted("a", "tools/call", "{}", "");
        let ways = [bench.get(&plain), bench.get(&plain)];
        assert_eq!(ways.map(|(at, _)| at), [2, 2]);
    }

    #[test]
    fn a_call_that_is_sent_again_goes_where_it_waits_and_only_its_owners() {
        let mut bench = Bench::new();
        let call = wanted("a", "tools/call", ROOTS, "");
        let _held = [bench.get(&call), bench.get(&call)];
        let again = |who| wanted(who, "tools/call", ROOTS, r#","requestState":"mgw1.p.2.s""#);
        assert_eq!(bench.get(&again("a")).0, 1);
        assert_eq!(bench.get(&again("b")).0, 2);
    }

    #[test]
    fn a_connection_that_has_ended_is_replaced() {
        let mut bench = Bench::new();
        let list = wanted("a", "tools/list", ROOTS, "");
        bench.get(&list);
        bench.tasks.clear();
        assert!(bench.pool.find(&list).is_none());
        assert_eq!((bench.get(&list).0, bench.asked.len()), (0, 2));
    }
}
