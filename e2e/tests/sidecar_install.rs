//! `mcp-sidecar exec --install`: packages are installed by a launcher of their own, before the one that runs the server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::client::{Client, HttpClient};
use e2e::harness::{Bin, Launch, Program, Sidecar};
use e2e::http::http;
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long what is to end may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A package manager that brings the fixture, or fails for as long as there is a file `fail`.
const UV: &str = r#"#!/bin/sh
echo "uv $*" >> "$POD/calls"
case $1 in
venv) for directory; do :; done; mkdir -p "$directory/bin" ;;
pip)
    echo "Resolved 1 package" >&2
    while [ -e "$POD/wait" ]; do sleep 0.1; done
    if [ -e "$POD/fail" ]; then echo "no solution found" >&2; exit 2; fi
    while [ "$1" != --python ]; do shift; done
    mkdir -p "$2/lib/python3/site-packages/fake_server-1.0.dist-info"
    ln -s "$FIXTURE" "$2/bin/fake-server"
    ;;
esac
"#;

/// The same, where nothing was installed.
const UVX: &str = r#"#!/bin/sh
exec "$FIXTURE"
"#;

/// What the containers of a pod share, and the programs of the server's image.
struct Pod(TempDir);

impl Pod {
    fn new() -> Result<Self> {
        let pod = Self(tempfile::tempdir()?);
        fs::create_dir(pod.path("bin"))?;
        for (name, text) in [("uv", UV), ("uvx", UVX)] {
            let file = pod.path("bin").join(name);
            fs::write(&file, text)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
        Ok(pod)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn socket(&self) -> String {
        format!("unix:{}", self.text("launcher.sock"))
    }

    async fn sidecar(&self) -> Result<Sidecar> {
        self.sidecar_of(&["uvx", "fake-server"]).await
    }

    async fn sidecar_of(&self, command: &[&str]) -> Result<Sidecar> {
        let (socket, cache, lock) = (self.socket(), self.text("cache"), self.text("lock.json"));
        let flags = ["--launcher", &socket, "--cache-dir", &cache, "--package-lock", &lock];
        Sidecar::start(&flags, command).await
    }

    fn launcher(&self, flags: &[&str]) -> Result<Program> {
        self.launcher_with(&format!("{}:/usr/bin:/bin", self.text("bin")), flags)
    }

    fn launcher_with(&self, path: &str, flags: &[&str]) -> Result<Program> {
        let launch = Launch::new(Bin::Sidecar)?.args(["exec", "--connect", &self.socket()]).args(flags.iter().copied());
        let launch = launch.env("UV_NO_INDEX", "1").env("UV_PYTHON_DOWNLOADS", "never");
        launch.env("PATH", path).env("POD", &self.text("")).env("FIXTURE", &Bin::Fixture.text()?).spawn()
    }

    fn installer(&self) -> Result<Program> {
        self.launcher(&["--install"])
    }

    fn calls(&self) -> Vec<String> {
        fs::read_to_string(self.path("calls")).unwrap_or_default().lines().map(ToOwned::to_owned).collect()
    }
}

async fn status(sidecar: &Sidecar) -> Result<Value> {
    http("GET", &sidecar.url("/status"), &[], "").await?.expect(200)?.json()
}

async fn phase(sidecar: &Sidecar, phase: &str) -> Result<Value> {
    let look = async || status(sidecar).await.ok().filter(|status| status["phase"] == phase);
    eventually(PATIENCE, format!("the phase {phase}"), look).await
}

async fn ended(installer: &mut Program) -> Result<Option<i32>> {
    Ok(installer.wait(PATIENCE).await?.code())
}

/// The program of a session's process, and its parent.
async fn process(sidecar: &Sidecar) -> Result<(String, i32)> {
    let client = HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await?;
    let pid: i32 = client.tool_text("pid", json!({})).await?.parse()?;
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)).context("no parent")?;
    Ok((arguments.split('\0').next().unwrap_or_default().to_owned(), parent.parse()?))
}

fn is_below(path: &str, folder: &Path) -> bool {
    Path::new(path).starts_with(folder)
}

