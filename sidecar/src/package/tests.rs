use super::*;

fn program(command: &str) -> Program {
    let mut words = command.split(' ');
    Program {
        name: "s".into(),
        wrapper: Vec::new(),
        program: words.next().unwrap().into(),
        args: words.map(Into::into).collect(),
        env: Vec::new(),
        directory: None,
        logbook: wire::logbook::Logbook::default(),
        max_line: 1000,
    }
}

fn packages(directory: Option<PathBuf>, lock: Option<PathBuf>) -> Packages {
    Packages { directory, path: String::new(), timeout: Duration::ZERO, lock, update: None }
}

fn understood(command: &str) -> Box<dyn Runner> {
    runner(&program(command)).unwrap()
}

fn steps(recipe: &Recipe) -> Vec<String> {
    recipe.steps.iter().map(|step| format!("{} {}", step.program, step.args.join(" "))).collect()
}

/// A Python environment, as far as it is looked at.
fn environment(directory: &Path, distributions: &[(&str, Option<&str>)]) {
    let site = directory.join("lib/python3.13/site-packages");
    for (name, origin) in distributions {
        let info = site.join(format!("{name}.dist-info"));
        fs::create_dir_all(&info).unwrap();
        if let Some(origin) = origin {
            fs::write(info.join("direct_url.json"), origin).unwrap();
        }
    }
    fs::create_dir_all(directory.join("bin")).unwrap();
    fs::write(directory.join("bin/mcp-server-time"), "").unwrap();
}

#[test]
fn a_python_lock_pins_everything_and_is_installed_without_looking_for_more() {
    let folder = tempfile::tempdir().unwrap();
    let git = r#"{"url":"https://h/r.git","vcs_info":{"vcs":"git","commit_id":"abc"},"subdirectory":"s"}"#;
    let url = r#"{"url":"https://h/x.whl","archive_info":{}}"#;
    environment(folder.path(), &[("b-2.0", None), ("a_b-1.0rc1", None), ("g-3", Some(git)), ("x-4", Some(url))]);
    let runner = understood("uvx --index https://i/ mcp-server-time");
    let lock = runner.lock(folder.path()).unwrap();
    assert_eq!(lock, "a_b==1.0rc1\nb==2.0\ng @ git+https://h/r.git@abc#subdirectory=s\nx @ https://h/x.whl\n");
    let recipe = runner.recipe("/d", Some(&lock), Place::Shared).unwrap();
    assert_eq!(recipe.files["requirements.lock"], lock);
    let expected = [
        "uv venv --quiet --allow-existing --no-project /d",
        "uv pip install --no-progress --python /d --compile-bytecode --index https://i/ --no-deps --requirement /d/requirements.lock",
    ];
    assert_eq!(steps(&recipe), expected);
    let free = runner.recipe("/d", None, Place::Own).unwrap();
    assert_eq!(steps(&free)[1], "uv pip install --no-progress --python /d --index https://i/ mcp-server-time");
    assert!(free.files.is_empty());
}

#[test]
fn a_node_lock_is_npms_own_with_the_manifest_that_it_belongs_to() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        r#"{ "packages": { "": { "dependencies": { "p": "^1.2.0" } }, "node_modules/p": { "version": "1.2.3" } } }"#;
    fs::write(folder.path().join("package-lock.json"), text).unwrap();
    let runner = understood("npx -y p");
    let lock = runner.lock(folder.path()).unwrap();
    assert_eq!(lock, text.replace(' ', ""));
    let recipe = runner.recipe("/d", Some(&lock), Place::Shared).unwrap();
    assert_eq!(recipe.files["package.json"], r#"{"dependencies":{"p":"^1.2.0"}}"#);
    assert_eq!(recipe.files["package-lock.json"], lock);
    let [step] = &steps(&recipe)[..] else { panic!("{recipe:?}") };
    assert!(step.starts_with("npm ci --prefix /d ") && !step.contains("ignore-scripts"), "{step}");
    assert!(runner.recipe("/d", Some("{}"), Place::Shared).is_err());
    assert!(runner.recipe("/d", Some("no JSON"), Place::Shared).is_err());
}

#[test]
fn what_was_installed_first_serves_for_the_lock_that_it_led_to_and_for_no_other() {
    let root = tempfile::tempdir().unwrap();
    let (program, runner) = (program("uvx mcp-server-time"), understood("uvx mcp-server-time"));
    let request = packages(None, None).request(&program, &*runner);
    let choose = |lock| choose(root.path(), &*runner, &request, lock);
    let first = choose(None);
    environment(&first, &[("a-1", None)]);
    assert_ne!(choose(Some("a==1\n")), first, "it is not complete");
    fs::write(first.join(".complete"), "").unwrap();
    assert_eq!(choose(Some("a==1\n")), first);
    let other = choose(Some("a==2\n"));
    assert!(other != first && other != choose(Some("a==3\n")));
}

