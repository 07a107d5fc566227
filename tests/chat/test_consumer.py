"""The socket in the test's own process: who is let in, and what a refusal is called."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User

from access.errors import AccessEnded, Forbidden, Unauthenticated
from access.keys import create_key
from access.principals import Scope
from chat.close import BY_CODE, Close
from chat.routing import websocket_urlpatterns
from history import conversations
from history.errors import ChatError, NotFound
from streaming.errors import Draining, InvalidCursor

END_THE_SOCKET: list[type[ChatError]] = [Unauthenticated, AccessEnded, Forbidden, NotFound, InvalidCursor, Draining]
"""Whatever opening and following may raise."""


def new_conversation(scopes: Iterable[Scope]) -> tuple[UUID, str]:
    """A conversation, and a key of its owner with these scopes."""
    user = User.objects.create_user("ada")
    return conversations.create(user.pk).pk, create_key(user, scopes=scopes).text


def socket(conversation_id: UUID, *, key: str) -> WebsocketCommunicator:
    """A socket that is not yet open."""
    application = URLRouter(websocket_urlpatterns)
    address = f"/ws/conversations/{conversation_id}/"
    return WebsocketCommunicator(application, address, headers=[(b"x-api-key", key.encode())])


@pytest.mark.usefixtures("async_db")
@pytest.mark.parametrize("scopes", [(), (Scope.CHAT,), (Scope.CHAT, Scope.ADMIN)], ids=",".join)
async def test_a_key_that_may_not_read_sees_nothing(scopes: tuple[Scope, ...]) -> None:
    conversation_id, key = await sync_to_async(new_conversation)(scopes)
    refused = socket(conversation_id, key=key)

    await refused.connect()
    said = await refused.receive_json_from()
    closed = await refused.receive_output()

    assert (said["type"], said["code"]) == ("error", "forbidden")
    assert closed == {"type": "websocket.close", "code": Close.FORBIDDEN}


@pytest.mark.parametrize("error", END_THE_SOCKET)
def test_whatever_ends_a_socket_has_a_close_code(error: type[ChatError]) -> None:
    assert error.code in BY_CODE