#[tokio::test]
async fn the_installer_installs_and_the_server_runs_from_there() {
    let pod = Pod::new().unwrap();
    fs::write(pod.path("wait"), "").unwrap();
    let sidecar = pod.sidecar().await.unwrap();
    let mut installer = pod.installer().unwrap();
    let status = phase(&sidecar, "installing").await.unwrap();
    assert!(status["message"].as_str().unwrap().starts_with("installing fake-server"), "{status}");
    let logs = async || {
        let logs = http("GET", &sidecar.url("/logs"), &[], "").await.ok()?.text();
        logs.contains("Resolved 1 package").then_some(())
    };
    eventually(PATIENCE, "the installer's words in the log", logs).await.unwrap();
    fs::remove_file(pod.path("wait")).unwrap();
    assert_eq!(ended(&mut installer).await.unwrap(), Some(0));
    let server = pod.launcher(&[]).unwrap();
    let status = phase(&sidecar, "ready").await.unwrap();
    assert_eq!(status["packages"], json!(["fake_server==1.0"]));
    assert_eq!(status["lock"]["content"], "fake_server==1.0\n");
    assert_eq!(status["lock"]["key"].as_str().unwrap().len(), 64);
    let (program, parent) = process(&sidecar).await.unwrap();
    assert!(is_below(&program, &pod.path("cache")), "{program}");
    assert_eq!(parent, server.pid());
    assert!(pod.calls()[1].contains("--compile-bytecode fake-server"), "{:?}", pod.calls());
    assert!(installer.census().processes.is_empty());
}

#[tokio::test]
async fn an_installation_that_fails_is_tried_again_and_says_why() {
    let pod = Pod::new().unwrap();
    fs::write(pod.path("fail"), "").unwrap();
    let sidecar = pod.sidecar().await.unwrap();
    let mut installer = pod.installer().unwrap();
    let status = phase(&sidecar, "failing").await.unwrap();
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("fake-server cannot be installed: "), "{message}");
    assert!(message.contains("no solution found") && message.contains("uv exit status: 2"), "{message}");
    let again = async || (pod.calls().len() > 3).then_some(());
    eventually(PATIENCE, "another attempt", again).await.unwrap();
    fs::remove_file(pod.path("fail")).unwrap();
    assert_eq!(ended(&mut installer).await.unwrap(), Some(0));
    let _server = pod.launcher(&[]).unwrap();
    phase(&sidecar, "ready").await.unwrap();
}

#[tokio::test]
async fn without_an_installer_the_command_runs_as_it_stands() {
    let pod = Pod::new().unwrap();
    let sidecar = pod.sidecar().await.unwrap();
    let server = pod.launcher(&[]).unwrap();
    let status = phase(&sidecar, "ready").await.unwrap();
    assert_eq!((&status["packages"], &status["lock"]), (&json!([]), &Value::Null));
    let (program, parent) = process(&sidecar).await.unwrap();
    assert_eq!((program, parent), (Bin::Fixture.text().unwrap(), server.pid()));
    assert!(pod.calls().is_empty());
}

#[tokio::test]
async fn what_is_installed_serves_a_sidecar_that_starts_anew_and_an_installer_is_sent_away() {
    let pod = Pod::new().unwrap();
    let mut sidecar = pod.sidecar().await.unwrap();
    let mut installer = pod.installer().unwrap();
    assert_eq!(ended(&mut installer).await.unwrap(), Some(0));
    let calls = pod.calls().len();
    sidecar.kill().await.unwrap();
    // What the operator makes of the status: the same again.
    let sidecar = pod.sidecar().await.unwrap();
    let mut installer = pod.installer().unwrap();
    assert_eq!(ended(&mut installer).await.unwrap(), Some(0));
    let _server = pod.launcher(&[]).unwrap();
    phase(&sidecar, "ready").await.unwrap();
    assert!(is_below(&process(&sidecar).await.unwrap().0, &pod.path("cache")));
    assert_eq!(pod.calls().len(), calls);
}

