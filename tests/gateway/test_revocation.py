"""Keys that end while an answer to them is being written: nobody waits until all rights are looked at again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from access.errors import AccessEnded
from access.keys import principal_of_key, revoke, rights_changed, verify
from access.models import ApiKey
from history.models import Turn
from llm.types import TextDelta
from streaming import hub
from streaming.follow import follow
from streaming.turns import stop_turn
from tests.asgi import asking
from tests.gateway.conftest import ADDRESS, SAY_HI

RARELY = {"GATEWAY_PATIENCE": 60.0, "RECHECK": 3_600.0}


@pytest.fixture(autouse=True)
def _rarely(door: Any, settings: Any) -> None:
    settings.CHAT = RARELY


def held() -> list[Any]:
    """A reply that stops for ever after its first word."""
    return [TextDelta(text="One "), asyncio.Event()]


def revoked() -> None:
    assert revoke(ApiKey.objects.all()) == 1


def deleted() -> None:
    ApiKey.objects.get().delete()


def narrowed() -> None:
    row = ApiKey.objects.get()
    row.scopes = ["chat"]
    row.save()


@pytest.mark.parametrize("ends", [revoked, deleted, narrowed])
async def test_a_key_that_ends_ends_its_open_streams_and_not_the_turn(door: Any, ends: Callable[[], None]) -> None:
    """S3, R11."""
    at = await door([held()])
    body = {"model": "demo", "messages": SAY_HI, "stream": True}

    async with asking("POST", ADDRESS, headers=at.headers, body=body) as stream:
        while b"One " not in stream.body:
            await stream.read()
        await sync_to_async(ends)()
        await stream.whole()

    (error,) = [line for line in stream.body.splitlines() if b'"error"' in line]
    assert b'"code":"invalid_api_key"' in error
    assert b"[DONE]" not in stream.body
    turn = await Turn.objects.aget()
    assert turn.status == "running"
    await sync_to_async(stop_turn)(at.on.principal, turn.pk)


async def test_who_waits_for_a_whole_answer_is_told_too(door: Any) -> None:
    """S3."""
    at = await door([held()])
    waiting = asyncio.create_task(at.ask())
    async with asyncio.timeout(60):
        while not at.on.engine.hub.viewers:  # noqa: ASYNC110 -- nobody tells that somebody waits
            await asyncio.sleep(0)

    await sync_to_async(revoked)()

    with pytest.raises(openai.AuthenticationError) as ended:
        await waiting
    assert ended.value.code == "invalid_api_key"


async def test_who_was_let_in_before_and_begins_to_follow_after_is_found_too(
    door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3."""
    monkeypatch.setattr(hub, "LATE", 3_600.0)
    at = await door([])
    principal = principal_of_key(await sync_to_async(verify)(at.key))

    await sync_to_async(revoked)()

    async with asyncio.timeout(60), aclosing(_followed(at, principal)) as frames:
        with pytest.raises(AccessEnded):
            await _to_the_end(frames)


async def test_a_key_that_expires_ends_what_it_has_open(door: Any) -> None:
    """S3. What the process remembers of the key is only when to ask."""
    at = await door([])
    before = await sync_to_async(verify)(at.key)
    await ApiKey.objects.aupdate(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    principal = replace(principal_of_key(before), expires_at=datetime.now(UTC))

    async with asyncio.timeout(60), aclosing(_followed(at, principal)) as frames:
        with pytest.raises(AccessEnded):
            await _to_the_end(frames)


async def test_a_key_that_was_given_more_time_is_left_alone(door: Any) -> None:
    at = await door([])
    row = await sync_to_async(verify)(at.key)
    early = replace(principal_of_key(row), expires_at=datetime.now(UTC))
    late = replace(early, key_id=0, expires_at=datetime.now(UTC))

    async with asyncio.timeout(60), aclosing(_followed(at, early)) as frames:
        await anext(frames)
        async with aclosing(_followed(at, late)) as others:
            with pytest.raises(AccessEnded):
                await _to_the_end(others)
        viewers = {viewer.principal: viewer.refusal for viewer in at.on.engine.hub.viewers}

    assert viewers == {early: None}


async def test_nobody_is_told_before_the_commit_or_of_a_new_key(door: Any) -> None:
    at = await door([])
    told: list[Any] = []

    def listen(**about: Any) -> None:
        told.append(about["sender"])

    def act() -> list[int]:
        counts = []
        with transaction.atomic():
            revoke(ApiKey.objects.all())
            counts.append(len(told))
        counts.append(len(told))
        ApiKey.objects.create(owner=at.on.user, prefix="new")
        return [*counts, len(told)]

    rights_changed.connect(listen)
    counts = await sync_to_async(act)()
    rights_changed.disconnect(listen)

    assert counts == [0, 1, 1]


async def _to_the_end(stream: Any) -> None:
    async for _ in stream:
        pass


def _followed(at: Any, principal: Any) -> Any:
    return follow(at.on.conversation_id, hub=at.on.engine.hub, principal=principal)
