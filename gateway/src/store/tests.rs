use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::{
    durable::{Step, removing, replacing},
    *,
};
use crate::spec::parse_servers;

fn name(name: &str) -> ServerName {
    ServerName::parse(name).unwrap()
}

fn record(program: &str) -> Record {
    let text = format!("{{\"mcpServers\": {{\"a\": {{\"command\": \"{program}\", \"env\": {{\"A\": \"é\\n\"}}}}}}}}");
    let entry = parse_servers(&text, 1024).unwrap().entries.remove(0);
    Record {
        spec: entry.outcome.unwrap().spec,
        created_at: Timestamp::from_unix(1_800_000_000),
        uid: Uid::from_bytes([0xa5; 16]),
    }
}

fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("state")).unwrap();
    (directory, store)
}

fn servers(store: &Store) -> Vec<(String, Record)> {
    let loaded = store.load().unwrap();
    assert_eq!(loaded.quarantined, []);
    loaded.servers.into_iter().map(|(name, record)| (name.to_string(), record)).collect()
}

#[test]
fn what_is_put_is_loaded_after_a_restart() {
    let (directory, store) = store();
    store.put(&name("time"), &record("uvx")).unwrap();
    store.put(&name("time"), &record("npx")).unwrap();
    store.put(&name("gone"), &record("x")).unwrap();
    assert!(store.remove(&name("gone")).unwrap());
    assert!(!store.remove(&name("gone")).unwrap());
    drop(store);
    let store = Store::open(&directory.path().join("state")).unwrap();
    assert_eq!(servers(&store), [("time".to_owned(), record("npx"))]);
}

#[test]
fn names_that_differ_by_case_only_have_files_that_differ_by_more() {
    let (_directory, store) = store();
    let names = ["github", "GitHub", "GITHUB", "gitHub", "a.b", "a-B_c"];
    for server in names {
        store.put(&name(server), &record(server)).unwrap();
    }
    let files: std::collections::HashSet<_> =
        names.iter().map(|server| filename::encode(&name(server)).to_lowercase()).collect();
    assert_eq!(files.len(), names.len());
    assert_eq!(servers(&store).len(), names.len());
}

proptest::proptest! {
    #[test]
    fn every_name_is_read_back_from_its_file_name(text in "[a-zA-Z0-9]([a-zA-Z0-9._-]{0,60}[a-zA-Z0-9])?") {
        if let Ok(server) = ServerName::parse(&text) {
            let file = filename::encode(&server);
            proptest::prop_assert_eq!(file.to_lowercase(), file.as_str());
            proptest::prop_assert_eq!(filename::decode(&file), Some(server));
        }
    }
}

