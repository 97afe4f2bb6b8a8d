use serde_json::json;

use super::*;
use crate::fixtures::server;
use crate::probe::Exit;
use wire::status::{Failure, Phase};

fn pod(status: &serde_json::Value) -> Arc<Pod> {
    let pod = json!({"metadata": {"name": "time-1", "namespace": "tools", "uid": "p1"}, "status": status});
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn deployment(replicas: i32) -> Deployment {
    let text = json!({
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b", "c": "d"}}, "template": {}},
        "status": {"replicas": 1, "readyReplicas": 1},
    });
    serde_json::from_value(text).unwrap()
}

fn sidecar(phase: Phase, message: &str) -> HashMap<String, SidecarStatus> {
    let failure = (phase == Phase::Failing).then_some(Failure::Process);
    let status = SidecarStatus { phase, failure, message: message.to_owned(), ..SidecarStatus::default() };
    [("p1".to_owned(), status)].into()
}

/// The status of a pod with this container, that was started anew once.
fn container(name: &str, state: &serde_json::Value, last: &serde_json::Value) -> serde_json::Value {
    json!({"containerStatuses": [{"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 1,
        "state": state, "lastState": last}]})
}

struct World {
    server: McpServer,
    references: Verdict,
    deployment: Option<Deployment>,
    pods: Vec<Arc<Pod>>,
    sidecars: HashMap<String, SidecarStatus>,
}

fn world() -> World {
    World {
        server: server("{command: uvx, args: [a]}"),
        references: Verdict::yes(resolved_refs::RESOLVED, ""),
        deployment: Some(deployment(1)),
        pods: vec![pod(&json!({"conditions": [{"type": "Ready", "status": "True"}]}))],
        sidecars: sidecar(Phase::Ready, "ready"),
    }
}

impl World {
    fn status(&self, now: i64) -> McpServerStatus {
        let seen = Seen {
            server: &self.server,
            accepted: Verdict::yes(accepted::VALID, ""),
            references: self.references.clone(),
            deployment: self.deployment.as_ref(),
            pods: &self.pods,
            sidecars: &self.sidecars,
        };
        derive(&seen, Timestamp::from_second(now).unwrap())
    }

    fn verdicts(&self) -> Vec<(String, String)> {
        let conditions = self.status(0).conditions;
        conditions.into_iter().skip(2).map(|condition| (condition.status, condition.reason)).collect()
    }
}

fn expect(world: &World, expected: [(&str, &str); 3]) {
    let expected = expected.map(|(status, reason)| (status.to_owned(), reason.to_owned()));
    assert_eq!(world.verdicts(), expected);
}

#[test]
fn a_server_that_has_shaken_hands_is_ready() {
    expect(&world(), [("True", "PodsReady"), ("True", "HandshakeSucceeded"), ("True", "Working")]);
    assert_eq!(world().status(0).selector.as_deref(), Some("a=b,c=d"));
}

#[test]
fn what_keeps_a_pod_from_running_is_the_reason() {
    let waiting = |reason: &str| {
        json!({"containerStatuses": [{"name": "server", "image": "i", "imageID": "", "ready": false,
        "restartCount": 1, "state": {"waiting": {"reason": reason}}}]})
    };
    let oom = json!({"containerStatuses": [{"name": "server", "image": "i", "imageID": "", "ready": false, "restartCount": 1,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]});
    let unschedulable = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
    for (status, reason) in [
        (waiting("ImagePullBackOff"), "ImagePullFailed"),
        (waiting("CreateContainerConfigError"), "ConfigError"),
        (waiting("CrashLoopBackOff"), "CrashLoop"),
        (oom, "OutOfMemory"),
        (unschedulable, "Unschedulable"),
        (json!({}), "Progressing"),
    ] {
        let world = World { pods: vec![pod(&status)], sidecars: HashMap::new(), ..world() };
        expect(&world, [("False", reason), ("Unknown", "NotAttempted"), ("False", "NotAvailable")]);
    }
}

#[test]
fn between_two_attempts_a_container_that_ends_again_and_again_is_called_so() {
    let ended =
        json!({"terminated": {"exitCode": 2, "message": "no such header\n", "finishedAt": "2026-11-27T00:00:00Z"}});
    let first = |mut status: serde_json::Value| {
        status["containerStatuses"][0]["restartCount"] = json!(0);
        status
    };
    for (status, reason) in [
        (container("sidecar", &json!({"waiting": {"reason": "CrashLoopBackOff"}}), &ended), "CrashLoop"),
        (container("sidecar", &json!({"running": {}}), &ended), "CrashLoop"),
        (container("sidecar", &ended, &json!({})), "CrashLoop"),
        (first(container("sidecar", &ended, &json!({}))), "Progressing"),
        (container("install", &json!({"terminated": {"exitCode": 0}}), &ended), "Progressing"),
    ] {
        let world = World { pods: vec![pod(&status)], sidecars: HashMap::new(), ..world() };
        let told = &world.status(0).conditions[2];
        assert_eq!(told.reason, reason, "{status}");
        if reason == "CrashLoop" {
            let words = "ends again and again; at last it exited with code 2; its last words: no such header";
            assert!(told.message.ends_with(words), "{}", told.message);
            assert_eq!(world.status(0).last_exit.unwrap().code, Some(2));
        }
    }
}

#[test]
fn a_process_that_ends_again_and_again_is_told_with_its_last_words() {
    let exit = |out_of_memory| Exit { signal: Some(9), out_of_memory, ..Exit::default() };
    for (failure, exit, expected, words) in [
        (Failure::Process, Some(exit(false)), "CrashLoop", "its process ends again and again: exited with code 3"),
        (Failure::Process, Some(exit(true)), "OutOfMemory", "raise spec.resources.limits.memory"),
        (Failure::Process, None, "PodsNotReady", "exited with code 3"),
        (Failure::Timeout, Some(exit(false)), "PodsNotReady", "exited with code 3"),
    ] {
        let mut sidecars = sidecar(Phase::Failing, "exited with code 3");
        let status = sidecars.get_mut("p1").unwrap();
        (status.failure, status.last_exit) = (Some(failure), exit);
        // What has passed counts for less than what the sidecar says now.
        let before = container("server", &json!({"running": {}}), &json!({"terminated": {"exitCode": 1}}));
        let world = World { pods: vec![pod(&before)], sidecars, ..world() };
        let told = &world.status(0).conditions[2];
        assert_eq!(told.reason, expected);
        assert!(told.message.contains(words), "{}", told.message);
    }
}

#[test]
fn processes_and_containers_that_were_started_again_are_counted_and_installations_are_not() {
    let mut world = world();
    let restarted = |name: &str, count: i32| json!({"name": name, "image": "i", "imageID": "", "ready": true, "restartCount": count});
    world.pods = vec![pod(&json!({
        "containerStatuses": [restarted("server", 1)],
        "initContainerStatuses": [restarted("install", 4), restarted("sidecar", 2)],
    }))];
    world.sidecars.get_mut("p1").unwrap().restarts = 10;
    assert_eq!(world.status(0).restarts, Some(13));
}

#[test]
fn the_container_whose_memory_is_too_small_is_named_with_the_field() {
    for (name, field) in
        [("server", "spec.resources."), ("sidecar", "spec.sidecar.resources."), ("launcher", "spec.sidecar.")]
    {
        let ended = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let world = World { pods: vec![pod(&container(name, &json!({"running": {}}), &ended))], ..world() };
        let told = &world.status(0).conditions[2];
        assert_eq!(told.reason, "OutOfMemory");
        assert!(told.message.contains(name) && told.message.contains(field), "{}", told.message);
        let exit = world.status(0).last_exit.unwrap();
        assert!(exit.out_of_memory && exit.signal == Some(9));
    }
}

#[test]
fn pods_that_are_refused_are_told_also_where_others_run() {
    let message = r#"pods "a" is forbidden: exceeded quota: q"#;
    let refusing = |replicas| {
        let mut deployment = deployment(replicas);
        let failure =
            json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}]);
        deployment.status.as_mut().unwrap().conditions = serde_json::from_value(failure).unwrap();
        Some(deployment)
    };
    let starting = || vec![pod(&json!({}))];
    for (replicas, pods, expected) in [
        (1, vec![], ("False", "PodsRefused", "exceeded quota")),
        (1, starting(), ("False", "PodsRefused", "exceeded quota")),
        (2, world().pods, ("True", "PodsReady", "1 of 2 pods are ready; more are refused: ")),
        (1, world().pods, ("True", "PodsReady", "1 of 1 pods are ready; more are refused: ")),
    ] {
        let world = World { deployment: refusing(replicas), pods, sidecars: HashMap::new(), ..world() };
        let told = &world.status(0).conditions[2];
        let (status, reason, words) = expected;
        assert_eq!((told.status.as_str(), told.reason.as_str()), (status, reason));
        assert!(told.message.contains(words), "{}", told.message);
        assert!(told.message.contains("ResourceQuota raised"), "{}", told.message);
    }
}

