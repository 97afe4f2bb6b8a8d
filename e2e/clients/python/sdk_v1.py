"""The Python SDK of the 1.x line: `ClientSession` over a transport."""

from contextlib import asynccontextmanager

import httpx
from mcp import ClientSession, types

from wire import plain, transport


@asynccontextmanager
async def connect(args, inbox, answers):
    if args.mode not in (None, "legacy"):
        raise ValueError(f"this SDK has no mode {args.mode!r}")
    async with transport(args, inbox, httpx) as (read, write):
        async with ClientSession(read, write, **answers.callbacks()) as session:
            yield session, plain(await session.initialize())


async def cancel(session, _scope, request_id):
    """This line sends no notice when a call is abandoned, so the application sends it."""
    params = types.CancelledNotificationParams(requestId=request_id, reason="check")
    notification = types.CancelledNotification(method="notifications/cancelled", params=params)
    await session.send_notification(types.ClientNotification(notification))
