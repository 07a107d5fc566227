"""A bare Channels consumer: it accepts, and that is all. What a socket costs before anything is done with it."""

from __future__ import annotations

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter
from django.conf import settings

settings.configure()

application = ProtocolTypeRouter({"websocket": AsyncWebsocketConsumer.as_asgi()})
