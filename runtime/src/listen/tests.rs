use std::{fs, net::TcpListener as BlockingListener, os::unix::fs::PermissionsExt};

use tempfile::TempDir;

use super::*;

fn addr(text: &str) -> ListenAddr {
    text.parse().unwrap()
}

fn unix(directory: &TempDir, name: &str) -> ListenAddr {
    ListenAddr::Unix(directory.path().join(name))
}

fn bind_error(addr: &ListenAddr) -> String {
    addr.bind("--listen").unwrap_err().to_string()
}

#[test]
fn every_form_of_an_address_is_read_and_written_back() {
    for text in ["127.0.0.1:8000", "[::1]:0", ":8080", "0.0.0.0:80", "unix:/run/a:b.sock"] {
        assert_eq!(addr(text).to_string(), text);
    }
    assert_eq!(addr("localhost:8080").to_string(), "127.0.0.1:8080");
}

#[test]
fn what_is_no_address_is_refused_with_the_forms_that_are() {
    for text in ["", "8080", ":", ":99999", "::1:80", "example.org:80", "localhost", "unix:", "127.0.0.1"] {
        let error = text.parse::<ListenAddr>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("'{text}' is no address: write IP:PORT")), "{error}");
    }
}

#[test]
fn loopback_is_what_only_this_machine_reaches() {
    for text in ["127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1", "unix:/a"] {
        assert!(addr(text).is_loopback(), "{text}");
    }
    for text in [":1", "0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
        assert!(!addr(text).is_loopback(), "{text}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_reported_with_the_next_step() {
    let other = BlockingListener::bind("127.0.0.1:0").unwrap();
    let taken = ListenAddr::Tcp(other.local_addr().unwrap());
    let text = taken.bind("--admin").unwrap_err().to_string();
    assert_eq!(text, format!("address {taken} is in use by another program; choose another with --admin"));
}

#[tokio::test]
async fn an_address_of_another_machine_is_reported() {
    let text = bind_error(&addr("192.0.2.1:0"));
    assert!(text.contains("does not belong to this machine"), "{text}");
}

#[test]
fn a_privileged_port_is_reported() {
    for text in ["127.0.0.1:80", ":80"] {
        let problem = addr(text).problem(Errno::ACCESS.into());
        assert!(matches!(problem, BindProblem::PrivilegedPort), "{text}");
    }
    let problem = addr(":8080").problem(Errno::ACCESS.into());
    assert!(matches!(problem, BindProblem::Other(_)));
}

#[tokio::test]
async fn all_interfaces_take_ipv4_too() {
    let listener = addr(":0").bind("--listen").unwrap();
    let Ok(ListenAddr::Tcp(bound)) = listener.local_addr() else {
        panic!("a TCP listener has a TCP address");
    };
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, bound.port()));
    let (accepted, client) = tokio::join!(listener.accept(), client);
    assert!(matches!(accepted.unwrap().1, Peer::Tcp(_)));
    client.unwrap();
}

#[tokio::test]
async fn accepted_connections_inherit_the_options_of_the_listener() {
    let listener = addr("127.0.0.1:0").bind("--listen").unwrap();
    let ListenAddr::Tcp(bound) = listener.local_addr().unwrap() else {
        panic!("a TCP listener has a TCP address");
    };
    let (accepted, _client) = tokio::join!(listener.accept(), TcpStream::connect(bound));
    let Either::Left(stream) = accepted.unwrap().0 else {
        panic!("a TCP listener accepts TCP");
    };
    assert!(sockopt::tcp_nodelay(&stream).unwrap());
    assert!(sockopt::socket_keepalive(&stream).unwrap());
    assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), KEEPALIVE);
    assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), UNACKNOWLEDGED_MS);
}

#[tokio::test]
async fn a_unix_socket_is_for_this_user_only_and_goes_with_its_listener() {
    let directory = TempDir::new().unwrap();
    let listener = unix(&directory, "s").bind("--listen").unwrap();
    let path = directory.path().join("s");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn the_socket_of_a_dead_process_is_replaced() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves the file behind");
    let listener = unix(&directory, "s").bind("--listen").unwrap();
    let (accepted, client) = tokio::join!(listener.accept(), UnixStream::connect(&path));
    assert_eq!(accepted.unwrap().1, Peer::Unix);
    client.unwrap();
}

#[tokio::test]
async fn the_socket_of_a_live_process_is_refused_and_stays() {
    let directory = TempDir::new().unwrap();
    let live = unix(&directory, "s").bind("--listen").unwrap();
    let text = bind_error(&unix(&directory, "s"));
    assert!(text.contains("is in use by another program"), "{text}");
    assert!(directory.path().join("s").exists());
    drop(live);
}

#[tokio::test]
async fn a_socket_that_took_the_place_of_ours_stays() {
    let directory = TempDir::new().unwrap();
    let first = unix(&directory, "s").bind("--listen").unwrap();
    fs::remove_file(directory.path().join("s")).unwrap();
    let _second = unix(&directory, "s").bind("--listen").unwrap();
    drop(first);
    assert!(directory.path().join("s").exists());
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_refused_and_stays() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("s"), "precious").unwrap();
    let text = bind_error(&unix(&directory, "s"));
    assert!(text.contains("is a file, and not a socket"), "{text}");
    assert_eq!(fs::read(directory.path().join("s")).unwrap(), b"precious");
}

#[tokio::test]
async fn a_missing_directory_is_reported() {
    let directory = TempDir::new().unwrap();
    let text = bind_error(&unix(&directory, "missing/s"));
    assert!(text.contains("directory that does not exist"), "{text}");
}

#[tokio::test]
async fn a_path_may_have_107_bytes_and_no_more() {
    let directory = TempDir::new().unwrap();
    let room = unix::MAX_PATH - directory.path().as_os_str().len() - 1;
    let longest = unix(&directory, &"s".repeat(room));
    assert!(longest.bind("--listen").is_ok());
    let text = bind_error(&unix(&directory, &"s".repeat(room + 1)));
    assert!(text.contains("a path of 108 bytes, where 107 are possible"), "{text}");
}
