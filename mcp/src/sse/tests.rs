use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 64;

fn event(data: &str) -> Event {
    Event { id: None, event: None, retry: None, data: Bytes::copy_from_slice(data.as_bytes()) }
}

/// Decodes `stream` cut after every `sizes` bytes, in turn.
fn decode(stream: &[u8], limit: usize, sizes: &[usize]) -> Vec<Result<Event, TooLarge>> {
    let mut decoder = Decoder::new(limit);
    let mut events = Vec::new();
    let mut sizes = sizes.iter().copied().cycle();
    let mut rest = stream;
    while !rest.is_empty() {
        let (chunk, more) = rest.split_at(sizes.next().unwrap_or(rest.len()).clamp(1, rest.len()));
        decoder.push(Bytes::copy_from_slice(chunk));
        events.extend(&mut decoder);
        rest = more;
    }
    events
}

#[test]
fn streams_are_read_as_the_standard_says_wherever_they_are_cut() {
    let with_id = |id: &str, data| Event { id: Some(id.into()), ..event(data) };
    let typed = |kind: &str, data| Event { event: Some(kind.into()), ..event(data) };
    for (stream, expected) in [
        ("data: a\n\n", vec![event("a")]),
        ("data:a\r\rdata:  b\r\n\r\n", vec![event("a"), event(" b")]),
        ("data: a\r\n\ndata: b\n\r\n", vec![event("a"), event("b")]),
        ("data: a\ndata\ndata: b\n\n", vec![event("a\n\nb")]),
        ("data\n\ndata\ndata\n\ndata:", vec![event(""), event("\n")]),
        (": comment\n\n:\ndata: a:b\n: x\n\n", vec![event("a:b")]),
        ("\u{feff}data: a\n\n\u{feff}data: b\n\n", vec![event("a")]),
        ("event: endpoint\ndata: /m?s=1\n\n", vec![typed("endpoint", "/m?s=1")]),
        ("event: x\nevent:\ndata: a\n\n", vec![event("a")]),
        ("event: lost\n\ndata: a\n\n", vec![event("a")]),
        ("id: 1\ndata: \n\nid\ndata: a\n\n", vec![with_id("1", ""), with_id("", "a")]),
        ("id: a\0b\ndata: a\n\n", vec![event("a")]),
        ("retry: 1500\ndata: a\n\n", vec![Event { retry: Some(Duration::from_millis(1500)), ..event("a") }]),
        ("retry: +1\nretry: 1s\nretry:\nDATA: x\n data: x\ndata: a\n\n", vec![event("a")]),
        ("data: a\n\ndata: cut off\n", vec![event("a")]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(Ok).collect();
        for first in 1..=stream.len() {
            assert_eq!(decode(stream.as_bytes(), LIMIT, &[first, stream.len()]), expected, "{stream:?} at {first}");
        }
        assert_eq!(decode(stream.as_bytes(), LIMIT, &[1]), expected, "{stream:?} byte by byte");
    }
}

#[test]
fn the_event_type_is_message_when_none_is_given() {
    assert_eq!(event("a").kind(), "message");
    assert_eq!(Event { event: Some("endpoint".into()), ..event("a") }.kind(), "endpoint");
}

#[test]
fn ids_and_reconnection_times_count_without_data_once_their_event_ends() {
    let mut decoder = Decoder::new(LIMIT);
    decoder.push(Bytes::from_static(b"id: 7\nretry: 20\n\nid: 8\n"));
    assert_eq!(decoder.next(), None);
    assert_eq!(decoder.last_event_id(), Some("7"));
    assert_eq!(decoder.reconnection_time(), Some(Duration::from_millis(20)));
}

#[test]
fn an_event_is_not_held_back_for_the_line_feed_after_its_carriage_return() {
    let mut decoder = Decoder::new(LIMIT);
    decoder.push(Bytes::from_static(b"data: a\r\n\r"));
    assert_eq!(decoder.next(), Some(Ok(event("a"))));
    decoder.push(Bytes::from_static(b"\ndata: b\n\n"));
    assert_eq!(decoder.next(), Some(Ok(event("b"))));
}

#[test]
fn a_line_of_data_in_one_chunk_is_not_copied() {
    let mut decoder = Decoder::new(LIMIT);
    let chunk = Bytes::from_static(b"event: message\ndata: {\"a\":1}\n\n");
    decoder.push(chunk.clone());
    let data = decoder.next().unwrap().unwrap().data;
    assert!(chunk.as_ptr_range().contains(&data.as_ptr()));
}

#[test]
fn an_event_at_the_limit_passes_and_a_larger_one_is_skipped_alone() {
    let too_large = Err(TooLarge { limit: LIMIT, answers: None });
    for over in [
        format!("data: {}\n\n", "x".repeat(LIMIT + 1)),
        format!("data: {}\ndata: {}\n: more\n\n", "x".repeat(LIMIT - 1), "x"),
        format!("x{}\ndata: lost\n\n", "x".repeat(LIMIT + 6)),
        format!(":{}{}\n\n", "x".repeat(LIMIT + 6), "y".repeat(LIMIT)),
        format!("data: {}\ndata: {}\nid: 2\nevent: lost\n\n", "x".repeat(LIMIT + 1), "x".repeat(LIMIT + 1)),
    ] {
        let largest = "y".repeat(LIMIT);
        let stream = format!("{over}data: {largest}\n\n");
        for size in [1, 7, 64, stream.len()] {
            assert_eq!(
                decode(stream.as_bytes(), LIMIT, &[size]),
                [too_large.clone(), Ok(event(&largest))],
                "{stream:?}"
            );
        }
    }
}

#[test]
fn the_id_of_a_skipped_event_stays_in_force() {
    let mut decoder = Decoder::new(LIMIT);
    decoder.push(Bytes::from(format!("id: 5\ndata: {}\n\n", "x".repeat(LIMIT + 1))));
    assert!(matches!(decoder.next(), Some(Err(_))));
    assert_eq!(decoder.next(), None);
    assert_eq!(decoder.last_event_id(), Some("5"));
}

#[test]
fn comments_add_up_to_no_event() {
    assert_eq!(decode(&COMMENT_KEEPALIVE.repeat(100), LIMIT, &[5]), []);
    assert_eq!(decode(&b": x\n".repeat(100), LIMIT, &[3]), []);
}

#[test]
fn small_events_are_one_chunk_and_large_data_is_not_copied() {
    let head = EventHead { id: Some("1"), event: Some("message"), retry: Some(Duration::from_secs(3)) };
    let small = encode(&head, [Bytes::from_static(b"{\"id\":"), Bytes::from_static(b"1}")]);
    assert_eq!(small.as_slice(), ["id: 1\nevent: message\nretry: 3000\ndata: {\"id\":1}\n\n"]);

    let large = Bytes::from(vec![b'x'; 1 << 20]);
    let chunks = encode(&EventHead::default(), [Bytes::from_static(b"{"), large.clone(), Bytes::from_static(b"}")]);
    assert_eq!(chunks.len(), 3);
    assert_eq!(chunks[0], "data: {");
    assert_eq!(chunks[1].as_ptr(), large.as_ptr());
    assert_eq!(chunks[2], "}\n\n");
}

#[test]
fn a_priming_event_is_an_id_with_empty_data() {
    let head = EventHead { id: Some("s-0"), event: None, retry: Some(Duration::from_millis(500)) };
    assert_eq!(encode(&head, []).concat(), b"id: s-0\nretry: 500\ndata: \n\n");
}

#[test]
fn corpus_replays() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/sse_decode");
    for file in std::fs::read_dir(corpus).unwrap() {
        let input = std::fs::read(file.unwrap().path()).unwrap();
        check(&input[1..], &[input[0].into()]);
    }
}

