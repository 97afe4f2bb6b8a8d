use super::*;

#[test]
fn a_redirects_target_is_named_without_what_may_be_secret() {
    for (location, name) in [
        ("https://b.example:8443/other?token=x", "https://b.example:8443/other"),
        ("https://me:pass@b.example/other", "https://b.example/other"),
        ("https://b.example/s3cret/mcp", "https://b.example and the same path, without a slash at its end"),
        ("/s3cret/mcp/", "the same path, with a slash at its end"),
        ("/login?next=s3cret", "/login"),
        ("::", "an address that cannot be read"),
    ] {
        let (location, path) = (HeaderValue::from_static(location), PathAndQuery::from_static("/s3cret/mcp?key=x"));
        assert_eq!(describe_target(&location, &path), name);
    }
}
