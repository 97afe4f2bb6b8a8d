//! Having an installation carried out, and telling how far it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use mcp::json::Rope;
use wire::child::launcher::LaunchError;
use wire::child::{Child, Exit, Program, spawn};
use wire::link::{Event, Link as _};
use wire::logbook::Logbook;
use wire::status::Phase;

use super::masked;
use super::plan::Plan;
use crate::source::Spawner;
use crate::state::State;

/// How many lines of a failed installation its error quotes: half of them the first, half the last.
const QUOTED: usize = 8;
/// How much of a line it quotes, in characters.
const LINE_CHARS: usize = 300;
/// How often is told how far it is.
const TICK: Duration = Duration::from_secs(1);
/// The hidden command of this program that does it.
const COMMAND: &str = "install";

/// An installation.
pub(super) struct Installation<'a> {
    /// The package, for people.
    pub(super) package: &'a str,
    /// What it is for: its environment is the installation's, its log gets what is said.
    pub(super) program: &'a Program,
    /// How long it may take.
    pub(super) limit: Duration,
    pub(super) state: &'a State,
}

impl Installation<'_> {
    /// Carries `plan` out where `spawner` starts processes.
    pub(super) async fn run(&self, plan: &Plan, spawner: &Spawner) -> Result<(), String> {
        let plan = serde_json::to_string(plan).map_err(|error| format!("the installation cannot be told: {error}"))?;
        let book = Logbook::default();
        let child = self.start(spawner, &book).await?;
        let done = tokio::time::timeout(self.limit, self.follow(child, plan, &book)).await;
        done.unwrap_or_else(|_| {
            Err(format!(
                "installing {} took longer than {} s; a longer `installTimeout` gives it more time",
                self.package,
                self.limit.as_secs()
            ))
        })
    }

    async fn start(&self, spawner: &Spawner, book: &Logbook) -> Result<Child, String> {
        let own = self.program.wrapper.first().map(PathBuf::from).unwrap_or_default();
        let args = vec![COMMAND.into()];
        let program = Program { program: own, args, logbook: book.clone(), ..self.program.clone() };
        match spawner {
            Spawner::Here => spawn(&program).map_err(|error| format!("cannot install {}: {error}", self.package)),
            Spawner::Launcher(launcher) => {
                launcher.install(&program).await.map_err(|error: LaunchError| error.to_string())
            }
        }
    }

    /// Waits for the end, and tells what is said until then.
    async fn follow(&self, mut child: Child, plan: String, book: &Logbook) -> Result<(), String> {
        child.send(Rope::from(bytes::Bytes::from(plan)));
        let (mut said, mut position, began) = (Said::default(), 0, Instant::now());
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = child.next() => if matches!(event, Event::Lost(_)) { break },
                (lines, next) = book.after(position) => {
                    position = next;
                    self.note(&mut said, &lines);
                }
                _ = tick.tick() => self.state.phase(Phase::Installing, said.progress(self.package, began)),
            }
        }
        if let Some((lines, _)) = book.after(position).now_or_never() {
            self.note(&mut said, &lines);
        }
        let (package, quoted) = (self.package, said.quoted.join(" | "));
        match child.exit().unwrap_or_default() {
            Exit { code: Some(0), .. } => Ok(()),
            exit @ Exit { out_of_memory: true, .. } => Err(format!("the installation of {package} {exit}: {quoted}")),
            Exit { code: Some(_), .. } => Err(format!("{package} cannot be installed: {quoted}")),
            exit @ Exit { signal: Some(_), .. } => Err(format!("the installation of {package} {exit}: {quoted}")),
            _ => Err(format!("the installation of {package} was lost with the launcher that ran it")),
        }
    }

    fn note(&self, said: &mut Said, lines: &[Arc<str>]) {
        lines.iter().filter(|line| said.takes(line)).for_each(|line| self.program.logbook.push(&masked(line)));
    }
}

/// What the commands have said so far.
#[derive(Debug, Default)]
struct Said {
    fetched: usize,
    quoted: Vec<String>,
}

impl Said {
    /// Takes a line; whether it is worth to be read by people.
    fn takes(&mut self, line: &str) -> bool {
        if is_download(line) {
            self.fetched += 1;
            return false;
        }
        self.quoted.push(masked(line.trim()).chars().take(LINE_CHARS).collect());
        // npm names the cause first, uv last.
        if self.quoted.len() > QUOTED {
            self.quoted.remove(QUOTED / 2);
        }
        true
    }

    fn progress(&self, package: &str, began: Instant) -> String {
        let fetched = if self.fetched > 0 { format!("{} downloads, ", self.fetched) } else { String::new() };
        format!("installing {package} ({fetched}{} s)", began.elapsed().as_secs())
    }
}

/// Lines that npm and uv write for each download; they name hosts, which are nobody's business.
fn is_download(line: &str) -> bool {
    line.starts_with("npm http ") || line.trim_start().starts_with("Downloading ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_are_counted_and_of_the_rest_the_first_and_the_last_lines_are_quoted() {
        let mut said = Said::default();
        assert!(!said.takes("npm http fetch GET 200 https://registry.example/p 10ms"));
        assert!(!said.takes("  Downloading pydantic-core (2.0MiB)"));
        for number in 0..100 {
            assert!(said.takes(&format!("line {number}")));
        }
        let expected = ["line 0", "line 1", "line 2", "line 3", "line 96", "line 97", "line 98", "line 99"];
        assert_eq!(said.quoted, expected);
        assert_eq!(said.progress("p", Instant::now()), "installing p (2 downloads, 0 s)");
    }
}