#[test]
fn of_an_answer_that_is_too_large_it_is_told_what_it_answers_wherever_its_id_stands() {
    let long = "x".repeat(3000);
    let told = |limit, stream: &str, step| {
        let decoded = decode(stream.as_bytes(), limit, &[step]);
        decoded.into_iter().map(|event| event.map(|event| event.data)).collect::<Vec<_>>()
    };
    let too_large = |answers| Err(TooLarge { limit: 1000, answers });
    let first = format!("id: 5\ndata: {{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"{long}\"}}\n\ndata: a\n\n");
    let last = format!("id: 5\ndata: {{\"result\":\"{long}\",\"jsonrpc\":\"2.0\",\"id\":8}}\n\ndata: a\n\n");
    let next = || Ok(Bytes::from_static(b"a"));
    for step in [1, 100, 10_000] {
        assert_eq!(told(1000, &first, step), [too_large(Some(7)), next()], "{step}");
        assert_eq!(told(1000, &last, step), [too_large(None), too_large(Some(8)), next()], "{step}");
    }
}

/// What must hold for any stream: where it is cut makes no difference, and no event is larger than the limit.
fn check(stream: &[u8], sizes: &[usize]) {
    let events = decode(stream, LIMIT, &[stream.len()]);
    assert_eq!(decode(stream, LIMIT, sizes), events);
    assert!(events.iter().flatten().all(|event| event.data.len() <= LIMIT));
}

