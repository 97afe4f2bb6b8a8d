"""A server on the Python SDK of the 1.x line, over stdio, with tools as `@modelcontextprotocol/server-everything` has them.

It has what the checks of the clients ask for (../clients), by the names, arguments and answers of that server.
"""

import base64
import gzip
import json

import anyio
from mcp import types
from mcp.server.fastmcp import Context, FastMCP
from mcp.server.fastmcp.resources import BinaryResource
from mcp.server.lowlevel import NotificationOptions
from mcp.server.stdio import stdio_server
from pydantic import BaseModel

server = FastMCP("everything in Python")
# The high-level server declares no logging and no changes of its lists; the one below it does.
low = server._mcp_server


@low.set_logging_level()
async def set_level(level: types.LoggingLevel) -> None:
    pass


class Person(BaseModel):
    name: str
    integer: int = 0


def tool(name: str):
    """Without structured content, which would say all that is said a second time."""
    return server.tool(name, structured_output=False)


def plain(model: BaseModel) -> str:
    return json.dumps(model.model_dump(by_alias=True, mode="json", exclude_none=True), ensure_ascii=False)


def declared(context: Context, capability: str):
    """What the client said of itself under that name; a server must not ask it for anything else."""
    found = getattr(context.session.client_params.capabilities, capability)
    if found is None:
        raise ValueError(f"the client did not declare {capability}")
    return found


@tool("echo")
def echo(message: str) -> str:
    return f"Echo: {message}"


@tool("get-sum")
def get_sum(a: int, b: int) -> str:
    return f"The sum of {a} and {b} is {a + b}."


@tool("trigger-long-running-operation")
async def long_running_operation(context: Context, duration: float = 10, steps: int = 5) -> str:
    for step in range(1, steps + 1):
        await anyio.sleep(duration / steps)
        await context.report_progress(step, steps)
    return f"Long running operation completed. Duration: {duration} seconds, Steps: {steps}."


@tool("toggle-simulated-logging")
async def simulated_logging(context: Context) -> str:
    await context.info("Info-level message")
    return "logged"


@tool("trigger-sampling-request")
async def sampling_request(context: Context, prompt: str, maxTokens: int = 100) -> str:
    declared(context, "sampling")
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    return plain(await context.session.create_message([message], max_tokens=maxTokens, related_request_id=context.request_id))


@tool("trigger-elicitation-request")
async def elicitation_request(context: Context) -> str:
    declared(context, "elicitation")
    answer = await context.elicit("Who are you?", Person)
    return plain(answer.data) if answer.action == "accept" else answer.action


@tool("trigger-url-elicitation")
async def url_elicitation(context: Context, url: str) -> str:
    if declared(context, "elicitation").url is None:
        raise ValueError("the client did not declare elicitation by URL")
    return (await context.elicit_url("Visit this", url, "visit")).action


@tool("get-roots-list")
async def roots_list(context: Context) -> str:
    declared(context, "roots")
    return plain(await context.session.list_roots())


@tool("gzip-file-as-resource")
async def file_as_resource(context: Context, name: str, data: str, outputType: str = "resourceLink") -> types.CallToolResult:
    content = base64.b64decode(data.partition(";base64,")[2])
    uri = f"made://files/{name}"
    server.add_resource(BinaryResource(uri=uri, name=name, mime_type="application/gzip", data=gzip.compress(content)))
    await context.session.send_resource_list_changed()
    return types.CallToolResult(content=[types.ResourceLink(type="resource_link", uri=uri, name=name)])


async def main() -> None:
    options = low.create_initialization_options(NotificationOptions(resources_changed=True))
    async with stdio_server() as (read, write):
        await low.run(read, write, options)


anyio.run(main)
