"""The scripted double."""

from __future__ import annotations

import asyncio

import pytest

from llm.errors import Unavailable
from llm.scripted import ScriptedModel, ScriptExhausted, says
from llm.types import TextDelta
from tests.llm.conftest import REQUEST, ask


async def test_replies_come_in_order_and_requests_are_kept() -> None:
    model = ScriptedModel([says("one"), says("two", reason="length")])

    replies = [await ask(model), await ask(model)]

    assert [(reply.text, reply.finish_reason) for reply in replies] == [("one", "stop"), ("two", "length")]
    assert model.requests == [REQUEST, REQUEST]
    assert model.endings == ["completed", "completed"]


async def test_it_raises_what_the_script_says_where_it_says() -> None:
    model = ScriptedModel([[TextDelta(text="a"), Unavailable()]])
    stream = model.stream(REQUEST)

    assert await anext(stream) == TextDelta(text="a")
    with pytest.raises(Unavailable):
        await anext(stream)
    assert model.endings == ["Unavailable"]


async def test_it_waits_at_a_gate() -> None:
    gate = asyncio.Event()
    model = ScriptedModel([[gate, *says("after")]])
    task = asyncio.create_task(ask(model))
    await asyncio.wait([task], timeout=0)
    assert not task.done()

    gate.set()

    assert (await task).text == "after"


async def test_a_script_that_runs_out_fails_loudly() -> None:
    with pytest.raises(ScriptExhausted, match="call 1, but the script has 0 replies"):
        await ask(ScriptedModel([]))