type Head = (Option<String>, Option<String>, Option<u32>);

fn heads() -> impl Strategy<Value = Head> {
    use proptest::option::of;
    (of("[^\r\n\0]{0,8}"), of("[^\r\n]{1,8}"), of(any::<u32>()))
}

fn check_round_trip(head: &Head, data: &str, sizes: &[usize], encode: impl FnOnce(&EventHead<'_>) -> Chunks) {
    let (id, kind, retry) = head;
    let retry = retry.map(|millis| Duration::from_millis(millis.into()));
    let chunks = encode(&EventHead { id: id.as_deref(), event: kind.as_deref(), retry });
    let (id, kind) = (id.as_deref().map(Into::into), kind.as_deref().map(Into::into));
    let expected = Event { id, event: kind, retry, data: Bytes::copy_from_slice(data.as_bytes()) };
    assert_eq!(decode(&chunks.concat().repeat(2), usize::MAX, sizes), [Ok(expected.clone()), Ok(expected)]);
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        head in heads(),
        data in vec(("[^\r\n]{0,12}", 1..600usize), 0..4),
        sizes in vec(1..5000usize, 1..9),
    ) {
        let data: Vec<_> = data.into_iter().map(|(text, times)| text.repeat(times)).collect();
        let pieces = data.iter().cloned().map(Bytes::from);
        check_round_trip(&head, &data.concat(), &sizes, |head| encode(head, pieces));
    }

    #[test]
    fn any_text_is_decoded_with_unix_line_ends(head in heads(), text in "([^\r\n]|\r|\n|\r\n){0,32}", sizes in vec(1..40usize, 1..9)) {
        let expected = text.replace("\r\n", "\n").replace('\r', "\n");
        check_round_trip(&head, &expected, &sizes, |head| encode_text(head, Bytes::from(text)));
    }

    #[test]
    fn where_a_stream_is_cut_makes_no_difference(
        stream in "(data|id|event|retry|:|: |\r|\n|\r\n|\n\n|\0|\u{feff}|[a-z0-9]{1,40}){0,60}",
        sizes in vec(1..50usize, 1..9),
    ) {
        check(stream.as_bytes(), &sizes);
    }

    #[test]
    fn decoding_is_total(stream in vec(any::<u8>(), 0..300), sizes in vec(1..50usize, 1..9)) {
        check(&stream, &sizes);
    }
}
