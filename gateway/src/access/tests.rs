use super::*;
use crate::keys::KeyFile;
use crate::store::Uid;

fn parts(method: Method, uri: &str, headers: &[(&str, &str)]) -> http::Request<()> {
    let request = Request::builder().method(method).uri(uri);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap()
}

fn access(required: bool) -> (Access, String, Sealer) {
    let directory = tempfile::tempdir().unwrap();
    let file = KeyFile::new(directory.path());
    let (_, key) = file.create("test", "call".parse().unwrap(), now(), None).unwrap();
    let keys = Arc::new(file.list().unwrap().into_iter().collect());
    let sealer = Sealer::new(&[7; 32], None);
    (Access::new(required, true, keys, sealer.clone()), key.reveal().to_owned(), sealer)
}

#[test]
fn a_key_is_taken_from_headers_and_on_streams_from_the_query() {
    let (access, key, _) = access(true);
    let known = |request: &http::Request<()>| matches!(access.judge(request), Verdict::Known(_));
    assert!(known(&parts(Method::POST, "/mcp", &[("authorization", &format!("bearer {key}"))])));
    assert!(known(&parts(Method::POST, "/mcp", &[("x-api-key", &key)])));
    let by_query = |uri: &str| access.judge(&parts(Method::GET, uri, &[]));
    assert!(matches!(by_query(&format!("/x/sse?api_key={key}")), Verdict::ByQuery(_)));
    assert_eq!(by_query(&format!("/servers?api_key={key}")), Verdict::Nothing);
    assert_eq!(by_query("/sse?api_key=wrong"), Verdict::Invalid);
    assert_eq!(access.judge(&parts(Method::GET, "/sse", &[("authorization", "Basic x")])), Verdict::Invalid);
}

#[test]
fn a_pass_is_good_for_posting_messages_of_a_known_key_only() {
    let (access, key, sealer) = access(true);
    let principal = access.verify(&key).unwrap().hash();
    let seal = |kind, principal| {
        let (server, instance, session) = ("s".to_owned(), Uid::from_bytes([1; 16]), "x".to_owned());
        sealer.seal(&Handle { kind, server, instance, session, principal })
    };
    let judge =
        |method, path: &str, handle: &str| access.judge(&parts(method, &format!("{path}?sessionId={handle}"), &[]));
    let pass = seal(Kind::SsePass, principal);
    assert_eq!(judge(Method::POST, "/s/message", &pass), Verdict::Pass(principal));
    assert_eq!(judge(Method::POST, "/deploy", &pass), Verdict::Nothing);
    assert_eq!(judge(Method::GET, "/s/sse", &pass), Verdict::Nothing);
    assert_eq!(judge(Method::POST, "/s/message", &seal(Kind::Sse, principal)), Verdict::Nothing);
    let revoked = seal(Kind::SsePass, PrincipalHash::from_bytes([9; 16]));
    assert_eq!(judge(Method::POST, "/s/message", &revoked), Verdict::Nothing);
}
