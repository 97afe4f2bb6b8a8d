use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use mcp::json::Rope;
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::link::{Event, Link as _};
use crate::logbook::Logbook;

fn pair() -> (Channel, Channel) {
    let (one, other) = UnixStream::pair().unwrap();
    (Channel::new(one), Channel::new(other))
}

fn program() -> Program {
    Program {
        name: "time".into(),
        wrapper: vec!["unused".into()],
        program: PathBuf::from("server"),
        args: vec!["--flag".into()],
        env: vec![("TOKEN".into(), "sk-12345".into())],
        directory: None,
        logbook: Logbook::default(),
        max_line: 1000,
    }
}

fn hello(role: Role) -> Report {
    Report::Hello { secrets: Hidden(vec!["inherited".into()]), role, own: "/mcp/own".into() }
}

/// A sidecar's side, and the launcher's that has said hello to it.
async fn connected() -> (Launcher, Channel, tokio::task::JoinHandle<io::Result<()>>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let launcher = Launcher::new(PATIENCE);
    let attended = launcher.clone();
    let task = tokio::spawn(async move { attended.attend(ours, || {}, || {}).await });
    let channel = Channel::new(theirs);
    channel.send(&hello(Role::Server), &[]).await.unwrap();
    (launcher, channel, task)
}

/// The order that is next, which is to start a process.
async fn ordered(channel: &mut Channel) -> Spawn {
    match channel.receive().await.unwrap() {
        Some((Order::Spawn(spawn), _)) => spawn,
        other => panic!("{other:?}"),
    }
}

/// Reports a process as started; gives its own ends.
async fn started(channel: &Channel, id: u64) -> (std::io::PipeReader, std::io::PipeWriter, std::io::PipeWriter) {
    let (stdin, to_stdin) = std::io::pipe().unwrap();
    let (from_stdout, stdout) = std::io::pipe().unwrap();
    let (from_stderr, stderr) = std::io::pipe().unwrap();
    let fds = [to_stdin.as_fd(), from_stdout.as_fd(), from_stderr.as_fd()];
    channel.send(&Report::Started { id, pid: 1 }, &fds).await.unwrap();
    (stdin, stdout, stderr)
}

#[tokio::test]
async fn file_descriptors_stay_with_the_frame_they_were_sent_with() {
    let (sender, mut receiver) = pair();
    let (mut reader, writer) = std::io::pipe().unwrap();
    sender.send(&Report::Drain, &[]).await.unwrap();
    sender.send(&Report::Started { id: 1, pid: 2 }, &[writer.as_fd()]).await.unwrap();
    sender.send(&Report::Exited { id: 1, code: Some(0), signal: None, out_of_memory: false }, &[]).await.unwrap();
    drop((sender, writer));
    let mut counts = Vec::new();
    while let Some((_, fds)) = receiver.receive::<Report>().await.unwrap() {
        counts.push(fds.len());
        for fd in fds {
            std::io::PipeWriter::from(fd).write_all(b"through").unwrap();
        }
    }
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!((counts, text.as_str()), (vec![0, 1, 0], "through"));
}

#[tokio::test]
async fn a_megabyte_of_environment_passes_and_a_receive_that_is_dropped_loses_nothing() {
    let (sender, mut receiver) = pair();
    let env = vec![("LONG".to_owned(), "\u{1}\"é".repeat(300_000))];
    let spawn = Spawn::new(7, &Program { env: env.clone(), ..program() }).unwrap();
    let send = tokio::spawn(async move { sender.send(&Order::Spawn(spawn), &[]).await });
    let received = loop {
        tokio::select! {
            biased;
            received = receiver.receive() => break received,
            () = tokio::task::yield_now() => {}
        }
    };
    let Some((Order::Spawn(spawn), _)) = received.unwrap() else { panic!("not what was sent") };
    assert_eq!((spawn.id, spawn.env), (7, Hidden(env)));
    send.await.unwrap().unwrap();
}

