//! Security settings: those that the Pod Security Standard `restricted` demands and a read-only root, each field
//! replaced by the user's where it is given.

use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext};

/// User, group and file system group of pods: nobody's on any node.
const ID: i64 = 65532;

pub(super) fn pod(given: Option<&PodSecurityContext>) -> PodSecurityContext {
    let mut context = given.cloned().unwrap_or_default();
    context.run_as_non_root.get_or_insert(true);
    context.run_as_user.get_or_insert(ID);
    context.run_as_group.get_or_insert(ID);
    context.fs_group.get_or_insert(ID);
    // A large cache is not walked through at each start.
    context.fs_group_change_policy.get_or_insert_with(|| "OnRootMismatch".to_owned());
    context.seccomp_profile.get_or_insert_with(runtime_default);
    context
}

pub(super) fn container(given: Option<&SecurityContext>) -> SecurityContext {
    let mut context = given.cloned().unwrap_or_default();
    context.allow_privilege_escalation.get_or_insert(false);
    context.read_only_root_filesystem.get_or_insert(true);
    context
        .capabilities
        .get_or_insert_with(|| Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() });
    context
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }
}
