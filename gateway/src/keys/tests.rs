use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use tempfile::TempDir;

use super::*;

const NOW: u64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_unix(NOW)
}

fn file() -> (TempDir, KeyFile) {
    let directory = tempfile::tempdir().unwrap();
    let file = KeyFile::new(directory.path());
    (directory, file)
}

fn snapshot(file: &KeyFile) -> Keys {
    file.list().unwrap().into_iter().collect()
}

#[test]
fn a_new_key_is_good_for_its_scopes_only() {
    let (_directory, file) = file();
    let (record, key) = file.create("ci", "call".parse().unwrap(), now(), None).unwrap();
    let principal = snapshot(&file).verify(key.reveal(), now()).unwrap();
    assert_eq!(principal, Principal::Key { id: record.id, scopes: "call".parse().unwrap() });
    assert!(principal.may(Scope::Call) && !principal.may(Scope::Deploy));
}

#[test]
fn a_key_has_256_random_bits_behind_prefix_and_id() {
    let (_directory, file) = file();
    let keys = [1, 2].map(|_| file.create("k", Scopes::ALL, now(), None).unwrap());
    let secrets = keys.map(|(record, key)| {
        let secret = key.reveal().strip_prefix(&format!("mgw_{}_", record.id)).unwrap().to_owned();
        assert_eq!(URL_SAFE_NO_PAD.decode(&secret).unwrap().len(), 32);
        secret
    });
    assert_ne!(secrets[0], secrets[1]);
}

#[test]
fn anything_but_the_whole_key_is_nobody() {
    let (_directory, file) = file();
    let (_, key) = file.create("k", Scopes::ALL, now(), None).unwrap();
    let (key, keys) = (key.reveal(), snapshot(&file));
    let (other, _) = key.rsplit_once('_').unwrap();
    let wrong = [
        String::new(),
        "mgw_".into(),
        "mgw__".into(),
        "garbage".into(),
        other.into(),
        format!("{other}_"),
        key[..key.len() - 1].into(),
        format!("{key}A"),
        format!(" {key}"),
        key.to_uppercase(),
        format!("mgw_000000000000_{}", &key[17..]),
        "mgw_é_é".into(),
    ];
    for presented in wrong {
        assert_eq!(keys.verify(&presented, now()), None, "{presented:?}");
    }
}

#[test]
fn a_revoked_key_is_nobody() {
    let (_directory, file) = file();
    let (record, key) = file.create("k", Scopes::ALL, now(), None).unwrap();
    assert!(file.revoke(&record.id.to_string()).unwrap());
    assert!(!file.revoke(&record.id.to_string()).unwrap());
    assert_eq!(snapshot(&file).verify(key.reveal(), now()), None);
}

#[test]
fn a_key_is_good_until_its_expiry() {
    let (_directory, file) = file();
    let end = now().after(Duration::from_secs(60));
    let (_, key) = file.create("k", Scopes::ALL, now(), Some(end)).unwrap();
    let keys = snapshot(&file);
    assert!(keys.verify(key.reveal(), Timestamp::from_unix(NOW + 59)).is_some());
    assert_eq!(keys.verify(key.reveal(), end), None);
    assert!(!keys.none_valid(now()) && keys.none_valid(end));
}

#[test]
fn the_file_is_for_its_owner_only_and_holds_no_secret() {
    let (directory, file) = file();
    let (record, key) = file.create("ci", Scopes::ALL, now(), None).unwrap();
    let path = directory.path().join("keys.json");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(path).unwrap();
    let secret = key.reveal().rsplit_once(&format!("{}_", record.id)).unwrap().1;
    assert!(text.contains("\"ci\"") && !text.contains(secret), "{text}");
}

#[test]
fn debug_shows_neither_key_nor_hash() {
    let (_directory, file) = file();
    let (record, key) = file.create("ci", Scopes::ALL, now(), None).unwrap();
    let shown = format!("{key:?} {record:?}").replace(&record.id.to_string(), "[id]");
    insta::assert_snapshot!(shown, @r#"NewKey(***) KeyRecord { id: KeyId("[id]"), name: "ci", scopes: Scopes { call: true, deploy: true }, created_at: Timestamp(1800000000), expires_at: None, sha256: *** }"#);
}

#[test]
fn keys_are_listed_in_the_order_they_were_made() {
    let (_directory, file) = file();
    for name in ["b", "a"] {
        file.create(name, Scopes::ALL, now(), None).unwrap();
    }
    let names: Vec<_> = file.list().unwrap().into_iter().map(|record| record.name).collect();
    assert_eq!(names, ["b", "a"]);
}

#[test]
fn names_that_would_spoil_a_list_and_keys_for_nothing_are_refused() {
    let (_directory, file) = file();
    for name in ["", " ", "a\nb", "\u{1b}[31m", &"x".repeat(65)] {
        assert!(matches!(file.create(name, Scopes::ALL, now(), None), Err(KeyError::Name)), "{name:?}");
    }
    assert!(matches!(file.create("k", Scopes::default(), now(), None), Err(KeyError::NoScope)));
    assert!(file.list().unwrap().is_empty());
}

#[test]
fn keys_made_at_the_same_time_are_all_kept() {
    let (_directory, file) = file();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| file.create("k", Scopes::ALL, now(), None).unwrap());
        }
    });
    assert_eq!(file.list().unwrap().len(), 8);
}

