"""What one writes first: a Channels consumer that asks through litellm and sends each token to a group.

Nothing is stored or resumed. The channel layer is in memory, or on the Redis that `REDIS_URL` names.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any
from uuid import uuid4

from django.conf import settings

redis = os.environ.get("REDIS_URL")
layer: dict[str, Any] = (
    {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [redis]}}
    if redis
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
)
settings.configure(CHANNEL_LAYERS={"default": layer})

import litellm  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter  # noqa: E402


class Conversation(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Any path is a conversation of its own."""

    async def connect(self) -> None:
        self.group = uuid4().hex
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Answer in a task: while this handler runs, none of the group's messages would be handled."""
        self.answering = asyncio.create_task(self.answer(json.loads(text_data or "{}")["text"]))

    async def answer(self, question: str) -> None:
        stream = await litellm.acompletion(
            model="openai/scripted",
            api_base=os.environ["OPENAI_BASE_URL"],
            api_key="none",
            messages=[{"role": "user", "content": question}],
            stream=True,
        )
        async for chunk in stream:
            if token := chunk.choices[0].delta.content:
                await self.channel_layer.group_send(self.group, {"type": "chat.token", "token": token})

    async def chat_token(self, message: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps({"type": "token", "token": message["token"]}))


application = ProtocolTypeRouter({"websocket": Conversation.as_asgi()})
