"""Every model call is told once, however it ends, and what viewers are shown is the sum of what is told: asked of the
database in SQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from tests.client import Client, Socket, caught_up, ended, says
from tests.provider import ProviderProcess, Script
from tests.system.cluster import DATABASES, Cluster, Database, NewCluster

PRICED = {"name": "priced", "model": "acme/m-1", "prices": {"input": 1_000, "output": 10_000}, "context_window": 9_000}
EAGER = {"LEASE": 3.0, "LEASE_RENEWAL": 1.0, "DRAIN": 0.5}
SUM: Any = {"tool": {"index": 0, "id": "a", "name": "calculator", "arguments": '{"expression": "17 * 23"}'}}
USED: Any = {"usage": {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}}
CALLS: Script = [SUM, USED]
WELL: Script = [{"text": "All well."}, USED]
HELD: Script = [{"text": "Once upon"}, {"gate": "never"}]
BROKEN: Script = [{"text": "Once upon"}, {"reset": True}]

RECORDS = """
SELECT data->>'outcome', CAST(data->>'attempt' AS INTEGER), CAST(data->>'hop' AS INTEGER)
FROM verbatim_history_event WHERE conversation_id = %s AND kind = 'completion_log' ORDER BY seq
"""
SUMS = """
SELECT count(*),
    SUM(CAST(COALESCE(data->'usage'->>'prompt', '0') AS INTEGER)),
    SUM(CAST(COALESCE(data->'usage'->>'completion', '0') AS INTEGER)),
    SUM(CASE WHEN CAST(data->>'estimated' AS TEXT) IN ('true', '1') THEN 1 ELSE 0 END),
    SUM(CAST(data->>'cost' AS DECIMAL))
FROM verbatim_history_event WHERE conversation_id = %s AND kind = 'completion_log'
"""
TURN = "SELECT prompt_tokens, completion_tokens, cost FROM verbatim_history_turn WHERE conversation_id = %s"


@asynccontextmanager
async def in_mid_call(client: Client) -> AsyncIterator[tuple[str, Socket]]:
    """A new conversation whose model is speaking, and a viewer of it."""
    conversation = await client.new_conversation()
    async with client.socket(conversation) as socket:
        await socket.send("Go on.")
        await socket.until(says("Once upon"))
        yield conversation, socket


async def seen_to_its_end(client: Client, conversation: str) -> None:
    """By somebody who comes to another process."""
    async with client.socket(conversation) as viewer:
        await viewer.until(ended())


async def assert_told(cluster: Cluster, conversation: str, *, records: list[tuple[str, int, int]]) -> None:
    """These calls are told, and nothing else is added up in what is shown and stored."""
    async with cluster.client(cluster.servers[-1]).socket(conversation) as viewer:
        await viewer.until(caught_up)
    shown = viewer.folded.stats

    assert cluster.rows(RECORDS, conversation) == records
    [(calls, prompt, completion, estimated, cost)] = cluster.rows(SUMS, conversation)
    for totals in (shown["conversation"], shown["turn"], shown["usage"]["agent"]):
        told = (totals["calls"], totals["prompt"], totals["completion"], totals.get("estimated", 0))
        assert told == (calls, prompt, completion, estimated)
        assert Decimal(totals["cost"]) == exactly(cost) > 0
    [(of_prompts, of_answers, of_all)] = cluster.rows(TURN, conversation)
    assert (of_prompts, of_answers, exactly(of_all)) == (prompt, completion, exactly(cost))
    assert viewer.folded.events[len(viewer.folded.events)]["data"]["cost"] == shown["turn"]["cost"]


def exactly(cost: Any) -> Decimal:
    """As far as prices go; SQLite adds up floats."""
    return Decimal(str(cost)).quantize(Decimal("0.00000001"))


@pytest.mark.parametrize("database", DATABASES)
async def test_a_call_is_told_once_whether_it_is_stopped_fails_is_lost_or_given_back(
    database: Database, new_cluster: NewCluster, provider: ProviderProcess
) -> None:
    """R23: in mid-call, of a first hop and of a second."""
    provider.script(WELL, queue=[HELD, BROKEN, CALLS, HELD, WELL, HELD, WELL])
    profile = {**PRICED, "base_url": provider.base_url}
    chat = {**EAGER, "PROFILES": [profile], "DEFAULT_PROFILE": "priced"}
    with new_cluster(database, kinds=["uvicorn", "daphne", "uvicorn"], chat=chat) as cluster:
        killed, drained, last = cluster.servers
        there = cluster.client(last)

        async with in_mid_call(cluster.client(killed)) as (stopped, viewer):
            await viewer.stop(str(viewer.folded.events[1]["turn"]))
            await viewer.until(ended())
        async with in_mid_call(cluster.client(killed)) as (failed, viewer):
            await viewer.until(ended())
        async with in_mid_call(cluster.client(killed)) as (lost, viewer):
            await asyncio.to_thread(killed.kill)
            await viewer.until_closed()
        await seen_to_its_end(there, lost)
        async with in_mid_call(cluster.client(drained)) as (released, viewer):
            drained.terminate()
            await viewer.until_closed()
        await seen_to_its_end(there, released)

        await assert_told(cluster, stopped, records=[("cancelled", 1, 0)])
        await assert_told(cluster, failed, records=[("failed", 1, 0)])
        await assert_told(cluster, lost, records=[("completed", 1, 0), ("lost", 1, 1), ("completed", 2, 1)])
        await assert_told(cluster, released, records=[("released", 1, 0), ("completed", 2, 0)])
        assert cluster.tracebacks() == []
    assert len(provider.log()) == 7
