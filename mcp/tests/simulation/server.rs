//! A server that does what servers do: it answers out of order, late, twice or not at all, asks, reports, and remembers
//! what it is told, so that it can tell when it is told something wrong.

use std::collections::{BTreeMap, BTreeSet};

use mcp::envelope::{Kind, Message};
use mcp::session::mux::Sharing;

use super::ledger::text;
use super::rng::Rng;

#[derive(Debug)]
pub(crate) struct Server {
    sharing: Sharing,
    /// Whether what it is sent can overtake what was sent before, as with a server that is reached by HTTP.
    overtaking: bool,
    /// Counts the servers of this world, so that what belongs to one is told from what belongs to the next.
    life: u64,
    counter: u64,
    works: Vec<Work>,
    seen: BTreeSet<u64>,
    initialized: bool,
    /// The questions it asked, by their ids as it wrote them.
    questions: BTreeMap<String, Question>,
    /// Those who use it.
    owners: BTreeSet<String>,
    tasks: Vec<(String, String)>,
    uris: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Asked,
    TakenBack,
    Answered,
}

/// A request it was given.
#[derive(Clone, Debug)]
struct Work {
    id: u64,
    method: String,
    /// `"owner":…,"number":…` of the request, which everything that is said of it repeats.
    mark: String,
    owner: String,
    has_token: bool,
    as_task: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Cancelled,
    Answered,
}

impl Server {
    pub(crate) fn new(sharing: Sharing, overtaking: bool, life: u64) -> Self {
        Self {
            sharing,
            overtaking,
            life,
            counter: 0,
            works: Vec::new(),
            seen: BTreeSet::new(),
            initialized: false,
            questions: BTreeMap::new(),
            owners: BTreeSet::new(),
            tasks: Vec::new(),
            uris: Vec::new(),
        }
    }

    /// Questions that wait for an answer.
    pub(crate) fn waits_for(&self) -> usize {
        self.questions.values().filter(|state| **state == Question::Asked).count()
    }

    /// What comes in, as it arrives. Everything it may rely on is checked.
    pub(crate) fn read(&mut self, message: &Message) {
        match message.kind() {
            Kind::Request => self.read_request(message),
            Kind::Result | Kind::Error => {
                let id = text(&message.id().expect("an answer to a question has its id"));
                let state = self.questions.get_mut(&id).expect("only what was asked is answered");
                let before = std::mem::replace(state, Question::Answered);
                assert_ne!(before, Question::Answered, "a question is answered once");
                let owner = message.str_at(&["owner"]);
                assert!(owner.is_none_or(|owner| self.owners.contains(&*owner)), "somebody else answered");
            }
            Kind::Notification => self.read_notification(message),
        }
    }

