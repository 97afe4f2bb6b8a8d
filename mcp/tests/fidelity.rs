//! What crosses a connection comes out as it went in, byte for byte, but for its id and progress token.

#[cfg(test)]
mod fidelity {
    use std::time::Duration;

    use mcp::envelope::{self, Incoming, Message};
    use mcp::session::filter::ToolFilter;
    use mcp::session::mux::{Config, Mux, Out, Sharing};
    use mcp::session::{Clock, SessionKey};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    const ID: &str = "@ID@";
    const TOKEN: &str = "@TOKEN@";
    const NOW: Clock = Clock::ZERO;

    /// A JSON text with all that a parser may take and a model would lose: odd numbers, escapes, keys that occur twice,
    /// spaces.
    fn json() -> impl Strategy<Value = String> {
        let number = r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?";
        let string = r#""([a-z@é日🦀 {}\[\],:]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}){0,12}""#;
        let leaf = prop_oneof![number, string, select(vec!["null", "true", "false"]).prop_map(str::to_owned)];
        leaf.prop_recursive(4, 24, 5, |inner| {
            let member =
                (key(), space(), inner.clone()).prop_map(|(key, space, value)| format!("{key}{space}:{value}"));
            let list = |of: BoxedStrategy<String>, open: char, close: char| {
                (vec(of, 0..5), space()).prop_map(move |(of, space)| format!("{open}{}{space}{close}", of.join(",")))
            };
            prop_oneof![list(inner.boxed(), '[', ']'), list(member.boxed(), '{', '}')]
        })
    }

    fn key() -> impl Strategy<Value = String> {
        let known = select(vec!["id", "task", "uri", "name", "_meta", "progressToken", "requestId", "\\u0069d"]);
        prop_oneof![known.prop_map(|key| format!(r#""{key}""#)), r#""([a-z日]|\\[/nt]|\\u00[0-9a-f]{2}){0,6}""#]
    }

    fn space() -> impl Strategy<Value = String> {
        "[ \t]{0,2}"
    }

    fn id() -> impl Strategy<Value = String> {
        prop_oneof![r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,4})?(e[0-9])?", r#""([a-z日 ]|\\["\\/]|\\u00[0-9a-f]{2}){0,8}""#]
    }

