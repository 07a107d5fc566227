"""Rights that end while a socket is open."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp
import pytest

from chat.close import Close
from streaming.frames import Error
from tests.client import Client, caught_up
from tests.server import Kind, ServerProcess, Site

REVOKE = "from access.models import ApiKey; from access.keys import revoke; revoke(ApiKey.objects.filter(prefix={!r}))"
NARROW = "from access.models import ApiKey; ApiKey.objects.filter(prefix={!r}).update(scopes=['read'])"
DEACTIVATE = (
    "from access.models import ApiKey; from django.contrib.auth.models import User;"
    "User.objects.filter(verbatim_api_keys__prefix={!r}).update(is_active=False)"
)


@pytest.fixture
def watchful(site: Site, kind: Kind) -> Iterator[ServerProcess]:
    """A server that looks again very often."""
    with site.start(kind, chat={"RECHECK": 0.1}) as process:
        yield process


def take_away(site: Site, how: str, *, key: str) -> None:
    site.manage("shell", "-c", how.format(key.split("_")[1]))


@pytest.mark.parametrize("how", [REVOKE, NARROW], ids=["revoked", "narrowed"])
async def test_a_key_that_may_do_less_than_before_loses_its_socket(
    watchful: ServerProcess, site: Site, key: str, how: str
) -> None:
    """S3."""
    client = Client(watchful.url, key=key)

    async with client.socket(await client.new_conversation()) as socket:
        await socket.until(caught_up)
        take_away(site, how, key=key)
        code = await socket.until_closed()

    assert code == Close.UNAUTHENTICATED
    assert isinstance(socket.answers[-1], Error)
    assert socket.answers[-1].code == "access_ended"


async def test_a_user_who_is_deactivated_can_send_nothing_more(client: Client, site: Site, key: str) -> None:
    """S3. Long before anybody looks again: every message asks."""
    async with client.socket(await client.new_conversation()) as socket:
        await socket.until(caught_up)
        take_away(site, DEACTIVATE, key=key)
        await socket.send("Still here?")
        refused = await socket.answer()
        code = await socket.until_closed()

    assert isinstance(refused, Error)
    assert (refused.code, code) == ("access_ended", Close.UNAUTHENTICATED)
    assert socket.folded.events == {}


@pytest.mark.parametrize("form", ["Authorization", "X-API-Key", "X-Session-API-Key"])
async def test_a_key_opens_every_door_in_every_header_form(client: Client, key: str, form: str) -> None:
    """S6."""
    client.headers = {form: f"Bearer {key}" if form == "Authorization" else key}

    conversation = await client.new_conversation()
    async with client.socket(conversation) as socket:
        await socket.until(caught_up)
    client.headers = {form: f"Bearer {key}x" if form == "Authorization" else f"{key}x"}
    with pytest.raises(aiohttp.ClientResponseError) as refused:
        await client.new_conversation()
    async with client.socket(conversation) as socket:
        code = await socket.until_closed()

    assert (refused.value.status, code) == (401, Close.UNAUTHENTICATED)
