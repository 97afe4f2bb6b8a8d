"""The Python SDK of the 2.x line: the high-level `Client`."""

from contextlib import asynccontextmanager

import httpx2
from mcp import Client

from wire import plain, transport


@asynccontextmanager
async def connect(args, inbox, answers):
    mode = {"mode": args.mode} if args.mode else {}
    # Else it takes no event of more than 1 MiB; its client of HTTP+SSE has no such setting.
    wire = transport(args, inbox, httpx2, max_sse_event_size=None)
    # From 2026-07-28 on requests say themselves what they want logged.
    async with Client(wire, log_level="debug", **answers.callbacks(), **mode) as client:
        yield client, {
            "protocolVersion": client.protocol_version,
            "serverInfo": plain(client.server_info) if client.server_info else {},
            "capabilities": plain(client.server_capabilities),
        }


async def cancel(_client, scope, _request_id):
    """Abandoning the call is enough: the client sends the notice itself."""
    scope.cancel()