#[tokio::test]
async fn a_lock_that_fits_is_installed_exactly_and_one_that_does_not_is_passed_over() {
    let pod = Pod::new().unwrap();
    let key = {
        let sidecar = pod.sidecar().await.unwrap();
        let mut installer = pod.installer().unwrap();
        assert_eq!(ended(&mut installer).await.unwrap(), Some(0));
        status(&sidecar).await.unwrap()["lock"]["key"].clone()
    };
    for (key, content, installs) in [
        (&key, "fake_server==1.0\n", None),
        (&json!("another"), "fake_server==0.9\n", None),
        (&key, "fake_server==0.9\n", Some("--no-deps --requirement")),
    ] {
        fs::write(pod.path("lock.json"), json!({"key": key, "content": content}).to_string()).unwrap();
        let before = pod.calls().len();
        let _sidecar = pod.sidecar().await.unwrap();
        let mut installer = pod.installer().unwrap();
        assert_eq!(ended(&mut installer).await.unwrap(), Some(0));
        let calls = pod.calls().split_off(before);
        match installs {
            None => assert!(calls.is_empty(), "{calls:?}"),
            Some(how) => {
                assert!(calls[1].contains(how), "{calls:?}");
                let file = calls[1].rsplit(' ').next().unwrap();
                assert_eq!(fs::read_to_string(file).unwrap(), content);
            }
        }
    }
}

#[tokio::test]
async fn an_installer_whose_sidecar_goes_has_failed_and_leaves_nothing_running() {
    let pod = Pod::new().unwrap();
    fs::write(pod.path("wait"), "").unwrap();
    let mut sidecar = pod.sidecar().await.unwrap();
    let mut installer = pod.installer().unwrap();
    let begun = async || (pod.calls().len() == 2).then_some(());
    eventually(PATIENCE, "the installation to begin", begun).await.unwrap();
    sidecar.kill().await.unwrap();
    assert_eq!(installer.wait(LIMIT).await.unwrap().code(), Some(1));
    assert!(installer.census().processes.is_empty(), "{}", installer.census());
}

/// Writes a package with one program, which becomes the fixture.
const WHEEL: &str = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/fake_server-1.0-py3-none-any.whl", "w") as wheel:
    info = "fake_server-1.0.dist-info/"
    wheel.writestr("fake_server.py", "import os\ndef main(): os.execv(os.environ['FIXTURE'], [__file__])\n")
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: fake-server\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "entry_points.txt", "[console_scripts]\nfake-server = fake_server:main\n")
    wheel.writestr(info + "RECORD", "fake_server.py,,\n")
"#;

#[tokio::test]
async fn the_real_uv_installs_a_package_and_then_exactly_what_its_lock_says() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|directory| directory.join("uv").is_file()) {
        // `make e2e` puts it there.
        return;
    }
    let path = path.to_string_lossy();
    let wheels = tempfile::tempdir().unwrap();
    let folder = wheels.path().to_string_lossy();
    let mut build = Launch::program("python3").args(["-c", WHEEL, &folder]).spawn().unwrap();
    assert_eq!(ended(&mut build).await.unwrap(), Some(0));
    let mut lock = Value::Null;
    for _ in 0..2 {
        let pod = Pod::new().unwrap();
        fs::write(pod.path("lock.json"), lock.to_string()).unwrap();
        let sidecar = pod.sidecar_of(&["uvx", "--find-links", &folder, "fake-server"]).await.unwrap();
        let mut installer = pod.launcher_with(&path, &["--install"]).unwrap();
        assert_eq!(ended(&mut installer).await.unwrap(), Some(0), "{}", status(&sidecar).await.unwrap());
        let _server = pod.launcher_with(&path, &[]).unwrap();
        let status = phase(&sidecar, "ready").await.unwrap();
        assert_eq!(status["packages"], json!(["fake_server==1.0"]));
        let directory = process(&sidecar).await.unwrap().0;
        assert!(is_below(&directory, &pod.path("cache")), "{directory}");
        let locked = Path::new(&directory).ancestors().any(|folder| folder.join("requirements.lock").exists());
        assert_eq!(locked, !lock.is_null());
        lock = status["lock"].clone();
    }
}
