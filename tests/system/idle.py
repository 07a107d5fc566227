"""Viewers to whom nothing is said: what keeps their connections open is heartbeats alone."""

from __future__ import annotations

import asyncio

import aiohttp
from websockets.asyncio.client import connect

from tests.client import GOODBYE, Client
from tests.sse import Reader


async def beats_of_socket(client: Client, conversation: str, *, count: int) -> int:
    """Hear so many heartbeats on one socket, sending nothing, not even pings; how many came."""
    address = f"{client.url.replace('http', 'ws', 1)}/ws/conversations/{conversation}/"
    heard = 0
    async with connect(
        address, additional_headers=client.headers, ping_interval=None, proxy=None, close_timeout=GOODBYE
    ) as socket:
        async for frame in socket:
            heard += b'"heartbeat"' in (frame if isinstance(frame, bytes) else frame.encode())
            if heard == count:
                break
    return heard


async def beats_of_stream(client: Client, conversation: str, *, count: int) -> int:
    """The same on one response of server-sent events."""
    reader = Reader()
    async with (
        aiohttp.ClientSession(headers=client.headers, timeout=aiohttp.ClientTimeout()) as session,
        session.get(f"{client.url}/api/v1/conversations/{conversation}/stream/") as response,
    ):
        async for chunk in response.content.iter_any():
            if len(reader.feed(chunk).comments) >= count:
                break
    return len(reader.comments)


async def hold(client: Client, *, heartbeats: int) -> list[int]:
    """Two sockets and two streams at a time, so that two servers that share them evenly have one of each."""
    conversation = await client.new_conversation()
    return await asyncio.gather(
        *(beats_of_socket(client, conversation, count=heartbeats) for _ in range(2)),
        *(beats_of_stream(client, conversation, count=heartbeats) for _ in range(2)),
    )
