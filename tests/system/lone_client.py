"""The Python client in a process of its own: `python tests/system/lone_client.py`, with `client` on the path and what
to do as JSON on its standard input.

It asks something, if there is something to be asked, and stays until a completion log of the last usage id among its
folders has come. For every event it writes a line of JSON, and one at the end with the snapshot and what was imported.
Its log, with all that libraries say, goes to the standard error.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import asdict
from typing import Any

from verbatim_client import AsyncRemoteConversation, Event

SERVERS = ("django", "channels", "msgspec", "aiohttp", "pydantic")


async def main(url: str, key: str, folders: dict[str, str], *, text: str, content: bool) -> None:
    """Ask, and tell what is heard."""
    conversation = AsyncRemoteConversation(url, key=key, log_folders=folders, log_content=content)

    def heard(event: Event) -> None:
        stats = conversation.stats
        tell(
            kind=event.kind,
            seq=event.seq,
            usage_id=event.data.get("usage_id"),
            calls=stats.conversation.calls,
            cost=stats.cost,
        )

    conversation.on(Event, heard)
    async with asyncio.timeout(60), conversation:
        await conversation.send(text)
        last = [*folders][-1]
        async for frame in conversation.frames(after=0):
            if isinstance(frame, Event) and frame.kind == "completion_log" and frame.data["usage_id"] == last:
                break
        foreign = [name for name in SERVERS if name in sys.modules]
        tell(kind="end", conversation=conversation.id, stats=asdict(conversation.stats), foreign=foreign)


def tell(**told: Any) -> None:
    """A line of JSON, now."""
    print(json.dumps(told, default=str), flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    asyncio.run(main(**json.load(sys.stdin)))
