//! The tools of the tasks extension (SEP-2663): work that goes on while the client asks how it is.

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, CreateTaskResult, ErrorData};
use rmcp::service::RequestContext;
use rmcp::task_manager::{TaskContext, TaskExit, TaskManager, TaskOptions};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::ask::{Dialogue, Given, Progress, form, hold, internal, parse};
use crate::tools::one;

/// Those that answer only as a task.
const ONLY_TASKS: [&str; 4] = ["failing_job", "test_tool_with_task", "confirm_delete", "multi_input"];

/// Their part of the list.
pub(crate) fn list() -> Vec<Value> {
    vec![
        one("greet", &json!({"name": {"type": "string"}}), &["name"]),
        one("slow_compute", &json!({"seconds": {"type": "number"}, "label": {"type": "string"}}), &[]),
        one("failing_job", &json!({}), &[]),
        one("protocol_error_job", &json!({}), &[]),
        one("confirm_delete", &json!({"filename": {"type": "string"}}), &[]),
        one("multi_input", &json!({}), &[]),
        one("test_tool_with_task", &json!({}), &[]),
    ]
}

/// A call of one of them. Nothing when the name is no such tool's.
pub(crate) async fn call(
    tasks: &TaskManager,
    (name, arguments): (&str, Value),
    given: Given,
    context: &RequestContext<RoleServer>,
) -> Result<Option<CallToolResponse>, ErrorData> {
    let able = context.client_capabilities().is_some_and(|client| client.supports_tasks());
    if ONLY_TASKS.contains(&name) && !able {
        let needed = ClientCapabilities::builder().enable_tasks().build();
        return Err(ErrorData::missing_required_client_capability(needed));
    }
    let Some(job) = job(name, &arguments) else { return Ok(None) };
    let job = if name == "test_tool_with_task" {
        let who = json!({"user_name": form("What is your name?", json!({"name": {"type": "string"}}))});
        match hold(&Dialogue { rounds: vec![who], sealed: false }, given, context).await? {
            Progress::Asking(questions) => return Ok(Some(questions.into())),
            Progress::Done(answers) => Job::Greet(answers["user_name"]["content"]["name"].clone()),
        }
    } else {
        job
    };
    if able && name != "greet" {
        let task = tasks.spawn(TaskOptions::default(), move |task| Box::pin(async move { job.run(Some(&task)).await }));
        return Ok(Some(CreateTaskResult::new(task).into()));
    }
    match job.run(None).await {
        Ok(result) => Ok(Some(result.into())),
        Err(TaskExit::Error(error)) => Err(error),
        Err(_) => Err(internal("the job was cancelled")),
    }
}

/// What is to be done.
enum Job {
    Greet(Value),
    Compute {
        seconds: f64,
        label: Value,
    },
    Fail,
    Break,
    /// Asks for each of these while it runs, and waits for all.
    Ask(Vec<(&'static str, Value)>),
}

fn job(name: &str, arguments: &Value) -> Option<Job> {
    let value = || json!({"value": {"type": "string"}});
    Some(match name {
        "greet" | "test_tool_with_task" => Job::Greet(arguments["name"].clone()),
        "slow_compute" => {
            Job::Compute { seconds: arguments["seconds"].as_f64().unwrap_or(1.0), label: arguments["label"].clone() }
        }
        "failing_job" => Job::Fail,
        "protocol_error_job" => Job::Break,
        "confirm_delete" => Job::Ask(vec![("confirm", form("Delete it?", json!({"confirm": {"type": "boolean"}})))]),
        "multi_input" => {
            Job::Ask(vec![("input-a", form("Provide value A", value())), ("input-b", form("Provide value B", value()))])
        }
        _ => return None,
    })
}

impl Job {
    async fn run(self, task: Option<&TaskContext>) -> Result<CallToolResult, TaskExit> {
        let text = match self {
            Self::Greet(name) => format!("Hello, {}!", name.as_str().unwrap_or("friend")),
            Self::Compute { seconds, label } => {
                // The suite cancels it, and wants to see it end so.
                let cancelled = async {
                    match task {
                        Some(task) => task.cancelled().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = cancelled => return Err(TaskExit::Cancelled),
                    () = sleep(Duration::from_secs_f64(seconds)) => format!("{label} is done"),
                }
            }
            Self::Fail => {
                sleep(Duration::from_secs(1)).await;
                return Ok(CallToolResult::error(vec![ContentBlock::text("it fails, as it should")]));
            }
            Self::Break => {
                sleep(Duration::from_millis(200)).await;
                return Err(internal("it breaks, as it should").into());
            }
            Self::Ask(questions) => {
                let task = task.ok_or_else(|| internal("it is a task only"))?;
                let asked =
                    questions.into_iter().map(async |(key, question)| task.request_input(key, parse(&question)?).await);
                format!("answers: {}", Value::from(futures::future::try_join_all(asked).await?))
            }
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]))
    }
}
