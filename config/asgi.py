"""The ASGI application: HTTP and WebSocket, in front of them whatever starts the engine of this process."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


def with_engine(app: Application, *, start: Callable[[], object]) -> Application:
    """The application, with the engine started (`start` is asked every time) on the loop that brings the first scope
    of any kind. Not in `lifespan`: daphne sends none."""

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        start()
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        else:
            await app(scope, receive, send)

    return application


async def lifespan(receive: Receive, send: Send) -> None:
    """Answer uvicorn's start and end. Nothing is done here: the engine ends on the signal, under every server."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def build() -> Application:
    """The whole application. What it imports needs Django to be set up, which the first line does."""
    http = get_asgi_application()
    _ = settings.SECRET_KEY  # an empty one raises: now, not at the first cookie
    from chat.routing import websocket_urlpatterns
    from streaming.engine import ensure_started

    websocket = URLRouter(websocket_urlpatterns)
    return with_engine(ProtocolTypeRouter({"http": http, "websocket": websocket}), start=ensure_started)


application = build()
