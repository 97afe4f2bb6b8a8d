"""The checks, in plain JSON values. Each returns what it saw; `Skip` means the server lacks it.

../ts/checks.mjs holds the same checks for the TypeScript SDKs.
"""

import base64
import gzip
import json
import uuid
from contextlib import asynccontextmanager, nullcontext

import anyio
from mcp import types

from wire import ELICITED, SAMPLE, plain


class Skip(Exception):
    pass


async def pages(fetch, kind: str) -> list[dict]:
    """Every item of a list, through all its pages."""
    items, cursor = [], None
    while True:
        page = plain(await fetch(cursor=cursor))
        items += page[kind]
        if (cursor := page.get("nextCursor")) is None:
            return items


async def tool_names(peer) -> set[str]:
    return {tool["name"] for tool in await pages(peer.client.list_tools, "tools")}


async def tool(peer, name: str) -> str:
    """The tool's name at this endpoint, or a skip when the server has no such tool."""
    if peer.prefix + name not in await tool_names(peer):
        raise Skip(f"no tool {peer.prefix}{name}")
    return peer.prefix + name


def capability(peer, name: str) -> dict:
    if name not in peer.info["capabilities"]:
        raise Skip(f"the server declares no {name}")
    return peer.info["capabilities"][name]


def text(result: dict) -> str:
    assert not result.get("isError"), f"the tool failed: {result['content']}"
    return "\n".join(block.get("text", "") for block in result["content"])


async def call(peer, name: str, arguments: dict | None = None, **options) -> dict:
    return plain(await peer.client.call_tool(await tool(peer, name), arguments or {}, **options))


def expect(seen, wanted, what: str) -> None:
    assert seen == wanted, f"{what}: wanted {wanted!r}, got {seen!r}"[:500]


async def check_initialize(peer) -> str:
    server = peer.info["serverInfo"]
    assert server.get("name"), "the server has no name"
    return f"{server['name']} {server.get('version')}, {peer.info['protocolVersion']}"


async def check_list(peer) -> str:
    tools = await pages(peer.client.list_tools, "tools")
    # On the aggregate, what a server has for clients that can do certain things comes when it was asked for that.
    while peer.prefix and all(tool["name"] != f"{peer.prefix}get-roots-list" for tool in tools):
        await anyio.sleep(0.2)
        tools = await pages(peer.client.list_tools, "tools")
    names = [tool["name"] for tool in tools]
    assert any(name.startswith(peer.prefix) for name in names), f"no tool begins with {peer.prefix!r}: {names}"
    expect(len(set(names)), len(names), "distinct names")
    expect([t["name"] for t in tools if t["inputSchema"].get("type") != "object"], [], "tools without a schema")
    return f"{len(names)} tools"


async def check_call(peer) -> str:
    names = await tool_names(peer)
    if peer.prefix + "echo" in names:
        message = f"héllo {uuid.uuid4()}"
        expect(text(await call(peer, "echo", {"message": message})), f"Echo: {message}", "echo")
        expect(text(await call(peer, "get-sum", {"a": 2, "b": 40})), "The sum of 2 and 40 is 42.", "sum")
        return "echo, get-sum"
    if peer.prefix + "get_current_time" in names:
        now = json.loads(text(await call(peer, "get_current_time", {"timezone": "Europe/Paris"})))
        expect(now["timezone"], "Europe/Paris", "timezone")
        return f"get_current_time: {now['datetime']}"
    raise Skip("no tool that this check knows")


async def check_progress(peer) -> str:
    seen = []

    async def progress(done, total, _message=None) -> None:
        seen.append((done, total))

    await call(peer, "trigger-long-running-operation", {"duration": 1, "steps": 4}, progress_callback=progress)
    expect(seen, [(step, 4) for step in range(1, 5)], "progress")
    return f"{len(seen)} steps in order, then the answer"


async def check_log(peer) -> str:
    capability(peer, "logging")
    toggle = await tool(peer, "toggle-simulated-logging")
    if not is_modern(peer):
        await peer.client.set_logging_level("debug")
    mark = peer.inbox.mark()
    await peer.client.call_tool(toggle, {})
    try:
        entry = await peer.inbox.notification(
            "notifications/message", mark, lambda p: "level" in str(p["data"]).lower() and "message" in str(p["data"])
        )
    finally:
        await peer.client.call_tool(toggle, {})
    return f"{entry['level']}: {entry['data']}"


