//! How containers and processes ended.

use api::status::{LastExit, MAX_STDERR_LINE, MAX_STDERR_LINES};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::{cut, pods};
use crate::probe::Exit;

/// What the code of a container is that a signal ended: this and the signal's number.
const BY_SIGNAL: i32 = 128;
/// How many of a container's last lines a message quotes.
const QUOTED: usize = 4;
/// How much of such a line it quotes, in characters.
const QUOTED_LINE: usize = 300;

/// The newest end of a container, unless it has done what it was there for.
pub(super) fn bad(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let mut ends = [&container.state, &container.last_state].into_iter().flatten();
    let newest = ends.find_map(|state| state.terminated.as_ref())?;
    Some(newest).filter(|ended| ended.exit_code != 0)
}

/// Whether the kernel ended it because it had used too much memory.
pub(super) fn is_out_of_memory(ended: &ContainerStateTerminated) -> bool {
    ended.reason.as_deref() == Some("OOMKilled")
}

/// What happened, for people: `exited with code 3; its last words: …`.
pub(super) fn describe(ended: &ContainerStateTerminated) -> String {
    let how = match signal(ended) {
        Some(signal) => format!("was ended by signal {signal}"),
        None => format!("exited with code {}", ended.exit_code),
    };
    let lines = lines(ended);
    let last = &lines[lines.len().saturating_sub(QUOTED)..];
    if last.is_empty() {
        return how;
    }
    let words: Vec<_> = last.iter().map(|line| cut(line, QUOTED_LINE)).collect();
    format!("{how}; its last words: {}", words.join(" | "))
}

/// The last exit of all: of the server's processes as sidecars tell it, or of a container.
pub(super) fn last<'a>(
    of_processes: impl Iterator<Item = &'a Exit>,
    pods: impl Iterator<Item = &'a Pod>,
) -> Option<LastExit> {
    let of_process = |exit: &Exit| {
        let skipped = exit.stderr_tail.len().saturating_sub(MAX_STDERR_LINES);
        LastExit {
            code: exit.code,
            signal: exit.signal,
            out_of_memory: exit.out_of_memory,
            time: i64::try_from(exit.time).ok().and_then(|time| Timestamp::from_second(time).ok()).map(Time),
            stderr_tail: exit.stderr_tail.iter().skip(skipped).map(|line| cut(line, MAX_STDERR_LINE)).collect(),
        }
    };
    let staying = pods.filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let of_containers = staying.flat_map(pods::containers).filter_map(bad).map(of_container);
    // Of the same second the container's is the later one: it takes its processes along.
    of_processes.map(of_process).chain(of_containers).max_by_key(|exit| exit.time.as_ref().map(|time| time.0))
}

fn of_container(ended: &ContainerStateTerminated) -> LastExit {
    let signal = signal(ended);
    let lines = lines(ended);
    let skipped = lines.len().saturating_sub(MAX_STDERR_LINES);
    LastExit {
        code: signal.is_none().then_some(ended.exit_code),
        signal,
        out_of_memory: is_out_of_memory(ended),
        time: ended.finished_at.clone(),
        stderr_tail: lines.into_iter().skip(skipped).map(|line| cut(line, MAX_STDERR_LINE)).collect(),
    }
}

/// The signal that ended it. Runtimes say so in the code only.
fn signal(ended: &ContainerStateTerminated) -> Option<i32> {
    let by_code = Some(ended.exit_code - BY_SIGNAL).filter(|signal| (1..=64).contains(signal));
    ended.signal.filter(|signal| *signal > 0).or(by_code)
}

/// The end of its log, which Kubernetes keeps where a container fails.
fn lines(ended: &ContainerStateTerminated) -> Vec<&str> {
    ended.message.as_deref().unwrap_or_default().lines().filter(|line| !line.trim().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended(state: &serde_json::Value) -> ContainerStateTerminated {
        serde_json::from_value(state.clone()).unwrap()
    }

    #[test]
    fn an_end_is_told_with_code_or_signal_and_the_last_lines() {
        for (state, expected) in [
            (json!({"exitCode": 3}), "exited with code 3"),
            (json!({"exitCode": 137}), "was ended by signal 9"),
            (json!({"exitCode": 1, "signal": 15}), "was ended by signal 15"),
            (json!({"exitCode": 255}), "exited with code 255"),
            (json!({"exitCode": 2, "message": "a\n\nb\n"}), "exited with code 2; its last words: a | b"),
            (json!({"exitCode": 2, "message": "1\n2\n3\n4\n5"}), "exited with code 2; its last words: 2 | 3 | 4 | 5"),
        ] {
            assert_eq!(describe(&ended(&state)), expected, "{state}");
        }
    }

    #[test]
    fn the_last_exit_is_the_newest_of_processes_and_containers() {
        let process = |time| Exit { code: Some(3), time, stderr_tail: vec!["words".to_owned()], ..Exit::default() };
        let pod = |finished: &str| -> Pod {
            let state = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": finished}});
            let container = json!({"name": "server", "image": "i", "imageID": "", "ready": false, "restartCount": 1,
                "lastState": state});
            serde_json::from_value(json!({"metadata": {}, "status": {"containerStatuses": [container]}})).unwrap()
        };
        let told = |process: &Exit, pod: &Pod| {
            let exit = last([process].into_iter(), [pod].into_iter()).unwrap();
            (exit.code, exit.signal, exit.out_of_memory)
        };
        let at_ten = pod("1970-01-01T00:00:10Z");
        assert_eq!(told(&process(11), &at_ten), (Some(3), None, false));
        assert_eq!(told(&process(10), &at_ten), (None, Some(9), true));
        assert_eq!(last([].into_iter(), [].into_iter()), None);
    }
}
