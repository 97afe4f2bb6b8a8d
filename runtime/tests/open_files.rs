//! A process of its own: it uses all the files that it may open.

use std::{fs::File, net::TcpStream as BlockingStream, time::Duration};

use axum::Router;
use runtime::{
    accept::Server,
    listen::{ListenAddr, Listener},
    shutdown::Shutdown,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

fn connect(listener: &Listener) -> BlockingStream {
    let addr = listener.local_addr().expect("the listener is bound").to_string();
    let stream = BlockingStream::connect(addr).expect("the backlog has room");
    stream.set_nonblocking(true).expect("the socket is open");
    stream
}

fn open_all_files() -> Vec<File> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).expect("lowering needs no privilege");
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[tokio::test]
async fn a_server_without_open_files_left_accepts_again_when_there_are_some() {
    let shutdown = Shutdown::new();
    let listener = "127.0.0.1:0".parse::<ListenAddr>().unwrap().bind("--listen").unwrap();
    let mut client = TcpStream::from_std(connect(&listener)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.unwrap();
    let files = open_all_files();
    assert!(!files.is_empty());

    let server = tokio::spawn(Server::new(listener).max_connections(8).serve(Router::new(), shutdown.drain()));
    let mut answer = String::new();
    let early = timeout(Duration::from_millis(50), client.read_to_string(&mut answer)).await;
    assert!(early.is_err(), "no file was left to accept with");
    assert!(!server.is_finished());

    drop(files);
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    shutdown.begin("test");
    server.await.unwrap();
}