#[test]
fn a_running_gateway_sees_keys_come_and_go() {
    let (directory, file) = file();
    let mut watch = KeyWatch::open(file.clone()).unwrap();
    assert!(watch.reload_if_changed().unwrap().is_none());
    let (record, key) = file.create("k", Scopes::ALL, now(), None).unwrap();
    assert!(watch.reload_if_changed().unwrap().unwrap().verify(key.reveal(), now()).is_some());
    assert!(watch.reload_if_changed().unwrap().is_none());
    file.revoke(&record.id.to_string()).unwrap();
    assert!(watch.reload_if_changed().unwrap().unwrap().verify(key.reveal(), now()).is_none());
    file.create("k", Scopes::ALL, now(), None).unwrap();
    watch.reload_if_changed().unwrap();
    fs::remove_file(directory.path().join("keys.json")).unwrap();
    assert!(watch.reload_if_changed().unwrap().unwrap().none_valid(now()));
}

#[test]
fn a_damaged_file_leaves_the_keys_last_read_in_force_until_it_is_repaired() {
    let (directory, file) = file();
    let (_, key) = file.create("k", Scopes::ALL, now(), None).unwrap();
    let mut watch = KeyWatch::open(file.clone()).unwrap();
    let path = directory.path().join("keys.json");
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    for _ in 0..2 {
        assert!(matches!(watch.reload_if_changed(), Err(KeyError::Damaged { .. })));
    }
    assert!(watch.keys().verify(key.reveal(), now()).is_some());
    assert!(matches!(file.create("k", Scopes::ALL, now(), None), Err(KeyError::Damaged { .. })));
    fs::write(&path, &good).unwrap();
    assert!(watch.reload_if_changed().unwrap().is_some());
}

#[test]
fn what_a_crash_left_is_cleared_by_the_next_change_and_only_that() {
    let (directory, file) = file();
    let names =
        [".keys.json.crash.tmp", ".seal.key.crash.tmp", "keys.json.bak"].map(|name| directory.path().join(name));
    for path in &names {
        fs::write(path, "half").unwrap();
    }
    file.create("k", Scopes::ALL, now(), None).unwrap();
    assert_eq!(names.map(|path| path.exists()), [false, true, true]);
}

#[test]
fn principals_are_told_apart_by_key_and_not_by_scope() {
    let key = |id: &str, scopes| Principal::Key { id: KeyId(id.into()), scopes };
    let hashes = [
        Principal::Anonymous.hash(),
        key("a", Scopes::ALL).hash(),
        key("b", Scopes::ALL).hash(),
        key("anonymous", Scopes::ALL).hash(),
    ];
    let distinct: std::collections::HashSet<_> = hashes.into_iter().collect();
    assert_eq!(distinct.len(), 4);
    assert_eq!(key("a", Scopes::default()).hash(), key("a", Scopes::ALL).hash());
}

/// A changed hash would cut every principal off its children and sessions at an upgrade.
#[test]
fn hashes_of_principals_are_the_same_in_every_release() {
    let key = Principal::Key { id: KeyId("0123456789ab".into()), scopes: Scopes::ALL };
    insta::assert_snapshot!(format!("{}\n{}", Principal::Anonymous.hash(), key.hash()), @r#"
    0ef93fe05a43804dd7c9c6fbdf722a6c
    3b7cecf5936e533e0b15cce7ca75e09b
    "#);
}

#[test]
fn scopes_are_written_as_they_are_read() {
    for text in ["call", "deploy", "call,deploy"] {
        assert_eq!(text.parse::<Scopes>().unwrap().to_string(), text);
    }
    assert_eq!(" deploy , call ".parse(), Ok(Scopes::ALL));
    insta::assert_snapshot!("call,admin".parse::<Scopes>().unwrap_err(), @"`admin` is no scope: write `call`, `deploy` or `call,deploy`");
}
