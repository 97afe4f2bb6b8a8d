//! The benchmark itself must not rot: a quick run of everything that needs no other crate's program.

use std::process::Command;

fn bench(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().expect("cargo built it");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.success(), text)
}

#[test]
fn a_quick_run_measures_what_is_there_and_names_what_is_not() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    let (success, text) = bench(&["all", "--quick", "--targets", "direct,floor", "--out", folder]);
    assert!(success, "{text}");
    assert!(text.contains("| p50 at 1 client, floor /mcp / direct |"), "{text}");
    assert!(
        text.contains("| calls/s between eras, gateway | – | |  | not measured: left out by --targets |"),
        "{text}"
    );
    let mut extensions: Vec<_> =
        out.path().read_dir().unwrap().map(|entry| entry.unwrap().path().extension().unwrap().to_owned()).collect();
    extensions.sort();
    assert_eq!(extensions, ["json", "md"]);
}

#[test]
fn a_missing_program_is_named_with_the_way_to_get_it() {
    let empty = tempfile::tempdir().unwrap();
    let (success, text) = bench(&["latency", "--quick", "--bin-dir", empty.path().to_str().unwrap()]);
    assert!(!success);
    assert!(text.contains("bench-echo does not exist: build it with"), "{text}");
}