    /// An object of these members, in any order, among others that nobody knows.
    fn object(members: Vec<(&'static str, String)>) -> impl Strategy<Value = String> {
        (vec(json(), 0..3), space(), Just(members)).prop_flat_map(|(unknown, space, mut members)| {
            members.extend(["vendor", "x/y", "Id"].into_iter().zip(unknown));
            let text = move |members: Vec<(&str, String)>| {
                let members = members.into_iter().map(|(key, value)| format!(r#"{space}"{key}" :{value}"#));
                format!("{{{}{space}}}", members.collect::<Vec<_>>().join(","))
            };
            Just(members).prop_shuffle().prop_map(text)
        })
    }

    fn envelope(members: Vec<(&'static str, String)>) -> BoxedStrategy<String> {
        let mut all = vec![("jsonrpc", r#""2.0""#.to_owned())];
        all.extend(members);
        object(all).boxed()
    }

    /// With an id in it, and a progress token or none.
    fn request(methods: &'static [&'static str]) -> impl Strategy<Value = String> {
        let meta = object(vec![("progressToken", TOKEN.to_owned())]);
        let meta = prop_oneof![meta.prop_map(Some), Just(None)];
        let params = (json(), meta).prop_flat_map(|(arguments, meta)| {
            let meta = meta.map(|meta| ("_meta", meta));
            object([("arguments", arguments), ("name", r#""t""#.to_owned())].into_iter().chain(meta).collect())
        });
        (params, select(methods)).prop_flat_map(|(params, method)| {
            envelope(vec![("id", ID.to_owned()), ("method", format!(r#""{method}""#)), ("params", params)])
        })
    }

    fn answer() -> impl Strategy<Value = String> {
        let error = json().prop_map(|data| ("error", format!(r#"{{"code":-1,"data":{data},"message":""}}"#)));
        let result = json().prop_map(|result| ("result", result));
        prop_oneof![error, result].prop_flat_map(|body| envelope(vec![("id", ID.to_owned()), body]))
    }

    fn notification(method: &'static str, known: &'static [(&'static str, &'static str)]) -> BoxedStrategy<String> {
        let known = known.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let params = object(known);
        params
            .prop_flat_map(move |params| envelope(vec![("method", format!(r#""{method}""#)), ("params", params)]))
            .boxed()
    }

    fn message(text: &str) -> Message {
        match envelope::parse(text.to_owned().into(), usize::MAX) {
            Ok(Incoming::Single(message)) => message,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// A connection that is up, and its session.
    fn connection(sharing: Sharing) -> (Mux, SessionKey) {
        connection_of(sharing, sharing == Sharing::Exchanges)
    }

    /// The same; whether the session is a single request.
    fn connection_of(sharing: Sharing, stands_alone: bool) -> (Mux, SessionKey) {
        let [request_timeout, startup_timeout, connect_timeout] = [Duration::from_secs(60); 3];
        let server = String::new();
        let tools = ToolFilter::default();
        let asking = None;
        let config = Config { sharing, request_timeout, startup_timeout, connect_timeout, asking, tools, server };
        let mut mux = Mux::new(config);
        let session = if stands_alone { SessionKey(0) } else { mux.attach() };
        if stands_alone {
            mux.enter(session, "me".into());
        }
        mux.connected(NOW);
        mux.from_server(message(r#"{"jsonrpc":"2.0","id":1,"result":{"capabilities":{}}}"#), NOW);
        mux.from_client(session, message(r#"{"jsonrpc":"2.0","id":"i","method":"initialize"}"#), NOW);
        mux.from_server(message(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), NOW);
        while mux.poll().is_some() {}
        (mux, session)
    }

    /// The one thing to be sent.
    fn sent(mux: &mut Mux) -> String {
        let (Some(Out::ToServer(message) | Out::ToClient { message, .. }), None) = (mux.poll(), mux.poll()) else {
            panic!("one message is sent");
        };
        String::from_utf8(message.into_bytes().to_vec()).unwrap()
    }

    fn own_id(sent: &str) -> String {
        String::from_utf8(message(sent).id().unwrap().raw().to_vec()).unwrap()
    }

    /// The message with its id, and the token, set.
    fn with(template: &str, id: &str, token: &str) -> String {
        template.replace(ID, id).replace(TOKEN, token)
    }

    proptest! {
        // As many as take a few seconds in a debug build.
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn a_request_and_what_answers_it(
            sharing in select(vec![Sharing::Exclusive, Sharing::Common, Sharing::Exchanges]),
            request in request(&["tools/call", "tools\\/list", "resources/read", "of/its/own", "completion/complete"]),
            (id, token) in (id(), id()),
            progress in notification("notifications/progress", &[("progressToken", TOKEN), ("progress", "1.0")]),
            answer in answer(),
        ) {
            let (mut mux, session) = connection(sharing);
            mux.from_client(session, message(&with(&request, &id, &token)), NOW);
            let there = sent(&mut mux);
            let own = own_id(&there);
            prop_assert_eq!(there, with(&request, &own, &own));
            if request.contains(TOKEN) {
                mux.from_server(message(&with(&progress, "", &own)), NOW);
                prop_assert_eq!(sent(&mut mux), with(&progress, "", &token));
            }
            mux.from_server(message(&with(&answer, &own, "")), NOW);
            prop_assert_eq!(sent(&mut mux), with(&answer, &id, ""));
        }

        #[test]
        fn an_answer_of_an_older_revision_in_the_newer(answer in answer()) {
            const ADDED: &str = r#""resultType":"complete""#;
            let (mut mux, session) = connection(Sharing::Adapted);
            let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;
            mux.from_client(session, message(call), NOW);
            let own = own_id(&sent(&mut mux));
            mux.from_server(message(&with(&answer, &own, "")), NOW);
            let crossed = sent(&mut mux);
            let is_object = message(&crossed).body().is_some_and(|body| body.starts_with('{'));
            prop_assert_eq!(crossed.contains(ADDED), crossed.contains("\"result\"") && is_object, "{}", crossed);
            let plain = crossed.replacen(&format!("{ADDED},"), "", 1).replacen(ADDED, "", 1);
            prop_assert_eq!(plain, with(&answer, "1", ""));
        }

        #[test]
        fn what_an_older_client_says_and_hears_before_a_server_of_the_newer_revision(
            request in request(&["tools/call", "prompts/get", "of/its/own"]),
            (id, token) in (id(), id()),
            answer in answer(),
        ) {
            let (mut mux, session) = connection_of(Sharing::Exchanges, false);
            let written = message(&with(&request, &id, &token));
            mux.from_client(session, written.clone(), NOW);
            let there = message(&sent(&mut mux));
            for key in ["arguments", "name", "vendor", "x/y", "Id"] {
                prop_assert_eq!(there.at(&[key]), written.at(&[key]));
            }
            let own = own_id(std::str::from_utf8(there.raw()).unwrap());
            if request.contains(TOKEN) {
                prop_assert_eq!(there.at(&["_meta", "progressToken"]), Some(own.as_str()));
            }
            mux.from_server(message(&with(&answer, &own, "")), NOW);
            prop_assert_eq!(sent(&mut mux), with(&answer, &id, ""));
        }

        #[test]
        fn a_question_and_its_answer(
            question in request(&["sampling/createMessage", "elicitation\\/create", "of/its/own"]),
            (id, token) in (id(), id()),
            answer in answer(),
        ) {
            let (mut mux, session) = connection(Sharing::Exclusive);
            mux.from_server(message(&with(&question, &id, &token)), NOW);
            let there = sent(&mut mux);
            let own = own_id(&there);
            prop_assert_eq!(there, with(&question, &own, &token));
            mux.from_client(session, message(&with(&answer, &own, "")), NOW);
            prop_assert_eq!(sent(&mut mux), with(&answer, &id, ""));
        }

        #[test]
        fn what_takes_back_a_request_or_a_question(
            asked in request(&["tools/list"]),
            id in id(),
            cancelled in notification("notifications/cancelled", &[("requestId", ID)]),
        ) {
            let (mut mux, session) = connection(Sharing::Exclusive);
            mux.from_server(message(&with(&asked, &id, "1")), NOW);
            let own = own_id(&sent(&mut mux));
            mux.from_server(message(&with(&cancelled, &id, "")), NOW);
            prop_assert_eq!(sent(&mut mux), with(&cancelled, &own, ""));

            mux.from_client(session, message(&with(&asked, &id, "1")), NOW);
            let own = own_id(&sent(&mut mux));
            mux.from_client(session, message(&with(&cancelled, &id, "")), NOW);
            let Some(Out::ToServer(there)) = mux.poll() else { panic!("the server is told") };
            prop_assert_eq!(there.into_bytes(), with(&cancelled, &own, ""));
        }

        #[test]
        fn notifications_of_either_side(
            unknown in notification("notifications/of/its/own", &[]),
            log in notification("notifications\\/message", &[("level", r#""info""#), ("data", "1.50")]),
            updated in notification("notifications/resources/updated", &[("uri", r#""f:\/\/\/\u0078""#)]),
            changed in notification("notifications/tools/list_changed", &[]),
        ) {
            let (mut mux, session) = connection(Sharing::Exclusive);
            for text in [&unknown, &log, &updated, &changed] {
                mux.from_server(message(text), NOW);
                prop_assert_eq!(&sent(&mut mux), text);
                mux.from_client(session, message(text), NOW);
                prop_assert_eq!(&sent(&mut mux), text);
            }
            let (mut mux, session) = connection(Sharing::Common);
            let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"f:///x"}}"#;
            mux.from_client(session, message(subscribe), NOW);
            sent(&mut mux);
            for text in [&unknown, &log, &updated, &changed] {
                mux.from_server(message(text), NOW);
                prop_assert_eq!(&sent(&mut mux), text);
            }
        }
    }
}
