//! The aggregated tools/list of many servers, against the same bytes sent from memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::sleep;

use crate::era::Era;
use crate::fleet::Setup;
use crate::http::MediaType;
use crate::load::as_f64;
use crate::process::Process;
use crate::report::{Bound, Findings};
use crate::session::{Answer, Endpoint, Session};
use crate::stats::{Estimate, median};
use crate::target::ours::{self, Mode};
use crate::target::{floor, free_addr};

use super::{Plan, progress};

/// How long all servers may take to be listed.
const LIMIT: Duration = Duration::from_secs(60);

/// The id of every request: the server from memory answers always the same.
const ID: u64 = 7;

const REQUEST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{}}"#;

pub(crate) async fn list(setup: &Setup, plan: &Plan) -> anyhow::Result<Findings> {
    progress("aggregated tools/list");
    let mut findings = Findings::default();
    if let Err(why) = measure(setup, plan, &mut findings).await {
        findings.unmeasured("aggregated tools/list", &why);
    }
    Ok(findings)
}

async fn measure(setup: &Setup, plan: &Plan, findings: &mut Findings) -> anyhow::Result<()> {
    let entry = ours::server(&setup.echo, Mode::Shared, Era::Legacy, plan.tools);
    let servers: BTreeMap<_, _> =
        (0..plan.servers).map(|number| (format!("server{number:02}"), entry.clone())).collect();
    let addr = free_addr()?;
    let mut gateway = Process::start("gateway", ours::gateway_command(setup, addr, &servers)?, setup.folder())?;
    let endpoint = Endpoint::streamable(addr, "/mcp");
    let whole = usize::from(plan.servers) * usize::from(plan.tools);
    let (mut aggregate, answer, media_type) = whole_list(&endpoint, &mut gateway, whole).await?;
    let (_memory, endpoint) = from_memory(setup, &answer, media_type)?;
    let mut memory = connect(&endpoint).await?;
    let mut ratios = Vec::new();
    let mut times = Vec::new();
    for round in 0..plan.rounds {
        let (ours, theirs) = if round % 2 == 0 {
            let ours = p50(&mut aggregate, &answer, plan).await?;
            (ours, p50(&mut memory, &answer, plan).await?)
        } else {
            let theirs = p50(&mut memory, &answer, plan).await?;
            (p50(&mut aggregate, &answer, plan).await?, theirs)
        };
        ratios.push(ours / theirs);
        times.push(ours);
    }
    let name =
        format!("p50 of the aggregated tools/list ({} servers × {} tools) / from memory", plan.servers, plan.tools);
    findings.figure(name, "×", Estimate::of(&ratios), Some(Bound::AtMost(1.3)));
    findings.figure("p50 of the aggregated tools/list", "µs", Estimate::of(&times), None);
    findings.figure("size of its first page", "KiB", Some(Estimate::exact(as_f64(answer.len() as u64) / 1024.0)), None);
    Ok(())
}

/// Waits until all tools are listed; returns a warm session and its answer to the first page.
async fn whole_list(
    endpoint: &Endpoint,
    gateway: &mut Process,
    whole: usize,
) -> anyhow::Result<(Session, Bytes, MediaType)> {
    let started = Instant::now();
    loop {
        gateway.check()?;
        if let Ok(mut session) = Session::open(endpoint).await {
            let first = session.request(ID, REQUEST.as_bytes()).await?;
            let Session::Streamable(streamable) = &session else {
                anyhow::bail!("the aggregate is no Streamable HTTP endpoint")
            };
            let media_type = streamable.media_type();
            if count(&mut session, &first).await? == whole {
                return Ok((session, first, media_type));
            }
        }
        ensure!(
            started.elapsed() < LIMIT,
            "not all {whole} tools are listed; the gateway's log ends: {}",
            gateway.last_words()
        );
        sleep(Duration::from_millis(100)).await;
    }
}

/// A connection to the server from memory, which knows nothing of handshakes, as soon as it listens.
async fn connect(endpoint: &Endpoint) -> anyhow::Result<Session> {
    let started = Instant::now();
    loop {
        match Session::connect(endpoint).await {
            Err(_) if started.elapsed() < LIMIT => sleep(Duration::from_millis(10)).await,
            outcome => return outcome,
        }
    }
}

/// How many tools there are on this page and all that follow.
async fn count(session: &mut Session, first: &Bytes) -> anyhow::Result<usize> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        tools: Vec<Box<RawValue>>,
        next_cursor: Option<String>,
    }
    let mut page: Page =
        serde_json::from_str(Answer::parse(first)?.result()?).context("the list is not a list of tools")?;
    let mut count = page.tools.len();
    while let Some(cursor) = page.next_cursor {
        let request = format!(
            r#"{{"jsonrpc":"2.0","id":{ID},"method":"tools/list","params":{{"cursor":{}}}}}"#,
            serde_json::to_string(&cursor)?
        );
        let answer = session.request(ID, request.as_bytes()).await?;
        page = serde_json::from_str(Answer::parse(&answer)?.result()?)?;
        count += page.tools.len();
    }
    Ok(count)
}

/// A plain server that answers with the very bytes, in the same form.
fn from_memory(setup: &Setup, answer: &Bytes, media_type: MediaType) -> anyhow::Result<(Process, Endpoint)> {
    let file = setup.fresh_folder("memory")?.join("answer");
    let body = match media_type {
        MediaType::EventStream => [b"event: message\ndata: ", &answer[..], b"\n\n"].concat(),
        MediaType::Json | MediaType::Other => answer.to_vec(),
    };
    std::fs::write(&file, body).context("cannot write the answer to be sent from memory")?;
    let addr = free_addr()?;
    let process = floor::memory(setup, &addr.to_string(), &file, media_type.name())?;
    Ok((process, Endpoint::streamable(addr, "/mcp")))
}

/// The median time of a list in µs; each answer must be the same bytes.
async fn p50(session: &mut Session, expected: &Bytes, plan: &Plan) -> anyhow::Result<f64> {
    let end = Instant::now() + Duration::from_secs_f64(plan.seconds / 2.0);
    let mut times = Vec::new();
    while Instant::now() < end || times.is_empty() {
        let sent = Instant::now();
        let answer = session.request(ID, REQUEST.as_bytes()).await?;
        times.push(sent.elapsed().as_secs_f64() * 1e6);
        ensure!(answer == expected, "the list has changed while it was measured");
    }
    median(times).context("nothing was measured")
}