    fn read_request(&mut self, message: &Message) {
        let id = message.id().and_then(|id| id.as_u64()).expect("ids of the connection's own are numbers");
        assert!(self.seen.insert(id), "an id is used once");
        assert!(self.seen.len() > 1 || message.method() == "initialize", "a conversation begins with `initialize`");
        let token = message.at(&["_meta", "progressToken"]);
        assert!(token.is_none_or(|token| token.parse() == Ok(id)), "tokens are the connection's own");
        let raw = |key| message.at(&[key]).unwrap_or("null");
        let owner = message.str_at(&["owner"]).unwrap_or_default().into_owned();
        let task = message.str_at(&["taskId"]);
        if let Some(task) = task.filter(|_| self.sharing == Sharing::Common) {
            assert!(
                self.tasks.iter().any(|(known, known_owner)| *known == task && *known_owner == owner),
                "a foreign task"
            );
        }
        if message.method() == "resources/subscribe" {
            self.uris.extend(message.str_at(&["uri"]).map(std::borrow::Cow::into_owned));
        }
        self.owners.insert(owner.clone());
        self.works.push(Work {
            id,
            method: message.method().to_owned(),
            mark: format!(r#""owner":{},"number":{}"#, raw("owner"), raw("number")),
            owner,
            has_token: token.is_some(),
            as_task: message.at(&["task"]).is_some(),
            state: State::Open,
        });
    }

    fn read_notification(&mut self, message: &Message) {
        match message.method() {
            "notifications/initialized" => {
                assert!(!std::mem::replace(&mut self.initialized, true), "the handshake is finished once");
            }
            "notifications/cancelled" => {
                let id = message.at(&["requestId"]).and_then(|id| id.parse().ok());
                let work = self.works.iter_mut().find(|work| Some(work.id) == id);
                assert!(work.is_some() || self.overtaking, "only what was asked is cancelled");
                let Some(work) = work else { return };
                assert!(work.method != "initialize", "`initialize` is never cancelled");
                work.state = State::Cancelled;
            }
            _ => assert_eq!(self.sharing, Sharing::Exclusive, "a shared server hears of no client"),
        }
    }

    /// What it says next, if anything.
    pub(crate) fn say(&mut self, rng: &mut Rng) -> Option<String> {
        if !self.initialized
            && rng.percent(80)
            && let Some(at) = rng.find(&self.works, |work| work.state == State::Open && work.method == "initialize")
        {
            return Some(self.answer(at, rng));
        }
        let anything = self.initialized && !self.works.is_empty();
        match rng.below(20) {
            0..9 => {
                let at = rng.find(&self.works, |work| work.state == State::Open)?;
                Some(self.answer(at, rng))
            }
            // Late, or again.
            9 => {
                let at = rng.find(&self.works, |work| work.state != State::Open)?;
                Some(self.answer(at, rng))
            }
            10 => Some(r#"{"jsonrpc":"2.0","id":987654,"result":{"owner":"nobody","number":0}}"#.to_owned()),
            11 | 12 => self.progress(rng),
            13 | 14 if anything => self.ask(rng),
            15 if anything => self.take_back(rng),
            16 => self.mention("notifications/message", r#""level":"info","data":1,"#, rng),
            17 => self.mention("notifications/of/our/own", "", rng),
            18 => Some(self.tell_all(rng)),
            19 => self.tell_of_task(rng),
            _ => None,
        }
    }

    fn answer(&mut self, at: usize, rng: &mut Rng) -> String {
        let work = &mut self.works[at];
        work.state = State::Answered;
        // Some write a number as a string; every SDK takes it.
        let id = if rng.percent(10) { format!(r#""{}""#, work.id) } else { work.id.to_string() };
        let mark = &work.mark;
        if rng.percent(5) {
            return format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-1,"message":"no","data":{{{mark}}}}}}}"#);
        }
        let more = match work.method.as_str() {
            "initialize" => r#""protocolVersion":"2025-06-18","capabilities":{}"#.to_owned(),
            "tasks/list" => {
                let task = |(id, owner): &(String, String)| format!(r#"{{"taskId":"{id}","owner":"{owner}"}}"#);
                format!(r#""tasks":[{}]"#, self.tasks.iter().map(task).collect::<Vec<_>>().join(","))
            }
            _ if work.as_task => {
                let task = format!("t{}", work.id);
                self.tasks.push((task.clone(), work.owner.clone()));
                format!(r#""task":{{"taskId":"{task}"}}"#)
            }
            _ => r#""content":[]"#.to_owned(),
        };
        format!(r#"{{"id":{id},"result":{{{mark},{more}}},"jsonrpc":"2.0"}}"#)
    }

    fn progress(&mut self, rng: &mut Rng) -> Option<String> {
        let work = &self.works[rng.find(&self.works, |work| work.has_token)?];
        let (id, mark) = (work.id, &work.mark);
        let token = if rng.percent(10) { format!(r#""{id}""#) } else { id.to_string() };
        Some(notification("progress", &format!(r#""progress":1,"progressToken":{token},{mark}"#)))
    }

    fn ask(&mut self, rng: &mut Rng) -> Option<String> {
        self.counter += 1;
        let id = format!("{}{:04}", self.life, self.counter);
        let id = if rng.percent(50) { id } else { format!(r#""\u0071{id}""#) };
        self.questions.insert(id.clone(), Question::Asked);
        let method = rng.pick(&["ping", "roots/list", "sampling/createMessage", "elicitation/create"]);
        let mark = &self.works[rng.find(&self.works, |_| true)?].mark;
        Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{mark}}}}}"#))
    }

    fn take_back(&mut self, rng: &mut Rng) -> Option<String> {
        let mut asked: Vec<_> = self.questions.iter_mut().filter(|(_, state)| **state == Question::Asked).collect();
        let at = rng.find(&asked, |_| true)?;
        let (id, state) = &mut asked[at];
        **state = Question::TakenBack;
        Some(notification("cancelled", &format!(r#""requestId":{id}"#)))
    }

    /// Whose work a server speaks of unasked can be told by nobody but itself.
    fn mention(&mut self, method: &str, more: &str, rng: &mut Rng) -> Option<String> {
        let mark = &self.works[rng.find(&self.works, |work| !work.owner.is_empty())?].mark;
        Some(format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{{more}{mark}}}}}"#))
    }

    fn tell_all(&mut self, rng: &mut Rng) -> String {
        let Some(at) = rng.find(&self.uris, |_| true) else {
            return notification(rng.pick(&["tools/list_changed", "prompts/list_changed"]), "");
        };
        notification("resources/updated", &format!(r#""uri":"{}""#, self.uris[at]))
    }

    fn tell_of_task(&mut self, rng: &mut Rng) -> Option<String> {
        let (id, owner) = &self.tasks[rng.find(&self.tasks, |_| true)?];
        Some(notification("tasks/status", &format!(r#""taskId":"{id}","status":"working","owner":"{owner}""#)))
    }
}

fn notification(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{{{params}}}}}"#)
}
