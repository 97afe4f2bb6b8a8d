//! The conditions of an `McpServer`: a module for each, with its type and every reason it may have.
//!
//! They are part of the API: scripts wait for them, alerts count them. A reason never changes its meaning; details are
//! in the message, which is for people. Each condition is `True`, `False`, or `Unknown` as long as nobody could tell.
//!
//! The operator writes all but [`routable`], which the gateway writes. [`ready`] sums up the operator's: what the gateway
//! makes of a server is no part of it.

/// The spec can be carried out, and nothing foreign is in the way.
pub mod accepted {
    /// The type of the condition.
    pub const TYPE: &str = "Accepted";
    /// True: it is.
    pub const VALID: &str = "Valid";
    /// False: the spec asks for something that cannot be; the message names the field.
    pub const INVALID: &str = "Invalid";
    /// False: an object that has to be made for it exists, and belongs to somebody else.
    pub const FOREIGN_OBJECT: &str = "ForeignObject";
    /// False: the operator may not do what it has to; the message names verb and resource.
    pub const FORBIDDEN: &str = "Forbidden";
    /// False: the API server refuses an object that is to be made: a quota, a limit range, an admission webhook.
    pub const REFUSED: &str = "Refused";
}

/// Everything the spec refers to is there.
pub mod resolved_refs {
    /// The type of the condition.
    pub const TYPE: &str = "ResolvedRefs";
    /// True: it is, or it refers to nothing.
    pub const RESOLVED: &str = "Resolved";
    /// False: a Secret is missing.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// False: a ConfigMap is missing.
    pub const CONFIG_MAP_NOT_FOUND: &str = "ConfigMapNotFound";
    /// False: the Secret or ConfigMap is there, without the key.
    pub const KEY_NOT_FOUND: &str = "KeyNotFound";
    /// False: the service account is missing.
    pub const SERVICE_ACCOUNT_NOT_FOUND: &str = "ServiceAccountNotFound";
    /// False: the volume claim of the package cache is missing.
    pub const CLAIM_NOT_FOUND: &str = "ClaimNotFound";
    /// Unknown: the operator may not look: the install gives it no right to read Secrets or ConfigMaps here.
    pub const NOT_CHECKED: &str = "NotChecked";
}

/// Pods run and are ready. Where none are, the reason is the most telling of all pods.
pub mod available {
    /// The type of the condition.
    pub const TYPE: &str = "Available";
    /// True: at least one pod is ready.
    pub const PODS_READY: &str = "PodsReady";
    /// False: pods are being started.
    pub const PROGRESSING: &str = "Progressing";
    /// False: a package is being installed; the message says which.
    pub const INSTALLING: &str = "Installing";
    /// False: a package cannot be installed.
    pub const INSTALL_FAILED: &str = "InstallFailed";
    /// False: an image cannot be pulled.
    pub const IMAGE_PULL_FAILED: &str = "ImagePullFailed";
    /// False: a container, or the server's process in it, ends again and again; see `status.lastExit`.
    pub const CRASH_LOOP: &str = "CrashLoop";
    /// False: a container, or a process in it, was killed because the container used more memory than it may.
    pub const OUT_OF_MEMORY: &str = "OutOfMemory";
    /// False: no node takes the pod.
    pub const UNSCHEDULABLE: &str = "Unschedulable";
    /// False: pods are refused: a quota, Pod Security, an admission webhook.
    pub const PODS_REFUSED: &str = "PodsRefused";
    /// False: a container cannot be made as it is described, for example because a key is missing.
    pub const CONFIG_ERROR: &str = "ConfigError";
    /// False: pods run, and their probe says no; or they have failed as a whole, and others take their place.
    pub const PODS_NOT_READY: &str = "PodsNotReady";
    /// False: `replicas` is 0.
    pub const SCALED_TO_ZERO: &str = "ScaledToZero";
    /// False: `suspend` is true.
    pub const SUSPENDED: &str = "Suspended";
    /// Unknown: nothing was made, because the spec is not accepted or refers to what is missing.
    pub const NOT_ATTEMPTED: &str = "NotAttempted";
}

/// The server has shaken hands as an MCP server and listed what it offers.
pub mod verified {
    /// The type of the condition.
    pub const TYPE: &str = "Verified";
    /// True: it has, and keeps doing so.
    pub const HANDSHAKE_SUCCEEDED: &str = "HandshakeSucceeded";
    /// False: it answered, but not as an MCP server does.
    pub const HANDSHAKE_FAILED: &str = "HandshakeFailed";
    /// False: it did not answer in time.
    pub const TIMEOUT: &str = "Timeout";
    /// False: its process ends; see `status.lastExit`.
    pub const PROCESS_FAILED: &str = "ProcessFailed";
    /// False: it demands a credential, or refuses the one given.
    pub const AUTHENTICATION_REQUIRED: &str = "AuthenticationRequired";
    /// False: the server elsewhere cannot be reached.
    pub const UNREACHABLE: &str = "Unreachable";
    /// Unknown: no pod is up whose sidecar could tell.
    pub const NOT_ATTEMPTED: &str = "NotAttempted";
}

/// The gateway serves it under its name. Written by the gateway.
pub mod routable {
    /// The type of the condition.
    pub const TYPE: &str = "Routable";
    /// True: it does, at `status.url`.
    pub const ROUTED: &str = "Routed";
    /// True: it does, but only under `/{namespace}/{name}`, and as `{namespace}_{name}` among all servers: the short name
    /// belongs to an older resource.
    pub const SHORT_NAME_TAKEN: &str = "ShortNameTaken";
    /// True: it does, but only under `/{namespace}/{name}`, and not among all servers: the namespace may not claim short
    /// names.
    pub const SHORT_NAME_NOT_ALLOWED: &str = "ShortNameNotAllowed";
    /// False: another resource of the namespace, an older one, has the same name.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// False: no pod is there to send requests to.
    pub const NO_ENDPOINTS: &str = "NoEndpoints";
    /// False: its name cannot be routed.
    pub const INVALID_NAME: &str = "InvalidName";
}

/// All in one: clients can use the server. True exactly when the four conditions of the operator before it are.
pub mod ready {
    /// The type of the condition.
    pub const TYPE: &str = "Ready";
    /// True: it works.
    pub const WORKING: &str = "Working";
    /// False: see [`super::accepted`].
    pub const NOT_ACCEPTED: &str = "NotAccepted";
    /// False: see [`super::resolved_refs`].
    pub const UNRESOLVED_REFS: &str = "UnresolvedRefs";
    /// False: see [`super::available`].
    pub const NOT_AVAILABLE: &str = "NotAvailable";
    /// False: see [`super::verified`].
    pub const NOT_VERIFIED: &str = "NotVerified";
    /// False: `replicas` is 0.
    pub const SCALED_TO_ZERO: &str = "ScaledToZero";
    /// False: `suspend` is true.
    pub const SUSPENDED: &str = "Suspended";
}

/// The types of all conditions, in the order in which they are written.
pub const TYPES: [&str; 6] =
    [accepted::TYPE, resolved_refs::TYPE, available::TYPE, verified::TYPE, routable::TYPE, ready::TYPE];