#[tokio::test]
async fn frames_that_break_the_rules_are_errors() {
    let too_large = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
    let rows: [(&[u8], &str); 4] = [
        (&too_large, "where 8388608 are possible"),
        (&[0; 4], "an empty frame"),
        (b"\0\0\0\x02{}", "expected value"),
        (b"\0\0\0\x09{}", "unexpected end of file"),
    ];
    for (bytes, problem) in rows {
        let (mut peer, stream) = UnixStream::pair().unwrap();
        peer.write_all(bytes).await.unwrap();
        drop(peer);
        let error = Channel::new(stream).receive::<Order>().await.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    let (sender, mut receiver) = pair();
    let fd = std::io::stdin();
    sender.send(&Report::Drain, &[fd.as_fd(); MAX_FDS]).await.unwrap();
    assert_eq!(receiver.receive::<Report>().await.unwrap().unwrap().1.len(), MAX_FDS);
    sender.send(&Report::Drain, &[fd.as_fd(); MAX_FDS + 1]).await.unwrap();
    assert_eq!(receiver.receive::<Report>().await.unwrap_err().to_string(), "too many file descriptors");
}

#[test]
fn what_may_be_secret_is_not_shown() {
    let spawn = Spawn::new(1, &program()).unwrap();
    assert_eq!(format!("{spawn:?}"), r#"Spawn { id: 1, program: "server", args: …, env: …, directory: None }"#);
}

#[tokio::test]
async fn a_launched_process_is_spoken_to_through_its_pipes_and_its_last_words_hold_no_secret() {
    let (launcher, mut channel, _task) = connected().await;
    let program = program();
    let (child, (mut stdin, stdout, mut stderr)) = tokio::join!(launcher.spawn(&program), async {
        let spawn = ordered(&mut channel).await;
        assert_eq!((spawn.program.as_str(), &spawn.args.0[..]), ("server", &["--flag".to_owned()][..]));
        let ends = started(&channel, spawn.id).await;
        channel
            .send(&Report::Exited { id: spawn.id, code: Some(3), signal: None, out_of_memory: true }, &[])
            .await
            .unwrap();
        ends
    });
    let mut child = child.unwrap();
    child.send(Rope::from(bytes::Bytes::from_static(b"{}")));
    let mut line = [0; 3];
    stdin.read_exact(&mut line).unwrap();
    assert_eq!((&line, child.pid()), (b"{}\n", None));
    stderr.write_all(b"sk-12345 and inherited\n").unwrap();
    drop((stdout, stderr));
    let Event::Lost(loss) = child.next().await else { panic!("it goes on") };
    assert_eq!(
        loss.message,
        "server `time` exited with code 3: its container used more memory than it may; its last words: *** and ***"
    );
}

#[tokio::test]
async fn a_process_whose_launcher_is_gone_is_lost_and_the_next_launcher_starts_another() {
    let (launcher, mut channel, task) = connected().await;
    let program = program();
    let (child, _ends) = tokio::join!(launcher.spawn(&program), async {
        let spawn = ordered(&mut channel).await;
        started(&channel, spawn.id).await
    });
    drop(channel);
    task.await.unwrap().unwrap();
    let Event::Lost(loss) = child.unwrap().next().await else { panic!("it goes on") };
    assert!(loss.message.starts_with("server `time` was lost with the launcher that ran it"), "{}", loss.message);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut next = Channel::new(theirs);
    let attended = async { launcher.attend(ours, || {}, || {}).await };
    let refused = async {
        next.send(&hello(Role::Server), &[]).await.unwrap();
        let id = ordered(&mut next).await.id;
        next.send(&Report::Failed { id, error: "no such program".into() }, &[]).await.unwrap();
        drop(next);
    };
    let (error, attended, ()) = tokio::join!(launcher.spawn(&program), attended, refused);
    assert_eq!(error.unwrap_err().to_string(), "no such program");
    attended.unwrap();
}

#[tokio::test]
async fn dropping_a_launched_process_has_its_group_killed() {
    let (launcher, mut channel, _task) = connected().await;
    let program = program();
    let (child, _ends) = tokio::join!(launcher.spawn(&program), async {
        let spawn = ordered(&mut channel).await;
        started(&channel, spawn.id).await
    });
    drop(child.unwrap());
    let Some((Order::Signal { signal, .. }, _)) = channel.receive().await.unwrap() else { panic!("no signal") };
    assert_eq!(signal, Signal::KILL.as_raw());
}

#[tokio::test]
async fn a_launcher_that_does_not_read_is_cut() {
    let (launcher, mut channel, task) = connected().await;
    let program = program();
    let (child, _ends) = tokio::join!(launcher.spawn(&program), async {
        let spawn = ordered(&mut channel).await;
        started(&channel, spawn.id).await
    });
    let mut child = child.unwrap();
    (0..=REQUESTS).for_each(|_| child.process.signal_group(Signal::HUP));
    assert_eq!(task.await.unwrap().unwrap_err().to_string(), "it does not read");
    assert!(matches!(child.next().await, Event::Lost(_)));
}

#[tokio::test]
async fn one_that_is_not_a_launcher_is_turned_away() {
    let launcher = Launcher::new(PATIENCE);
    for report in [Report::Drain, Report::Failed { id: 0, error: String::new() }] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        Channel::new(theirs).send(&report, &[]).await.unwrap();
        let error = launcher.attend(ours, || panic!("it is not let in"), || {}).await.unwrap_err();
        assert_eq!(error.to_string(), "it does not say hello");
    }
}

#[tokio::test]
async fn what_is_not_three_pipes_is_refused() {
    let (launcher, mut channel, _task) = connected().await;
    let program = program();
    let file = std::fs::File::open("/dev/null").unwrap();
    for fds in [vec![], vec![file.as_fd(); 3]] {
        let (child, ()) = tokio::join!(launcher.spawn(&program), async {
            let mut id = None;
            while id.is_none() {
                // Between them comes the signal that ends what was refused before.
                id = match channel.receive().await.unwrap() {
                    Some((Order::Spawn(spawn), _)) => Some(spawn.id),
                    _ => None,
                };
            }
            let report = Report::Started { id: id.unwrap(), pid: 1 };
            channel.send(&report, &fds).await.unwrap();
        });
        assert!(matches!(child, Err(LaunchError::Pipes(_))), "{child:?}");
    }
}

#[tokio::test]
async fn an_installer_runs_its_own_program_only_and_goes_when_all_is_done() {
    let launcher = Launcher::new(PATIENCE);
    let program = program();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut channel = Channel::new(theirs);
    let attended = tokio::spawn({
        let launcher = launcher.clone();
        async move { launcher.attend(ours, || {}, || {}).await }
    });
    channel.send(&hello(Role::Installer), &[]).await.unwrap();
    assert_eq!(launcher.role().await.unwrap(), Role::Installer);
    let (child, ends) = tokio::join!(launcher.install(&program), async {
        let spawn = ordered(&mut channel).await;
        assert_eq!((spawn.program.as_str(), &spawn.args.0[..]), ("/mcp/own", &["--flag".to_owned()][..]));
        started(&channel, spawn.id).await
    });
    drop((child.unwrap(), ends));
    assert!(matches!(channel.receive().await.unwrap(), Some((Order::Signal { .. }, _))));
    launcher.installed();
    let last = loop {
        match channel.receive().await.unwrap() {
            Some((Order::Signal { .. }, _)) => {}
            other => break other,
        }
    };
    assert!(matches!(last, Some((Order::Done, _))), "{last:?}");
    attended.await.unwrap().unwrap();
    assert!(channel.receive::<Order>().await.unwrap().is_none());
    // One that comes later has nothing to do.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut late = Channel::new(theirs);
    late.send(&hello(Role::Installer), &[]).await.unwrap();
    launcher.attend(ours, || {}, || {}).await.unwrap();
    assert!(matches!(late.receive().await.unwrap(), Some((Order::Done, _))));
}

#[tokio::test(start_paused = true)]
async fn a_servers_process_waits_for_a_launcher_that_is_no_installer() {
    let launcher = Launcher::new(PATIENCE);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let channel = Channel::new(theirs);
    channel.send(&hello(Role::Installer), &[]).await.unwrap();
    let attended = async { launcher.attend(ours, || {}, || {}).await };
    let program = program();
    let refused = async {
        let error = launcher.spawn(&program).await.unwrap_err();
        assert!(matches!(error, LaunchError::NoLauncher(_)), "{error}");
        drop(channel);
    };
    let (attended, ()) = tokio::join!(attended, refused);
    attended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_launcher_the_error_says_what_to_run() {
    let error = Launcher::new(Duration::from_secs(60)).spawn(&program()).await.unwrap_err();
    assert!(error.to_string().contains("no launcher connected within 60s; see that"), "{error}");
}
