//! What the documents say is true: their commands are run, their addresses asked for, their links followed, and the map of the
//! code is compared with the code.
//!
//! In README.md a block of `sh` is a script. One that comes to say `listening on` is a server, and stays until the next server is
//! started. Blocks of `sh cluster` are run by `cluster_readme.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use e2e::document::{Block, blocks, printed};
use e2e::eventually;
use e2e::harness::{Bin, Gateway, Launch, Program};
use e2e::http::http;
use serde_json::json;
use tempfile::TempDir;

/// How long a script may take: it may fetch packages.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where the scripts run: other ports than those written, the programs that belong to this test, a state directory of its own.
struct Place {
    gateway: u16,
    sidecar: u16,
    programs: PathBuf,
    state: TempDir,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_work_and_print_what_is_written() {
    let place = Place::new().unwrap();
    let mut server = None;
    for block in blocks(&read("README.md").unwrap(), "sh") {
        let at = format!("README.md, line {}", block.line);
        // The old server's port is wanted by the next.
        if starts_server(&block) {
            drop(server.take());
        }
        let running = place.run(&block).await.with_context(|| at.clone()).unwrap();
        assert_eq!(running.is_some(), starts_server(&block), "{at}");
        server = running.or(server);
    }
}

#[test]
fn every_example_is_used_by_a_command() {
    let scripts: String = blocks(&read("README.md").unwrap(), "sh").into_iter().map(|block| block.script).collect();
    // The first is what `make run` serves, the others are applied by the tests on a cluster.
    let used = |name: &str| ["mcp.json", "kubernetes"].contains(&name) || scripts.contains(&format!("examples/{name}"));
    let unused: Vec<_> = names("examples").unwrap().into_iter().filter(|name| !used(name)).collect();
    assert!(unused.is_empty(), "no command in README.md uses {unused:?}");
    let tests = names("e2e/tests").unwrap().into_iter().filter(|name| name.starts_with("cluster"));
    let tests: String = tests.map(|name| read(&format!("e2e/tests/{name}")).unwrap()).collect();
    let names = names("examples/kubernetes").unwrap().into_iter();
    let unused: Vec<_> = names.filter(|name| !tests.contains(&format!("\"{name}\""))).collect();
    assert!(unused.is_empty(), "no test on a cluster applies {unused:?}");
}

#[tokio::test]
async fn every_address_takes_the_methods_that_the_table_says() {
    let config = json!({"mcpServers": {"name": {"command": Bin::Fixture.text().unwrap()}}});
    let gateway = Gateway::start(&config).await.unwrap();
    let readme = read("README.md").unwrap();
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | `/"));
    let mut checked = 0;
    for (methods, rest) in rows {
        let (addresses, _) = rest.split_once("` | ").unwrap();
        for address in addresses.split("`, `/") {
            // No address takes PUT, and each says what it takes instead.
            let url = gateway.url(&format!("/{}", address.replace("{name}", "name")));
            let answer = http("PUT", &url, &[], "").await.unwrap().expect(405).unwrap();
            let allowed: BTreeSet<_> = answer.header("allow").unwrap().split([',', ' ']).collect();
            let beside = ["", "HEAD", "OPTIONS"].into_iter().collect();
            assert_eq!(&allowed - &beside, methods.split(' ').collect(), "/{address}");
            checked += 1;
        }
    }
    assert!(checked > 15, "the table of addresses was not found");
}

