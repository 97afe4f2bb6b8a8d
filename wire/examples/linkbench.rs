use mcp::envelope::{Message, RequestId};
use mcp::json::Rope;
use std::sync::Arc;
use std::time::Instant;
use wire::client::{AddressPolicy, Endpoint, HttpClient};
use wire::link::{Event, Link};
use wire::upstream::{Site, StreamableLink, Target};

fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let path = std::env::args().nth(1).unwrap();
    let n: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let width: u64 = std::env::args().nth(3).unwrap().parse().unwrap();
    let client = HttpClient::new(AddressPolicy::Any);
    let site = Arc::new(Site {
        name: "x".into(),
        target: Target { endpoint: Endpoint::unix(path.as_ref()).unwrap(), path: "/mcp".parse().unwrap() },
        headers: [(http::HeaderName::from_static("mcp-gateway-principal"), http::HeaderValue::from_static("abc"))]
            .into_iter()
            .collect(),
        calls: client.clone(),
        streams: client.long_streams(),
        max_message: 16 << 20,
    });
    let mut link = StreamableLink::new(site);
    let send = |link: &mut StreamableLink, id: u64, method: &str, params: &str| {
        link.send(Rope::from(Message::call(Some(&RequestId::from(id)), method, Some(params))));
    };
    send(
        &mut link,
        1,
        "initialize",
        r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}"#,
    );
    match link.next().await {
        Event::Message(m) => println!("{}", String::from_utf8_lossy(&m.raw()[..100])),
        e => panic!("{e:?}"),
    }
    link.send(Rope::from(Message::call(None, "notifications/initialized", None)));
    let params = r#"{"name":"echo","arguments":{"text":"hello","message":"hello"}}"#;
    let mut next = 10;
    let (mut answered, mut asked) = (0, 0);
    let (c, t) = (cpu(), Instant::now());
    while asked < width {
        next += 1;
        asked += 1;
        send(&mut link, next, "tools/call", params);
    }
    while answered < n {
        match link.next().await {
            Event::Message(m) if m.is_response() => {
                answered += 1;
                if answered == 1 {
                    println!("{}", String::from_utf8_lossy(m.raw()));
                }
                if asked < n {
                    next += 1;
                    asked += 1;
                    send(&mut link, next, "tools/call", params);
                }
            }
            Event::Message(m) => println!("{}", String::from_utf8_lossy(m.raw())),
            e => panic!("{e:?}"),
        }
    }
    println!(
        "{n} calls, width {width}: {:.1} us wall, {:.1} us cpu each",
        t.elapsed().as_secs_f64() * 1e6 / n as f64,
        (cpu() - c) * 1e6 / n as f64
    );
    link.stop().await;
}