async def check_cancel(peer) -> str:
    """A cancelled call is never answered, and the session goes on."""
    operation = await tool(peer, "trigger-long-running-operation")
    mark = peer.inbox.mark()

    async def progress(*_) -> None:
        pass

    async def start(task_status) -> None:
        with anyio.CancelScope() as scope:
            task_status.started(scope)
            await peer.client.call_tool(operation, {"duration": 2, "steps": 8}, progress_callback=progress)

    async with anyio.create_task_group() as tasks:
        scope = await tasks.start(start)
        token = (await peer.inbox.notification("notifications/progress", mark))["progressToken"]
        await peer.cancel(peer.client, scope, token)
        await anyio.sleep(3)
        scope.cancel()
    expect(peer.inbox.answers(mark), [], "answers to a cancelled call")
    expect(text(await call(peer, "echo", {"message": "on"})), "Echo: on", "the session afterwards")
    return "no answer within 3 s, session alive"


async def check_sampling(peer) -> str:
    prompt = f"prompt {uuid.uuid4()}"
    result = text(await call(peer, "trigger-sampling-request", {"prompt": prompt, "maxTokens": 17}))
    asked = peer.answers.asked[-1]
    assert prompt in json.dumps(asked["messages"]), f"another request reached the client: {asked}"
    expect(asked["maxTokens"], 17, "maxTokens")
    for wanted in (SAMPLE["content"]["text"], SAMPLE["model"]):
        assert wanted in result, f"{wanted!r} did not come back: {result}"
    return "the sample came back"


async def check_elicitation(peer) -> str:
    result = text(await call(peer, "trigger-elicitation-request"))
    assert "name" in peer.answers.asked[-1]["requestedSchema"]["properties"], "the schema was lost"
    assert ELICITED["content"]["name"] in result, f"the answer did not come back: {result}"
    return "the answer came back"


async def check_elicitation_url(peer) -> str:
    url = f"https://example.com/{uuid.uuid4()}"
    result = text(await call(peer, "trigger-url-elicitation", {"url": url}))
    expect((peer.answers.asked[-1].get("mode"), peer.answers.asked[-1].get("url")), ("url", url), "what was asked")
    assert "accept" in result or "User completed" in result, f"the answer did not come back: {result}"
    return "the answer came back"


async def check_roots(peer) -> str:
    name = await tool(peer, "get-roots-list")
    await _roots_shown(peer, name)
    if is_modern(peer):
        return f"{len(peer.answers.listed)} roots; that revision has no list_changed"
    peer.answers.listed.append({"uri": f"file:///home/user/{uuid.uuid4()}", "name": "later root"})
    await peer.client.send_roots_list_changed()
    await _roots_shown(peer, name)
    return f"{len(peer.answers.listed)} roots, the last after list_changed"


async def _roots_shown(peer, name: str) -> None:
    """The server asks for roots by itself, some time after the handshake or a change."""
    while True:
        shown = text(plain(await peer.client.call_tool(name, {})))
        if all(root["uri"] in shown for root in peer.answers.listed):
            return
        await anyio.sleep(0.1)


async def check_resources(peer) -> str:
    capability(peer, "resources")
    resources = await pages(peer.client.list_resources, "resources")
    documents = (r for r in resources if r["uri"].startswith(peer.address) and r["uri"].endswith("instructions.md"))
    document = next(documents, None)
    if document is None:
        raise Skip(f"no resource that this check knows among {len(resources)}")
    contents = plain(await peer.client.read_resource(document["uri"]))["contents"]
    expect([c["uri"] for c in contents], [document["uri"]], "uri")
    assert "Everything" in contents[0]["text"], f"another text: {contents[0]['text'][:80]}"
    return f"{len(resources)} resources, read {document['uri']}"


async def dynamic_uri(peer, number: int) -> str:
    """A URI made from the server's template of text resources."""
    capability(peer, "resources")
    templates = await pages(peer.client.list_resource_templates, "resourceTemplates")
    for template in templates:
        uri = template["uriTemplate"]
        if uri.startswith(peer.address) and uri.endswith("text/{resourceId}"):
            return uri.replace("{resourceId}", str(number))
    raise Skip(f"no template that this check knows among {len(templates)}")


async def check_templates(peer) -> str:
    uri = await dynamic_uri(peer, 7)
    contents = plain(await peer.client.read_resource(uri))["contents"]
    assert contents[0]["text"].startswith("Resource 7:"), f"another resource: {contents[0]}"
    return f"read {uri}"


async def prompt(peer, name: str) -> str:
    capability(peer, "prompts")
    names = [p["name"] for p in await pages(peer.client.list_prompts, "prompts")]
    if peer.prefix + name not in names:
        raise Skip(f"no prompt {peer.prefix}{name}")
    return peer.prefix + name


