//! Packages that cannot be fetched: nobody answers, or the registry does not know them.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use e2e::client::HttpClient;
use e2e::harness::{Gateway, Launch, fixture};
use e2e::http::http;
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Whether the program is on this test's PATH; `make e2e` puts it there.
fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "`make e2e` puts `{program}` on the PATH");
        // Nothing is left to do when stderr is closed.
        let _ = writeln!(std::io::stderr(), "skipped: `{program}` is not on the PATH; `make e2e` installs it");
    }
    found
}

/// A server of each runner that takes packages from `registry` and keeps nothing of this user's.
fn servers(registry: &str, caches: &Path) -> Value {
    let cache = |name: &str| caches.join(name);
    let uv = json!({"UV_DEFAULT_INDEX": format!("{registry}/simple"), "UV_CACHE_DIR": cache("uv"), "UV_HTTP_RETRIES": "0", "UV_PYTHON_DOWNLOADS": "never"});
    let npm =
        json!({"npm_config_registry": registry, "npm_config_cache": cache("npm"), "npm_config_fetch_retries": "0"});
    json!({
        "python": {"command": "uvx", "args": ["no-such-mcp-server"], "env": uv},
        "node": {"command": "npx", "args": ["-y", "no-such-mcp-server"], "env": npm},
        "other": fixture(&[]),
    })
}

/// Deploys servers of `registry` and sees that each of the two says one of `says`, for itself and to clients.
async fn cannot_be_fetched(registry: &str, says: &[&str]) -> Result<()> {
    let caches = tempfile::tempdir()?;
    let cache = caches.path().join("packages");
    let prepare = |launch: Launch| launch.env("MCP_CACHE_DIR", &cache.to_string_lossy());
    let gateway = Gateway::start_with("{}", prepare).await?;
    let body = json!({"mcpServers": servers(registry, caches.path())}).to_string();
    let answer = http("POST", &gateway.url("/deploy"), &[("content-type", "application/json")], body).await?;
    assert_eq!(answer.expect(200)?.json()?["summary"]["deployed"], 3);
    HttpClient::connect(&gateway.url("/other/mcp"), "2025-11-25").await?;
    for name in ["python", "node"] {
        let server = gateway.wait_status(name, "failing").await?;
        let message = server["message"].as_str().unwrap_or_default();
        assert!(message.contains("no-such-mcp-server cannot be installed"), "{message}");
        assert!(says.iter().any(|part| message.contains(part)), "{message}");
        let refused = async || HttpClient::connect(&gateway.url(&format!("/{name}/mcp")), "2025-11-25").await.err();
        let error = format!("{:#}", eventually(PATIENCE, "an error", refused).await?);
        assert!(error.contains("no-such-mcp-server cannot be installed"), "{error}");
    }
    assert_eq!(gateway.server("other").await?["status"], "ready");
    Ok(())
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached_is_told_and_delays_nobody() {
    if !have("uvx") || !have("npx") {
        return;
    }
    // A port that was free a moment ago: nobody listens there.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    cannot_be_fetched(&format!("http://{closed}"), &["Connection refused", "ECONNREFUSED"]).await.unwrap();
}

#[tokio::test]
async fn a_package_that_does_not_exist_is_told_by_name() {
    if !have("uvx") || !have("npx") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = format!("http://{}", listener.local_addr().unwrap());
    let serve = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            // What is asked for does not matter: there is nothing.
            let _ = stream.read(&mut request).await;
            let answer = "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    };
    tokio::select! {
        said = cannot_be_fetched(&registry, &["not found in the package registry", "404"]) => said.unwrap(),
        () = serve => {}
    }
}