#[test]
fn a_pod_that_was_evicted_is_named_until_another_has_taken_its_place() {
    let evicted = || pod(&json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}));
    let alone = World { pods: vec![evicted()], sidecars: HashMap::new(), ..world() };
    assert_eq!(alone.status(0).conditions[2].message, "pod `time-1` has failed: Evicted: low on memory");
    let replaced = World { pods: [vec![evicted()], world().pods].concat(), ..world() };
    assert_eq!(replaced.status(0).conditions[2].status, "True");
}

#[test]
fn an_installation_is_told_and_its_failure_too() {
    let installing = || {
        pod(&json!({"initContainerStatuses": [{"name": "install", "image": "i", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"running": {}}}]}))
    };
    for (phase, reason, verified) in [
        (Phase::Installing, "Installing", ("Unknown", "NotAttempted")),
        (Phase::Failing, "InstallFailed", ("False", "ProcessFailed")),
    ] {
        let world = World { pods: vec![installing()], sidecars: sidecar(phase, "exit code 1"), ..world() };
        expect(&world, [("False", reason), verified, ("False", "NotAvailable")]);
    }
}

#[test]
fn suspended_and_scaled_to_zero_are_told_apart() {
    let none = || World { pods: vec![], sidecars: HashMap::new(), ..world() };
    let suspended = World { server: server("{command: a, suspend: true}"), ..none() };
    expect(&suspended, [("False", "Suspended"), ("Unknown", "NotAttempted"), ("False", "Suspended")]);
    let zero = World { deployment: Some(deployment(0)), ..none() };
    expect(&zero, [("False", "ScaledToZero"), ("Unknown", "NotAttempted"), ("False", "ScaledToZero")]);
}

