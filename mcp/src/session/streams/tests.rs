use bytes::Bytes;

use super::*;

fn id(number: u64) -> RequestId {
    RequestId::from(number)
}

fn text(text: &'static str) -> Rope {
    Bytes::from_static(text.as_bytes()).into()
}

#[test]
fn an_answer_ends_the_stream_of_its_post() {
    let mut streams = Streams::new(Transport::Streamable);
    let a = streams.posted(&[id(1)]).unwrap();
    let b = streams.posted(&[id(2), id(3)]).unwrap();
    assert_ne!(a, b);
    let first = streams.route(Relation::Answer(id(2)), text("2")).unwrap();
    assert_eq!((first.event.stream, first.last), (b, false));
    let second = streams.route(Relation::Answer(id(1)), text("1")).unwrap();
    assert_eq!((second.event.stream, second.last), (a, true));
    let third = streams.route(Relation::Abandoned(id(3)), Rope::default()).unwrap();
    assert_eq!((third.event.stream, third.last), (b, true));
    assert!(streams.route(Relation::Answer(id(1)), text("again")).is_none());
}

#[test]
fn an_id_in_use_is_refused_and_changes_nothing() {
    let mut streams = Streams::new(Transport::Streamable);
    streams.posted(&[id(1)]).unwrap();
    assert_eq!(streams.posted(&[id(2), id(1)]), Err(IdInUse(id(1))));
    assert_eq!(streams.posted(&[id(4), id(4)]), Err(IdInUse(id(4))));
    streams.posted(&[id(2)]).unwrap();
}

#[test]
fn what_belongs_to_no_request_goes_on_the_common_stream_or_on_one_that_is_connected() {
    let mut streams = Streams::new(Transport::Streamable);
    let post = streams.posted(&[id(1)]).unwrap();
    let to = |streams: &mut Streams, relation| streams.route(relation, text("n")).unwrap().event.stream;
    assert_eq!(to(&mut streams, Relation::None), StreamId::COMMON);
    streams.set_live(post, true);
    assert_eq!(to(&mut streams, Relation::None), post);
    streams.listen(None).unwrap();
    assert_eq!(to(&mut streams, Relation::None), StreamId::COMMON);
    assert_eq!(to(&mut streams, Relation::During(id(1))), post);
}

#[test]
fn a_client_that_reads_answers_only_gets_the_rest_on_the_common_stream_or_not_at_all() {
    let mut streams = Streams::new(Transport::Streamable);
    let (during, none) = (Relation::During(id(1)), Relation::None);
    assert!(streams.is_heard(&none), "its stream may be opened later");
    let post = streams.posted(&[id(1)]).unwrap();
    streams.set_live(post, true);
    streams.set_plain(post);
    assert!(!streams.is_heard(&during) && !streams.is_heard(&none) && streams.is_heard(&Relation::Answer(id(1))));
    streams.listen(None).unwrap();
    assert!(streams.is_heard(&during) && streams.is_heard(&none));
    assert_eq!(streams.route(during, text("p")).unwrap().event.stream, StreamId::COMMON);
    assert_eq!(streams.route(Relation::Answer(id(1)), text("1")).unwrap().event.stream, post);
}

#[test]
fn everything_of_an_sse_session_goes_on_its_stream() {
    let mut streams = Streams::new(Transport::Sse);
    assert_eq!(streams.posted(&[id(1)]), Ok(StreamId::COMMON));
    let answer = streams.route(Relation::Answer(id(1)), text("1")).unwrap();
    assert_eq!((answer.event.stream, answer.last), (StreamId::COMMON, false));
    assert!(streams.route(Relation::Abandoned(id(1)), Rope::default()).is_none());
}

#[test]
fn a_resumed_stream_gets_what_it_missed_and_nothing_of_others() {
    let mut streams = Streams::new(Transport::Streamable);
    streams.posted(&[id(1)]).unwrap();
    streams.posted(&[id(2)]).unwrap();
    for (relation, body) in [
        (Relation::During(id(1)), "p1"),
        (Relation::Answer(id(2)), "other"),
        (Relation::During(id(1)), "p2"),
        (Relation::Answer(id(1)), "a1"),
    ] {
        let delivery = streams.route(relation, text(body)).unwrap();
        streams.keep(delivery, true);
    }
    let resumed = streams.listen(Some("1-1".parse().unwrap())).unwrap();
    let bodies: Vec<_> = resumed.missed.into_iter().map(|d| d.message.into_bytes()).collect();
    assert_eq!(bodies, ["p2", "a1"]);
    assert!(resumed.finished);
    assert_eq!(streams.listen(Some("9-1".parse().unwrap())).unwrap_err(), UnknownEvent);
    assert!("x".parse::<EventId>().is_err());
}