#[test]
fn every_link_leads_to_something_there() {
    let documents = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "bench/README.md",
        "docs/compatibility.md",
        "docs/operations.md",
    ];
    let mut broken = Vec::new();
    for document in documents {
        let folder = repository().join(document).parent().unwrap().to_owned();
        let text = read(document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let there = file.contains("://")
                || (if file.is_empty() { has_heading(&text, heading) } else { folder.join(file).exists() });
            if !there {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn every_reason_of_a_condition_is_explained() {
    let guide = read("docs/operations.md").unwrap();
    let conditions = read("api/src/conditions.rs").unwrap();
    let reasons =
        conditions.lines().filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(": &str = \""));
    let reasons: Vec<_> =
        reasons.filter(|(name, _)| *name != "TYPE").map(|(_, text)| text.trim_end_matches("\";")).collect();
    assert!(reasons.len() > 30, "the reasons were not found");
    let missing: Vec<_> = reasons.into_iter().filter(|reason| !guide.contains(&format!("`{reason}`"))).collect();
    assert!(missing.is_empty(), "docs/operations.md does not explain {missing:?}");
}

#[test]
fn the_map_names_every_module_and_no_other() {
    let map = read("ARCHITECTURE.md").unwrap();
    for package in ["api", "mcp", "wire", "runtime", "sidecar", "gateway", "operator", "e2e", "bench"] {
        let section = map.split("\n### ").find(|section| section.starts_with(&format!("`{package}/`")));
        let section = section.unwrap_or_else(|| panic!("ARCHITECTURE.md has no section about {package}/"));
        let section = section.split("\n## ").next().unwrap();
        let named: BTreeSet<&str> =
            section.lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next()).collect();
        let library = read(&format!("{package}/src/lib.rs")).unwrap();
        let modules =
            library.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
        assert_eq!(
            named,
            modules.collect(),
            "the modules of {package}/, as ARCHITECTURE.md names them and as they are"
        );
    }
}

/// Whether a script is a server, which stays.
fn starts_server(block: &Block) -> bool {
    block.script.contains("make run") || block.script.contains(" serve ")
}

impl Place {
    fn new() -> Result<Self> {
        let port = || Ok::<_, std::io::Error>(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        let programs = Bin::Gateway.path()?.parent().context("the program is in no directory")?.to_owned();
        Bin::Sidecar.path()?;
        Ok(Self { gateway: port()?, sidecar: port()?, programs, state: tempfile::tempdir()? })
    }

    /// A text of the document, for this place.
    fn here(&self, text: &str) -> String {
        let programs = self.programs.to_string_lossy();
        let text = text.replace(":8080", &format!(":{}", self.gateway)).replace(":8000", &format!(":{}", self.sidecar));
        // It runs this test: only what it would do is looked up.
        text.replace("target/release", &programs).replace("make test", "make --dry-run test")
    }

    /// Runs a script to its end, or until it says that it listens; then it is returned.
    async fn run(&self, block: &Block) -> Result<Option<Program>> {
        let listen = format!("127.0.0.1:{}", self.gateway);
        let root = repository().canonicalize()?;
        let script = format!("cd '{}'\neval \"$(hack/tools env)\"\n{}", root.display(), self.here(&block.script));
        let mut program = Launch::program("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .env("LISTEN", &listen)
            .env("MCP_LISTEN", &listen)
            .env("XDG_STATE_HOME", &self.state.path().to_string_lossy())
            .env("BIN", &self.programs.to_string_lossy())
            .spawn()?;
        let mut status = None;
        let look = async || {
            status = program.wait(Duration::ZERO).await.ok();
            let output = program.output();
            let listens = output.contains("listening on ") && printed(&self.here(&block.output), &output);
            (status.is_some() || listens).then_some(())
        };
        let outcome = eventually(PATIENCE, "the script to end, or to listen", look).await;
        let output = program.output();
        let told = || format!("{}\nprinted: {output}\nand: {}", block.script, program.logs());
        outcome.with_context(told)?;
        match status {
            None => Ok(Some(program)),
            Some(status) => {
                ensure!(status.success(), "{status} of {}", told());
                // What it printed last may still be on its way through the pipe.
                let printed = async || printed(&self.here(&block.output), &program.output()).then_some(());
                let expected = || format!("expected: {}\nof {}", block.output, told());
                eventually(PATIENCE, "its output", printed).await.with_context(expected)?;
                Ok(None)
            }
        }
    }
}

/// Whether a heading has this anchor.
fn has_heading(document: &str, anchor: &str) -> bool {
    let anchors = document.lines().filter(|line| line.starts_with('#')).map(|line| {
        let text = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect::<String>()
    });
    anchors.into_iter().any(|it| it == anchor)
}

/// What is in a folder of the repository.
fn names(folder: &str) -> Result<Vec<String>> {
    let files = repository().join(folder).read_dir()?;
    files.map(|file| file?.file_name().into_string().map_err(|name| anyhow!("{} is no text", name.display()))).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(repository().join(path)).with_context(|| format!("cannot read {path}"))
}
