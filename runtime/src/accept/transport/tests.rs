use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    task::yield_now,
    time::Instant,
};

use super::*;

/// What is detected, and read afterwards, of a peer that sends these pieces and ends.
async fn detect(pieces: &[&str]) -> (Version, String) {
    let (server, mut client) = duplex(1024);
    let send = async {
        for piece in pieces {
            client.write_all(piece.as_bytes()).await.unwrap();
            yield_now().await; // the other side reads this piece alone
        }
        drop(client);
    };
    let mut transport = Transport::new(server);
    let receive = async {
        let version = transport.version().await.unwrap();
        let mut text = String::new();
        transport.read_to_string(&mut text).await.unwrap();
        (version, text)
    };
    tokio::join!(receive, send).0
}

#[tokio::test]
async fn the_preface_tells_http2_and_stays_to_be_read() {
    let text = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes";
    assert_eq!(detect(&[text]).await, (Version::Http2, text.to_owned()));
    let pieces = [&text[..3], &text[3..20], &text[20..]];
    assert_eq!(detect(&pieces).await, (Version::Http2, text.to_owned()));
}

#[tokio::test]
async fn anything_else_is_http1_and_stays_to_be_read() {
    for text in ["", "G", "GET / HTTP/1.1\r\n\r\n", "PROPFIND / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n"] {
        assert_eq!(detect(&[text]).await, (Version::Http1, text.to_owned()));
    }
    let pieces = ["P", "OST / HTTP/1.1\r\n\r\n"];
    assert_eq!(detect(&pieces).await, (Version::Http1, pieces.concat()));
}

#[tokio::test]
async fn the_first_bytes_and_those_behind_them_come_in_one_read() {
    let (server, mut client) = duplex(1024);
    client.write_all(&[b' '; 500]).await.unwrap();
    let mut transport = Transport::new(server);
    transport.version().await.unwrap();
    assert_eq!(transport.read(&mut [0; 1024]).await.unwrap(), 500);
}

#[tokio::test]
async fn a_small_buffer_reads_the_first_bytes_in_steps() {
    let (server, mut client) = duplex(1024);
    client.write_all(b"0123456789").await.unwrap();
    let mut transport = Transport::new(server);
    transport.version().await.unwrap();
    let mut buffers = [[0; 4]; 2];
    for buffer in &mut buffers {
        transport.read_exact(buffer).await.unwrap();
    }
    assert_eq!(buffers.concat(), b"01234567");
}

async fn shutdown_takes(server: DuplexStream) -> Duration {
    let begun = Instant::now();
    Transport::new(server).shutdown().await.unwrap();
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn an_idle_peer_is_not_waited_for() {
    let (server, _client) = duplex(64);
    assert_eq!(shutdown_takes(server).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_ends_is_left_after_a_while() {
    let (server, mut client) = duplex(64);
    client.write_all(&[0]).await.unwrap();
    assert_eq!(shutdown_takes(server).await, LINGER);
}

#[tokio::test(start_paused = true)]
async fn a_sending_peer_can_send_everything_and_read_the_answer() {
    let (server, mut client) = duplex(64);
    let mut server = Transport::new(server);
    client.write_all(&[0; 64]).await.unwrap();
    let sending = async {
        yield_now().await; // the shutdown is under way
        client.write_all(&[0; 4096]).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        drop(client);
        answer
    };
    let closing = async {
        server.write_all(b"too large").await.unwrap();
        server.shutdown().await.unwrap();
    };
    let begun = Instant::now();
    let ((), answer) = tokio::join!(closing, sending);
    assert_eq!(answer, "too large");
    assert_eq!(begun.elapsed(), Duration::ZERO);
}