async def check_prompts(peer) -> str:
    name = await prompt(peer, "args-prompt")
    result = plain(await peer.client.get_prompt(name, {"city": "Zürich", "state": "ZH"}))
    expect(result["messages"][0]["content"]["text"], "What's weather in Zürich, ZH?", "prompt")
    return name


async def check_completion(peer) -> str:
    capability(peer, "completions")
    ref = {"type": "ref/prompt", "name": await prompt(peer, "completable-prompt")}
    expect(await complete(peer, ref, "department", "E"), ["Engineering"], "department")
    expect(await complete(peer, ref, "name", "", {"department": "Sales"}), ["David", "Eve", "Frank"], "name")
    ref = {"type": "ref/resource", "uri": (await dynamic_uri(peer, 0)).removesuffix("0") + "{resourceId}"}
    expect(await complete(peer, ref, "resourceId", "3"), ["3"], "resourceId")
    return "prompt, prompt with context, template"


async def complete(peer, ref: dict, argument: str, value: str, context: dict | None = None) -> list[str]:
    kind = types.PromptReference if ref["type"] == "ref/prompt" else types.ResourceTemplateReference
    result = await peer.client.complete(
        kind.model_validate(ref), {"name": argument, "value": value}, context_arguments=context
    )
    return plain(result)["completion"]["values"]


async def check_subscribe(peer) -> str:
    toggle = await tool(peer, "toggle-subscriber-updates")
    if not capability(peer, "resources").get("subscribe"):
        raise Skip("the server takes no subscriptions")
    uri = await dynamic_uri(peer, 1)
    async with subscribed(peer, uri):
        mark = peer.inbox.mark()
        await peer.client.call_tool(toggle, {})
        try:
            await peer.inbox.notification("notifications/resources/updated", mark, lambda p: p["uri"] == uri)
        finally:
            await peer.client.call_tool(toggle, {})
    return f"updated {uri}"


@asynccontextmanager
async def subscribed(peer, uri: str):
    """From 2026-07-28 on a client listens instead."""
    if is_modern(peer):
        async with peer.client.listen(resource_subscriptions=[uri]):
            yield
        return
    await peer.client.subscribe_resource(uri)
    yield
    await peer.client.unsubscribe_resource(uri)


async def check_list_changed(peer) -> str:
    """A tool makes a resource: the client is told, lists it and reads it."""
    await tool(peer, "gzip-file-as-resource")
    name, content = f"{uuid.uuid4()}.gz", b"made by a check"
    data = f"data:text/plain;base64,{base64.b64encode(content).decode()}"
    async with peer.client.listen(resources_list_changed=True) if is_modern(peer) else nullcontext():
        mark = peer.inbox.mark()
        result = await call(peer, "gzip-file-as-resource", {"name": name, "data": data, "outputType": "resourceLink"})
        await peer.inbox.notification("notifications/resources/list_changed", mark)
    uri = result["content"][0]["uri"]
    while uri not in {r["uri"] for r in await pages(peer.client.list_resources, "resources")}:
        await anyio.sleep(0.1)
    blob = plain(await peer.client.read_resource(uri))["contents"][0]["blob"]
    expect(gzip.decompress(base64.b64decode(blob)), content, "content")
    return f"told, listed and read {uri}"


def is_modern(peer) -> bool:
    return peer.info["protocolVersion"] >= "2026-07-28"


async def check_ping(peer) -> str:
    if is_modern(peer):
        return "that revision has none"
    await peer.client.send_ping()
    return "answered"


async def check_large(peer) -> str:
    """Below 1 MiB, which is what the Python SDK 2.x takes by itself."""
    return await _there_and_back(peer, "größe " * 110_000)


async def check_huge(peer) -> str:
    return await _there_and_back(peer, "größe " * 1_250_000)


async def _there_and_back(peer, message: str) -> str:
    expect(len(text(await call(peer, "echo", {"message": message}))), len(message) + len("Echo: "), "length")
    return f"{len(message.encode())} bytes there and back"


async def check_resume(peer) -> str:
    """The network breaks at the first step of a call of seven (see e2e/src/matrix/relay.rs)."""
    if peer.transport == "sse":
        raise Skip("a new connection of HTTP+SSE is a new session")

    async def progress(*_) -> None:
        pass

    with anyio.fail_after(20):
        arguments = {"duration": 2, "steps": 7}
        text(await call(peer, "trigger-long-running-operation", arguments, progress_callback=progress))
    return "answered"


async def check_answers(peer) -> str:
    """Over the whole session: no request was answered twice."""
    ids = [message["id"] for message in peer.inbox.answers()]
    expect(len(set(ids)), len(ids), "distinct ids")
    return f"{len(ids)} answers"


ALL = {name.removeprefix("check_"): value for name, value in list(globals().items()) if name.startswith("check_")}