#[test]
fn what_came_before_the_common_stream_was_opened_is_delivered_once() {
    let mut streams = Streams::new(Transport::Streamable);
    let early = streams.route(Relation::None, text("early")).unwrap();
    streams.keep(early, false);
    assert_eq!(streams.listen(None).unwrap().missed.len(), 1);
    assert_eq!(streams.listen(None).unwrap().missed.len(), 0);
    assert_eq!(streams.listen(Some("0-0".parse().unwrap())).unwrap().missed.len(), 1);
}

#[test]
fn an_answer_is_plain_only_where_it_comes_first_and_alone_and_nothing_was_decided_before() {
    let mut streams = Streams::new(Transport::Streamable);
    streams.posted(&[id(1)]).unwrap();
    streams.posted(&[id(2)]).unwrap();
    let lone = streams.route(Relation::Answer(id(1)), text("1")).unwrap();
    let progress = streams.route(Relation::During(id(2)), text("p")).unwrap();
    let answer = streams.route(Relation::Answer(id(2)), text("2")).unwrap();
    assert_eq!(Carrier::Undecided.with(&lone), Carrier::Plain);
    assert_eq!(Carrier::Events.with(&lone), Carrier::Events);
    assert_eq!(Carrier::Undecided.with(&progress), Carrier::Events);
    assert_eq!(Carrier::Undecided.with(&answer), Carrier::Events);
    assert_eq!(Carrier::Plain.with(&answer), Carrier::Plain);
    assert!(Carrier::Events.is_resumable() && !Carrier::Plain.is_resumable());
}

#[test]
fn what_is_kept_has_a_bound() {
    let mut streams = Streams::new(Transport::Streamable);
    for _ in 0..2000 {
        let delivery = streams.route(Relation::None, Bytes::from(vec![b'x'; 10_000]).into()).unwrap();
        streams.keep(delivery, true);
    }
    assert!(streams.kept_bytes <= KEPT_BYTES && streams.kept.len() <= KEPT_EVENTS);
}

#[test]
fn a_stream_whose_end_is_not_known_any_more_is_not_resumed() {
    let mut streams = Streams::new(Transport::Streamable);
    streams.posted(&[id(1)]).unwrap();
    streams.posted(&[id(2)]).unwrap();
    let large = Bytes::from(vec![b'x'; KEPT_BYTES + 1]);
    for (number, message) in [(1, large.into()), (2, text("small"))] {
        let answer = streams.route(Relation::Answer(id(number)), message).unwrap();
        streams.keep(answer, false);
    }
    assert_eq!(streams.listen(Some("1-0".parse().unwrap())).unwrap_err(), UnknownEvent);
    assert_eq!(streams.listen(Some("2-0".parse().unwrap())).unwrap().missed.len(), 1);
    assert!(streams.listen(Some("2-1".parse().unwrap())).unwrap().missed.is_empty(), "nothing came after the answer");
}

#[test]
fn a_post_without_requests_opens_no_stream() {
    let mut streams = Streams::new(Transport::Streamable);
    assert_eq!(streams.posted(&[]), Ok(StreamId::COMMON));
    assert_eq!(streams.open.len(), 1);
}

#[test]
fn a_stream_that_goes_on_is_not_resumed_after_an_event_whose_successors_are_not_all_kept() {
    let mut streams = Streams::new(Transport::Streamable);
    streams.listen(None).unwrap();
    for _ in 0..KEPT_EVENTS + 10 {
        let delivery = streams.route(Relation::None, text("n")).unwrap();
        streams.keep(delivery, true);
    }
    let mut after = |number| streams.listen(Some(EventId { stream: StreamId::COMMON, number }));
    assert_eq!(after(9).unwrap_err(), UnknownEvent);
    assert_eq!(after(10).unwrap().missed.len(), KEPT_EVENTS);
    assert_eq!(after(KEPT_EVENTS as u64 + 11).unwrap_err(), UnknownEvent);
    assert!(after(KEPT_EVENTS as u64 + 10).unwrap().missed.is_empty());
}

#[test]
fn what_was_sent_makes_room_for_what_was_not() {
    let mut streams = Streams::new(Transport::Streamable);
    let early = streams.route(Relation::None, text("never sent")).unwrap();
    streams.keep(early, false);
    streams.posted(&[id(1)]).unwrap();
    for _ in 0..KEPT_EVENTS * 2 {
        let delivery = streams.route(Relation::During(id(1)), text("p")).unwrap();
        streams.keep(delivery, true);
    }
    let missed = streams.listen(None).unwrap().missed;
    assert_eq!(missed.into_iter().map(|d| d.message.into_bytes()).collect::<Vec<_>>(), ["never sent"]);
}