/// Stops a change after every number of steps, and in the middle of the write, as kill -9 or a power cut would.
#[test]
fn a_crash_at_any_point_leaves_the_old_or_the_new_state() {
    type Plan = fn(&Path, &Path, &dyn Fn(&[Step<'_>]));
    let plans: [(Plan, Option<&str>); 2] = [
        (|path, temporary, run| run(&replacing(path, temporary, &record("new").to_json())), Some("new")),
        (|path, _, run| run(&removing(path)), None),
    ];
    for (plan, new) in plans {
        for stop in 0..=3 {
            for torn in [false, true] {
                let (directory, store) = store();
                store.put(&name("a"), &record("old")).unwrap();
                let path = store.path(&name("a"));
                let temporary = path.with_file_name(".a.json.crash.tmp");
                plan(&path, &temporary, &|steps| {
                    let steps = &steps[..stop.min(steps.len())];
                    steps.iter().try_for_each(Step::run).unwrap();
                    if let (true, Some(Step::Write(path, bytes))) = (torn, steps.last()) {
                        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
                    }
                });
                drop(store);
                let store = Store::open(&directory.path().join("state")).unwrap();
                let old = vec![("a".to_owned(), record("old"))];
                let new: Vec<_> = new.map(|new| ("a".to_owned(), record(new))).into_iter().collect();
                let found = servers(&store);
                assert!(found == old || found == new, "after {stop} steps: {found:?}");
                assert!(!temporary.exists(), "after {stop} steps");
            }
        }
    }
}

#[test]
fn files_that_are_damaged_or_foreign_are_reported_and_left_alone() {
    let (_directory, store) = store();
    store.put(&name("good"), &record("x")).unwrap();
    let good = record("x").to_json();
    let uid = String::from_utf8(good.clone()).unwrap().replace("a5a5", "zzzz");
    let files: [(&str, &[u8]); 9] = [
        ("half.json", &good[..good.len() / 2]),
        ("empty.json", b""),
        ("binary.json", b"\xff\xfe\x00"),
        ("other.json", b"[]"),
        ("bare.json", b"{}"),
        ("uid.json", uid.as_bytes()),
        ("Upper.json", &good),
        ("+9.json", &good),
        ("notes.txt", b"hello"),
    ];
    for (file, content) in files {
        fs::write(store.servers.join(file), content).unwrap();
    }
    fs::create_dir(store.servers.join("directory.json")).unwrap();
    let loaded = store.load().unwrap();
    assert_eq!(loaded.servers.into_keys().collect::<Vec<_>>(), [name("good")]);
    let report: Vec<_> = loaded
        .quarantined
        .iter()
        .map(|Quarantined { path, reason }| format!("{}: {reason}", path.file_name().unwrap().display()))
        .collect();
    insta::assert_snapshot!(report.join("\n"), @r#"
    +9.json: its name is not one this gateway gives
    Upper.json: its name is not one this gateway gives
    bare.json: it needs `spec`, `createdAt` and `uid`
    binary.json: stream did not contain valid UTF-8
    directory.json: Is a directory (os error 21)
    empty.json: line 1, column 1: the document is empty
    half.json: line 8, column 3: unterminated string literal
    notes.txt: its name is not one this gateway gives
    other.json: line 1, column 1: it must be an object, not an array
    uid.json: line 9, column 10: `uid` is no UUID of the form 01234567-89ab-cdef-0123-456789abcdef
    "#);
    for (file, content) in files {
        assert_eq!(fs::read(store.servers.join(file)).unwrap(), content, "{file}");
    }
}

#[test]
fn the_state_of_a_later_release_is_read() {
    let later = String::from_utf8(record("x").to_json())
        .unwrap()
        .replace("\"command\"", "\"sandbox\": {\"strict\": true}, \"process\": {\"nice\": 3}, \"command\"");
    let later = later.replacen('{', "{\"revision\": 7,", 1);
    assert_eq!(Record::from_json(&later), Ok(record("x")));
}

#[test]
fn files_and_directories_are_for_their_owner_only() {
    let (directory, store) = store();
    store.put(&name("a"), &record("x")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let state = directory.path().join("state");
    assert_eq!([mode(&state), mode(&store.servers)], [0o700; 2]);
    assert_eq!([mode(&state.join("lock")), mode(&store.path(&name("a")))], [0o600; 2]);
}

#[test]
fn a_second_gateway_is_kept_out_and_told_by_whom() {
    let (directory, store) = store();
    let state = directory.path().join("state");
    let error = Store::open(&state).unwrap_err();
    let StoreError::Locked { pid, .. } = &error else { panic!("{error}") };
    assert_eq!(*pid, Some(std::process::id()));
    let text = error.to_string().replace(&state.display().to_string(), "[dir]");
    let text = text.replace(&std::process::id().to_string(), "[pid]");
    insta::assert_snapshot!(text, @"the state directory [dir] is in use by another gateway (process [pid]): stop that one, or give this one a directory of its own with --state-dir");
    drop(store);
    assert!(Store::open(&state).is_ok());
}

#[test]
fn refusals_of_the_file_system_say_what_to_do() {
    let error =
        |kind: io::ErrorKind| StorageError::new("write", Path::new("/state/servers/a.json"), kind.into()).to_string();
    let kinds = [
        io::ErrorKind::ReadOnlyFilesystem,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::StorageFull,
        io::ErrorKind::QuotaExceeded,
        io::ErrorKind::TimedOut,
    ];
    insta::assert_snapshot!(kinds.map(error).join("\n"), @r#"
    cannot write /state/servers/a.json: read-only filesystem or storage medium; mount the state directory writable, or choose another with --state-dir
    cannot write /state/servers/a.json: permission denied; let the gateway's user own the state directory, or choose another with --state-dir
    cannot write /state/servers/a.json: no storage space; free some space in the state directory and try again
    cannot write /state/servers/a.json: quota exceeded; free some space in the state directory and try again
    cannot write /state/servers/a.json: timed out
    "#);
}

#[test]
fn a_state_directory_that_is_a_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "").unwrap();
    for path in [path.clone(), path.join("below")] {
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(error.contains("--state-dir"), "{error}");
    }
}

#[test]
fn a_write_that_fails_leaves_no_temporary_file() {
    let (_directory, store) = store();
    let path = store.path(&name("a"));
    fs::create_dir_all(path.join("in the way")).unwrap();
    assert!(store.put(&name("a"), &record("x")).is_err());
    assert_eq!(fs::read_dir(&store.servers).unwrap().count(), 1);
}

#[test]
fn identities_are_random_version_4_uuids() {
    let (one, other) = (Uid::random(), Uid::random());
    assert_ne!(one, other);
    let text = one.to_string();
    assert_eq!((text.len(), &text[14..15]), (36, "4"));
    assert_eq!(text.parse(), Ok(one));
    for wrong in ["", "a5", &text[1..], &text.replace('-', ""), &text.replace('-', "_"), &format!("{text}0")] {
        assert_eq!(wrong.parse::<Uid>(), Err(UidError), "{wrong}");
    }
}

#[test]
fn points_in_time_are_written_as_rfc_3339_says() {
    let points = [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (1_795_336_200, "2026-11-22T08:30:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
    ];
    for (seconds, text) in points {
        assert_eq!(Timestamp::from_unix(seconds).to_string(), text);
        assert_eq!(text.parse(), Ok(Timestamp::from_unix(seconds)));
    }
}

#[test]
fn what_is_no_point_in_time_is_refused() {
    let texts = [
        "",
        "2026-11-22",
        "2026-11-22T08:30:00",
        "2026-11-22 08:30:00Z",
        "2026-02-29T00:00:00Z",
        "2026-11-22T08:30:60Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "+026-11-22T08:30:00Z",
        "2026-11-22T08:30:00é",
    ];
    for text in texts {
        assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn every_second_is_read_back(seconds in 0..253_402_300_800_u64) {
        let time = Timestamp::from_unix(seconds);
        proptest::prop_assert_eq!(time.to_string().parse(), Ok(time));
    }

    #[test]
    fn any_text_is_a_state_or_a_reason(text in "\\PC{0,60}") {
        proptest::prop_assert!(Record::from_json(&text).is_err());
    }
}