#[test]
fn ready_pods_prove_references_that_may_not_be_read() {
    let hidden = Verdict::unknown(resolved_refs::NOT_CHECKED, "cannot get secrets");
    let world = World { references: hidden, ..world() };
    assert_eq!(world.status(0).conditions[1].status, "True");
    assert_eq!(world.status(0).conditions[4].status, "True");
}

#[test]
fn nothing_is_written_at_rest_and_times_move_with_the_status_only() {
    let mut world = world();
    let first = world.status(10);
    world.server.status = Some(first.clone());
    assert_eq!(world.status(99), first);
    world.sidecars = sidecar(Phase::Failing, "the process exited");
    let second = world.status(99);
    let since = |status: &McpServerStatus, index: usize| status.conditions[index].last_transition_time.0.as_second();
    assert_eq!((since(&second, 0), since(&second, 3), since(&second, 4)), (10, 99, 99));
}

#[test]
fn what_the_gateway_writes_is_left_to_it() {
    let mut world = world();
    let mut status = world.status(0);
    status.url = Some("http://gateway/time".to_owned());
    let routable = Condition { type_: routable::TYPE.to_owned(), ..status.conditions[0].clone() };
    status.conditions.push(routable);
    world.server.status = Some(status.clone());
    assert_eq!(world.status(0), own_part(&status));
}
