//! npm packages and their locks: the real npm, and a registry of one package.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::harness::{Bin, Launch, Sidecar};
use e2e::http::http;
use e2e::{PATIENCE, eventually};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How long npm may take to put a folder into an archive.
const PACK: Duration = Duration::from_secs(30);

/// A registry of `fake-server`, which becomes the fixture; it answers as long as it lives.
struct Registry {
    folder: TempDir,
    url: String,
    _task: JoinSet<()>,
}

impl Registry {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let mut task = JoinSet::new();
        let (path, base) = (folder.path().to_owned(), url.clone());
        task.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // npm says itself what it misses.
                let _ = answer(stream, &path, &base).await;
            }
        });
        Ok(Self { folder, url, _task: task })
    }

    /// Adds a version, which is the latest from then on.
    async fn publish(&self, version: &str) -> Result<()> {
        let source = tempfile::tempdir()?;
        let manifest = json!({"name": "fake-server", "version": version, "bin": "server.sh"});
        fs::write(source.path().join("package.json"), manifest.to_string())?;
        fs::write(source.path().join("server.sh"), "#!/bin/sh\nexec \"$FIXTURE\"\n")?;
        let folders = [self.folder.path(), source.path()].map(|path| path.to_string_lossy().into_owned());
        let pack = Launch::program("npm").args(["pack", "--pack-destination", &folders[0], &folders[1]]);
        let code = pack.spawn()?.wait(PACK).await?.code();
        ensure!(code == Some(0), "npm pack ended with {code:?}");
        Ok(())
    }
}

async fn answer(mut stream: TcpStream, folder: &Path, base: &str) -> Result<()> {
    let mut request = vec![0; 16 << 10];
    let length = stream.read(&mut request).await?;
    let head = String::from_utf8_lossy(&request[..length]);
    let path = head.split(' ').nth(1).context("a path")?.trim_start_matches('/');
    let body =
        if path == "fake-server" { packument(folder, base)?.to_string().into() } else { fs::read(folder.join(path))? };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    Ok(stream.write_all(&body).await?)
}

/// What a registry says of the package.
fn packument(folder: &Path, base: &str) -> Result<Value> {
    let mut versions = Map::new();
    for file in fs::read_dir(folder)? {
        let file = file?.file_name().to_string_lossy().into_owned();
        let version = file.trim_start_matches("fake-server-").trim_end_matches(".tgz").to_owned();
        let dist = json!({"tarball": format!("{base}/{file}")});
        let entry =
            json!({"name": "fake-server", "version": version, "bin": {"fake-server": "server.sh"}, "dist": dist});
        versions.insert(version, entry);
    }
    let latest = versions.keys().max().context("a version")?.clone();
    Ok(json!({"name": "fake-server", "dist-tags": {"latest": latest}, "versions": versions}))
}

/// What a sidecar says once it has installed the package as `lock` says into an empty folder, and runs it.
async fn installed(registry: &Registry, lock: &Value) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let text = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    fs::write(text("lock.json"), lock.to_string())?;
    let flags = ["--cache-dir", &text("packages"), "--package-lock", &text("lock.json")];
    let fixture = Bin::Fixture.text()?;
    let prepare = |launch: Launch| {
        launch.env("npm_config_registry", &registry.url).env("npm_config_cache", &text("npm")).env("FIXTURE", &fixture)
    };
    let sidecar = Sidecar::start_with(&flags, &["npx", "-y", "fake-server"], prepare).await?;
    let ready = async || {
        let status = http("GET", &sidecar.url("/status"), &[], "").await.ok()?.json().ok()?;
        (status["phase"] == "ready").then_some(status)
    };
    eventually(PATIENCE, "the package to be installed", ready).await
}

#[tokio::test]
async fn the_real_npm_installs_a_package_and_then_exactly_what_its_lock_says() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|directory| directory.join("npm").is_file()) {
        // `make e2e` puts it there.
        return;
    }
    let registry = Registry::start().await.unwrap();
    registry.publish("1.0.0").await.unwrap();
    let first = installed(&registry, &Value::Null).await.unwrap();
    assert_eq!(first["packages"], json!(["fake-server@1.0.0"]));
    registry.publish("2.0.0").await.unwrap();
    let locked = installed(&registry, &first["lock"]).await.unwrap();
    assert_eq!(locked["packages"], json!(["fake-server@1.0.0"]));
    let newest = installed(&registry, &Value::Null).await.unwrap();
    assert_eq!(newest["packages"], json!(["fake-server@2.0.0"]));
}
