"""The socket's address, to be included in a site's own routing."""

from __future__ import annotations

from django.urls import path, re_path

from chat.consumer import ConversationConsumer
from streaming.asgi import Receive, Send


async def refuse(scope: dict[str, object], receive: Receive, send: Send) -> None:
    """Answer a handshake with 403, without a word in the log: channels has a traceback for each stray one."""
    await receive()
    await send({"type": "websocket.close"})


websocket_urlpatterns = [
    path("ws/conversations/<uuid:conversation_id>/", ConversationConsumer.as_asgi(), name="conversation_socket")
]

elsewhere = re_path("", refuse)  # type: ignore[arg-type]  # django's stubs know views only
"""Whatever no other pattern answers; the last one of the outermost router."""
