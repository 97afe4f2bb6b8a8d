//! The server as the SDK wants it.
#![expect(deprecated, reason = "the log level is, and is asked for by the suite")]

use std::borrow::Cow;

use clap::ValueEnum;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, CompleteRequestParams, CompleteResult,
    ContentBlock, ErrorData, GetPromptRequestParams, GetPromptResponse, GetPromptResult, GetTaskParams, GetTaskResult,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, ServerConfig,
    SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams,
    UpdateTaskParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::task_manager::TaskManager;
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::ask::{Given, Progress, hold, internal, is_modern, parse, refusal};
use crate::{answers, content, tasks, tools};

/// Revisions the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Era {
    /// All, whichever the client begins with
    Dual,
    /// Up to 2025-11-25, and no extension of later ones
    Legacy,
    /// 2026-07-28 only
    Modern,
}

/// A list that has changed, as a tool says when it is asked to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Changed {
    Tools,
    Prompts,
}

/// What all connections and requests share.
#[derive(Clone)]
pub(crate) struct Server {
    era: Era,
    config: ServerConfig,
    tasks: TaskManager,
    changes: broadcast::Sender<Changed>,
}

impl Server {
    pub(crate) fn new(era: Era) -> anyhow::Result<Self> {
        let mut capabilities = json!({
            "prompts": {"listChanged": true},
            "resources": {"listChanged": true, "subscribe": true},
            "tools": {"listChanged": true},
            "logging": {},
            "completions": {},
        });
        if era != Era::Legacy {
            capabilities["extensions"] = json!({"io.modelcontextprotocol/tasks": {}});
        }
        let newest = if era == Era::Modern { ProtocolVersion::V_2026_07_28 } else { ProtocolVersion::V_2025_11_25 };
        let config = json!({
            "protocolVersion": newest,
            "capabilities": capabilities,
            "serverInfo": {"name": "conformance", "version": "1.0.0"},
            "instructions": "For the conformance suite",
        });
        // As many as a test may trigger before a listener looks.
        let (changes, _) = broadcast::channel(16);
        Ok(Self { era, config: serde_json::from_value(config)?, tasks: TaskManager::new(), changes })
    }

    pub(crate) async fn tell(&self, changed: Changed, context: &RequestContext<RoleServer>) {
        // Nobody may listen.
        let _ = self.changes.send(changed);
        if !is_modern(context) {
            let _ = match changed {
                Changed::Tools => context.peer.notify_tool_list_changed().await,
                Changed::Prompts => context.peer.notify_prompt_list_changed().await,
            };
        }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        self.config.clone()
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        match self.era {
            Era::Dual => Cow::Borrowed(ProtocolVersion::KNOWN_VERSIONS),
            Era::Legacy => Cow::Borrowed(ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25)),
            Era::Modern => Cow::Borrowed(&[ProtocolVersion::V_2026_07_28]),
        }
    }

    /// By this the SDK compares arguments with their headers.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        (name == tools::MIRRORED).then(|| parse(&tools::mirrored()).ok()).flatten()
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        parse(&tools::list(if self.era == Era::Legacy { Vec::new() } else { tasks::list() }))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (name, arguments) = (request.name.as_ref(), Value::from(request.arguments.unwrap_or_default()));
        let given = Given { responses: request.input_responses, state: request.request_state };
        let client = context.client_capabilities().unwrap_or_default();
        if let Some(dialogue) = tools::dialogue(name, &arguments, &client) {
            return Ok(match hold(&dialogue, given, &context).await? {
                Progress::Asking(questions) => questions.into(),
                Progress::Done(answers) => {
                    let text = format!("state-ok, answers: {}", json!(answers));
                    CallToolResult::success(vec![ContentBlock::text(text)]).into()
                }
            });
        }
        if name == tools::MIRRORED {
            let value = arguments["value"].as_str().ok_or_else(|| refusal("value must be a string"))?;
            return Ok(CallToolResult::success(vec![ContentBlock::text(value)]).into());
        }
        if self.era != Era::Legacy
            && let Some(response) = tasks::call(&self.tasks, (name, arguments), given, &context).await?
        {
            return Ok(response);
        }
        let mut answer = answers::answer(self, name, &context).await?;
        answer["resultType"] = json!("complete");
        Ok(parse::<CallToolResult>(&answer)?.into())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        Ok(GetTaskResult::new(self.tasks.get_task(&request.task_id)?))
    }

    async fn update_task(&self, request: UpdateTaskParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(&self, request: CancelTaskParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.tasks.cancel_task(&request.task_id)
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        parse(&content::resources())
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        parse(&content::templates())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        Ok(parse::<ReadResourceResult>(&content::read(&request.uri)?)?.into())
    }

    async fn subscribe(&self, _: SubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        parse(&content::prompts())
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let messages = if request.name == content::ASKING_PROMPT {
            let given = Given { responses: request.input_responses, state: request.request_state };
            match hold(&content::of_asking_prompt(), given, &context).await? {
                Progress::Asking(questions) => return Ok(questions.into()),
                Progress::Done(answers) => content::messages(vec![content::text(&json!(answers).to_string())]),
            }
        } else {
            content::prompt(&request.name, &Value::from(request.arguments.unwrap_or_default()))?
        };
        Ok(parse::<GetPromptResult>(&messages)?.into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let values = [format!("{}-completed", request.argument.value)];
        parse(&json!({"resultType": "complete", "completion": {"values": values, "total": 1, "hasMore": false}}))
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.supported_by(&self.config.capabilities))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.subscribe();
        loop {
            let changed = tokio::select! {
                () = context.cancelled() => return Ok(()),
                changed = changes.recv() => changed.map_err(internal)?,
            };
            // What a listener has not asked for is refused, and no fault of its.
            let _ = match changed {
                Changed::Tools => context.sink().notify_tool_list_changed().await,
                Changed::Prompts => context.sink().notify_prompt_list_changed().await,
            };
        }
    }
}
