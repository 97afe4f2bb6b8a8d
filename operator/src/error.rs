//! What can go wrong while a server is worked on, and what kind of thing it is.

use std::time::Duration;

use kube::core::Status;

/// The longest that one call to the API server may take. The client itself has no such limit, and tries again for
/// minutes.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a server could not be worked on to the end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server refused, or was not reached.
    #[error("failed to {verb} {what}: {}", brief(source))]
    Api {
        /// What was tried.
        verb: &'static str,
        /// With which object.
        what: String,
        /// What came of it.
        source: Box<kube::Error>,
    },
    /// The API server took too long.
    #[error("failed to {verb} {what}: the API server took longer than {CALL_TIMEOUT:?}")]
    Timeout {
        /// What was tried.
        verb: &'static str,
        /// With which object.
        what: String,
    },
    /// An object is in the way.
    #[error("{kind} `{name}` exists and belongs to somebody else: rename the server, or remove the {kind}")]
    Foreign {
        /// What it is.
        kind: String,
        /// What it is called.
        name: String,
    },
    /// An object of an older server of this name is still being removed.
    #[error("{kind} `{name}` is still being removed")]
    Leaving {
        /// What it is.
        kind: String,
        /// What it is called.
        name: String,
    },
    /// A mistake of the operator.
    #[error("the operator made a mistake: {0}")]
    Panic(String),
}

/// What kind of thing went wrong: it decides when the next attempt is, and what users are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Category {
    /// An object is in the way.
    Foreign,
    /// The operator lacks a right.
    Forbidden,
    /// A quota, an admission webhook or the API server itself refuses the object.
    Refused,
    /// Somebody else changed the same thing meanwhile.
    Conflict,
    /// The namespace is being removed, and soon the server with it.
    Ending,
    /// It may work the next time.
    Transient,
}

impl Category {
    /// As it is written in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Forbidden => "forbidden",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Ending => "ending",
            Self::Transient => "transient",
        }
    }
}

impl Error {
    /// Whether the object is not there any more.
    pub(crate) fn is_gone(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        matches!(&**source, kube::Error::Api(status) if status.is_not_found())
    }

    /// What kind of thing it is.
    pub(crate) fn category(&self) -> Category {
        match self {
            Self::Foreign { .. } => Category::Foreign,
            Self::Leaving { .. } => Category::Conflict,
            Self::Timeout { .. } | Self::Panic(_) => Category::Transient,
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) if status.is_conflict() => Category::Conflict,
                kube::Error::Api(status) if is_ending(status) => Category::Ending,
                // Quotas and Pod Security are 403 as well; a missing right is told by its own words.
                kube::Error::Api(status) if status.is_forbidden() => {
                    if lacks_right(&status.message) {
                        Category::Forbidden
                    } else {
                        Category::Refused
                    }
                }
                kube::Error::Api(status) if is_webhook(&status.message) => Category::Refused,
                kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => {
                    Category::Refused
                }
                _ => Category::Transient,
            },
        }
    }
}

/// What the API server says, for people: its whole answer says it twice.
fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        _ => error.to_string(),
    }
}

/// Whether nothing is made any more where the object was to be.
fn is_ending(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

/// Whether a refusal is about the operator's rights: `… cannot patch resource "deployments" in API group "apps" …`.
fn lacks_right(message: &str) -> bool {
    message.contains(" cannot ") && message.contains(" resource ")
}

/// Whether an admission webhook that has to be asked cannot be: `Internal error occurred: failed calling webhook …`. That
/// passes only when somebody sees to it.
fn is_webhook(message: &str) -> bool {
    message.contains("failed calling webhook")
}

/// Makes a call, with a limit.
pub(crate) async fn call<T>(
    verb: &'static str,
    what: impl Into<String>,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(Error::Api { verb, what: what.into(), source: Box::new(source) }),
        Err(_) => Err(Error::Timeout { verb, what: what.into() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(status: Status) -> Error {
        let source = Box::new(kube::Error::Api(Box::new(status)));
        Error::Api { verb: "patch", what: "Deployment `a`".to_owned(), source }
    }

    fn category(code: u16, reason: &str, message: &str) -> Category {
        let status = Status { code, reason: reason.to_owned(), message: message.to_owned(), ..Status::default() };
        refused(status).category()
    }

    #[test]
    fn a_namespace_that_ends_is_no_fault_of_the_server() {
        let status =
            json!({"code": 403, "reason": "Forbidden", "details": {"causes": [{"reason": "NamespaceTerminating"}]}});
        assert_eq!(refused(serde_json::from_value(status).unwrap()).category(), Category::Ending);
    }

    #[test]
    fn what_the_api_server_says_is_told_once() {
        let message = "exceeded quota: pods".to_owned();
        let error = refused(Status { code: 403, message, ..Status::default() });
        assert_eq!(error.to_string(), "failed to patch Deployment `a`: exceeded quota: pods");
    }

    #[test]
    fn refusals_are_told_apart() {
        let rights =
            r#"deployments.apps "a" is forbidden: User "x" cannot patch resource "deployments" in API group "apps""#;
        for (code, reason, message, expected) in [
            (403, "Forbidden", rights, Category::Forbidden),
            (403, "Forbidden", "exceeded quota: pods", Category::Refused),
            (422, "Invalid", "spec is invalid", Category::Refused),
            (409, "Conflict", "the object has been modified", Category::Conflict),
            (429, "TooManyRequests", "slow down", Category::Transient),
            (500, "InternalError", "etcd", Category::Transient),
            (500, "InternalError", r#"failed calling webhook "a": no endpoints"#, Category::Refused),
        ] {
            assert_eq!(category(code, reason, message), expected, "{message}");
        }
    }
}