#[test]
fn a_lock_counts_for_its_own_command_line_only() {
    let folder = tempfile::tempdir().unwrap();
    let packages = |name: &str| packages(None, Some(folder.path().join(name)));
    let runner = understood("uvx mcp-server-time");
    let lock = PackageLock { key: digest(&*runner, None), content: "a==1\n".to_owned() };
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("good", &serde_json::to_string(&lock).unwrap());
    write("bad", "{}");
    assert_eq!(packages("good").locked(&*runner).as_deref(), Some("a==1\n"));
    assert_eq!(packages("good").locked(&*understood("uvx mcp-server-time@1.0")), None);
    assert_eq!(packages("good").locked(&*understood("npx mcp-server-time")), None);
    assert_eq!((packages("bad").locked(&*runner), packages("missing").locked(&*runner)), (None, None));
    // Arguments for the server are not the package's.
    assert!(packages("good").locked(&*understood("uvx mcp-server-time --local-timezone=x")).is_some());
}

#[test]
fn an_update_installs_anew_and_a_lock_from_before_it_counts_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (program, runner) = (program("uvx mcp-server-time"), understood("uvx mcp-server-time"));
    let lock = folder.path().join("lock.json");
    let packages = |update: Option<&str>| Packages {
        update: update.map(ToOwned::to_owned),
        ..packages(Some(folder.path().to_owned()), Some(lock.clone()))
    };
    let place = |update| {
        let packages = packages(update);
        choose(folder.path(), &*runner, &packages.request(&program, &*runner), None)
    };
    assert_eq!(place(Some("1")), place(Some("1")));
    assert!(place(None) != place(Some("1")) && place(Some("1")) != place(Some("2")));
    let written = PackageLock { key: digest(&*runner, Some("1")), content: "a==1\n".to_owned() };
    fs::write(&lock, serde_json::to_string(&written).unwrap()).unwrap();
    let locked = |update| packages(update).locked(&*runner);
    assert_eq!((locked(Some("1")).as_deref(), locked(Some("2")), locked(None)), (Some("a==1\n"), None, None));
}

#[tokio::test(start_paused = true)]
async fn what_is_installed_is_started_directly_through_a_launcher_without_waiting_for_one() {
    let root = tempfile::tempdir().unwrap();
    let (program, runner) = (program("uvx mcp-server-time -x"), understood("uvx mcp-server-time -x"));
    let packages = packages(Some(root.path().to_owned()), Some(root.path().join("lock.json")));
    let directory = root.path().join(name(&*runner, &packages.request(&program, &*runner), None));
    environment(&directory, &[("a-1", None)]);
    let spawner = Spawner::Launcher(wire::child::launcher::Launcher::new(Duration::from_secs(1)));
    let state = State::default();
    let waits = packages.resolve(&program, &spawner, &state).await.unwrap_err();
    assert!(waits.message.contains("no launcher connected within 1s"), "{}", waits.message);
    fs::write(directory.join(".complete"), "").unwrap();
    let resolved = packages.resolve(&program, &spawner, &state).await.unwrap();
    assert_eq!((resolved.program, resolved.args), (directory.join("bin/mcp-server-time"), vec!["-x".into()]));
    let status = state.now();
    assert_eq!(status.packages, ["a==1"]);
    assert_eq!(status.lock, Some(PackageLock { key: digest(&*runner, None), content: "a==1\n".to_owned() }));
}

#[test]
fn credentials_in_urls_are_for_nobody_to_read() {
    assert_eq!(masked("git+https://user:t0ken@host/r@v1"), "git+https://…@host/r@v1");
    assert_eq!(masked("no https://a@b/c and https://d/e@f here"), "no https://…@b/c and https://d/e@f here");
    assert_eq!(masked("mcp-server-time==1.2"), "mcp-server-time==1.2");
}

#[test]
fn programs_are_looked_for_beside_the_command_then_in_its_own_path_then_in_ours() {
    let packages = Packages { path: "/ours".to_owned(), ..packages(None, None) };
    let own = |command: &str| Program { env: vec![("PATH".to_owned(), "/own".to_owned())], ..program(command) };
    assert_eq!(packages.path(&program("uvx p")), "/ours");
    assert_eq!(packages.path(&program("/home/u/bin/uvx p")), "/home/u/bin:/ours");
    assert_eq!(packages.path(&own("/home/u/bin/uvx p")), "/home/u/bin:/own");
    assert_eq!(packages.path(&own("uvx p")), "/own");
}
