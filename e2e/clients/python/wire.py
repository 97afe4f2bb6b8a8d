"""What passes on the wire, as plain JSON values, the same for both SDKs."""

from contextlib import asynccontextmanager

import anyio
from mcp import types
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

SAMPLE = {
    "role": "assistant",
    "content": {"type": "text", "text": "a sample from the client"},
    "model": "model-of-the-client",
    "stopReason": "endTurn",
}
ELICITED = {"action": "accept", "content": {"name": "Ada Lovelace", "integer": 7}}


def plain(model) -> dict:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


class Answers:
    """What the client answers to the server's requests, and what it was asked."""

    def __init__(self) -> None:
        self.listed = [{"uri": "file:///home/user/first", "name": "first root"}]
        self.asked: list[dict] = []

    async def sample(self, _context, params) -> types.CreateMessageResult:
        self.asked.append(plain(params))
        return types.CreateMessageResult.model_validate(SAMPLE)

    async def elicit(self, _context, params) -> types.ElicitResult:
        self.asked.append(plain(params))
        accepted = {"action": "accept"} if self.asked[-1].get("mode") == "url" else ELICITED
        return types.ElicitResult.model_validate(accepted)

    async def roots(self, _context) -> types.ListRootsResult:
        return types.ListRootsResult.model_validate({"roots": self.listed})

    def callbacks(self) -> dict:
        return {
            "sampling_callback": self.sample,
            "elicitation_callback": self.elicit,
            "list_roots_callback": self.roots,
        }


class Inbox:
    """Every message the server sent, in order of arrival."""

    def __init__(self) -> None:
        self.messages: list[dict] = []
        self._arrival = anyio.Event()

    def push(self, item):
        if not isinstance(item, Exception):
            self.messages.append(plain(item.message))
            self._arrival.set()
            self._arrival = anyio.Event()
        return item

    def mark(self) -> int:
        return len(self.messages)

    def answers(self, mark: int = 0) -> list[dict]:
        return [message for message in self.messages[mark:] if "result" in message or "error" in message]

    def last(self) -> str:
        return f"last message: {str(self.messages[-1])[:200] if self.messages else 'none'}"

    async def notification(self, method: str, mark: int, wanted=lambda params: True) -> dict:
        """Waits for the first such notification after the mark; the check's deadline bounds it."""
        while True:
            for message in self.messages[mark:]:
                if message.get("method") == method and wanted(message.get("params", {})):
                    return message.get("params", {})
            await self._arrival.wait()


class _Tapped:
    """A read stream that also shows every item to the inbox."""

    def __init__(self, stream, inbox: Inbox) -> None:
        self._stream, self._inbox = stream, inbox

    def __getattr__(self, name):
        return getattr(self._stream, name)

    async def receive(self):
        return self._inbox.push(await self._stream.receive())

    def __aiter__(self):
        return self

    async def __anext__(self):
        return self._inbox.push(await self._stream.__anext__())

    async def __aenter__(self):
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error):
        return await self._stream.__aexit__(*error)


@asynccontextmanager
async def transport(args, inbox: Inbox, httpx, **options):
    """The SDK's own transport, tapped. `httpx` is the HTTP library that this SDK uses."""
    if args.transport == "sse":
        async with sse_client(args.url, headers=args.header) as (read, write, *_):
            yield _Tapped(read, inbox), write
    else:
        timeout = httpx.Timeout(args.timeout, read=None)  # A stream may be idle for longer.
        async with httpx.AsyncClient(headers=args.header, timeout=timeout) as http:
            async with streamable_http_client(args.url, http_client=http, **options) as (read, write, *_):
                yield _Tapped(read, inbox), write
