"""Profiles of the table in several processes: known at once, changed within seconds, found by who takes a turn over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.client import Client, ended, says
from tests.provider import ProviderProcess
from tests.system.cluster import Cluster, NewCluster

ROOT = """
from django.contrib.auth.models import User
from access.keys import create_key
from access.principals import Scope
print(create_key(User.objects.create_superuser("root"), scopes=list(Scope)).text)
"""
SHORT_LEASE = {"LEASE": 1.0, "LEASE_RENEWAL": 0.25}
FAST = "/api/v1/profiles/fast"


@pytest.fixture
def two(new_cluster: NewCluster) -> Iterator[Cluster]:
    """Two processes, whose providers may be on this machine."""
    with new_cluster("SQLite", kinds=("daphne", "uvicorn"), chat={**SHORT_LEASE, "PRIVATE_PROVIDERS": True}) as two:
        yield two


async def label_becomes(label: str, *, at: Client) -> bool:
    """Waits until the models there have it."""
    while True:
        if label in [model["label"] for model in await at.call("GET", "/api/v1/models/")]:
            return True


async def test_a_profile_is_the_same_for_all_processes(two: Cluster, provider: ProviderProcess) -> None:
    here, there = two.clients
    manager = Client(here.url, key=two.site.manage("shell", "-v", "0", "-c", ROOT).strip())
    provider.script([{"text": "So far"}, {"gate": "rest"}])
    conversation = await there.new_conversation()
    await there.call("GET", "/api/v1/models/")  # there the table is remembered as it was

    await manager.call("POST", FAST, {"model": "quick", "base_url": provider.base_url, "system_prompt": "Be brief."})
    async with there.socket(conversation) as socket:
        await socket.send("hi", model="fast")
        await socket.until(says("So far"))
    await manager.call("PATCH", FAST, {"label": "Faster", "audience": "everyone"})
    async with asyncio.timeout(5):
        is_seen = await label_becomes("Faster", at=there)
    await asyncio.to_thread(two.servers[1].kill)
    provider.open_gate("rest")
    async with here.socket(conversation) as socket:
        await socket.until(ended())

    assert is_seen
    assert [event["kind"] for event in socket.folded.events.values()] == [
        "user_message", "turn_restarted", "assistant_message", "turn_ended"
    ]  # fmt: skip
    asked = [(call["body"]["model"], call["body"]["messages"][0]["content"]) for call in provider.log()]
    assert asked == [("quick", "Be brief.")] * 2
    assert two.tracebacks() == []
