"""Stop: the provider's connection closes, what was said stays, and the conversation goes on."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from statistics import median
from typing import Any

import pytest

from tests.client import Client, Socket, ended, says
from tests.fold import Folded
from tests.provider import ProviderProcess, Script
from tests.server import Kind, ServerProcess, Site
from tests.system.held import kinds
from tests.system.viewers import fresh_read

pytestmark = pytest.mark.alone
STOPS = 20
TOOLS = ["tools.builtin.calculator", "tests.system.slow_tools.waits", "tests.system.slow_tools.works"]
HALF_A_CALL = {"tool": {"index": 0, "id": "a", "name": "calculator", "arguments": '{"expre'}}
MID_TEXT: list[Script] = [
    [{"text": "Once upon"}, {"gate": "never"}],
    [{"reasoning": "A tale?"}, {"text": "Once upon"}, {"words": 10_000, "rate": 50}],
    [{"text": "Once upon"}, HALF_A_CALL, {"gate": "never"}],
]


@pytest.fixture(scope="module")
def server(kind: Kind, site: Site) -> Iterator[ServerProcess]:
    """A server with slow tools."""
    with site.start(kind, chat={"TOOLS": TOOLS}) as process:
        yield process


@asynccontextmanager
async def asked(client: Client, text: str = "Go on.") -> AsyncIterator[tuple[Socket, str]]:
    """A socket in a new conversation with a running turn, and its id."""
    conversation = await client.new_conversation()
    async with client.socket(conversation) as socket:
        await socket.send(text)
        await socket.until(lambda s: bool(s.folded.events))
        yield socket, str(socket.folded.events[1]["turn"])
        await assert_goes_on(client, socket, conversation=conversation)


async def assert_goes_on(client: Client, socket: Socket, *, conversation: str) -> None:
    """The strict provider takes the next message, and the viewer has what is stored."""
    await socket.send("[[next]]")
    await socket.until(ended(2))
    fresh = await fresh_read(client, conversation)
    assert (socket.folded.events, socket.folded.runs) == (fresh.events, fresh.runs)
    assert kinds(fresh).count("turn_ended") == 2
    assert fresh.events[len(fresh.events)]["data"]["status"] == "completed"


def data_of(folded: Folded, kind: str) -> list[dict[str, Any]]:
    return [event["data"] for event in folded.events.values() if event["kind"] == kind]


async def test_stop_in_mid_text_closes_the_providers_connection_within_a_second(
    client: Client, kind: Kind, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    scripts = list(islice(cycle(MID_TEXT), STOPS))
    provider.script(named={"next": [{"text": "And so on."}]}, queue=scripts)
    seconds: list[float] = []
    for number, script in enumerate(scripts):
        async with asked(client) as (socket, turn):
            await socket.until(says("Once upon"))
            if HALF_A_CALL in script:
                await socket.until(lambda s: bool(s.folded.arguments))

            sent = time.time()
            await socket.stop(turn)
            seen = socket.folded.draft
            await socket.until(ended())

            request = (await provider.requests_async(2 * number + 1, ended=True))[2 * number]
            seconds.append(request["ended_at"] - sent)
            assert request["ended"] == "closed by client"
            (message,), (end,) = data_of(socket.folded, "assistant_message"), data_of(socket.folded, "turn_ended")
            assert message["text"].startswith(seen)
            assert not message["tool_calls"]
            assert (end["status"], end["error"]) == ("cancelled", None)
        told = (await provider.requests_async(2 * number + 2))[-1]["body"]["messages"]
        assert [said["content"] for said in told if said["role"] == "assistant"] == [message["text"]]

    measured(
        f"{kind}: {STOPS} stops in mid-text, the provider's connection closed after"
        f" {median(seconds) * 1000:.0f} ms (median), {max(seconds) * 1000:.0f} ms at most"
    )
    assert max(seconds) < 1


@pytest.mark.parametrize("slow", ["waits", "works"])
async def test_stop_in_mid_tool_ends_the_turn_without_waiting_for_the_tool(
    client: Client, provider: ProviderProcess, slow: str
) -> None:
    calls: Script = [
        {"text": "Let me see."},
        {"tool": {"index": 0, "id": "a", "name": slow, "arguments": "{}"}},
        {"tool": {"index": 1, "id": "b", "name": "calculator", "arguments": '{"expression": "6 * 7"}'}},
    ]
    provider.script([calls, [{"text": "never asked"}]], named={"next": [{"text": "And so on."}]})
    async with asked(client) as (socket, turn):
        await socket.until(lambda s: bool(data_of(s.folded, "tool_result")))  # so the other one has begun, too

        sent = time.monotonic()
        await socket.stop(turn)
        await socket.until(ended())
        took = time.monotonic() - sent

        quick, interrupted = data_of(socket.folded, "tool_result")
        assert (quick["index"], quick["content"], quick["is_error"]) == (1, "42", False)
        assert (interrupted["index"], interrupted["is_error"]) == (0, True)
        assert interrupted["content"].startswith("Interrupted")
        assert data_of(socket.folded, "assistant_message")[0]["text"] == "Let me see."
        assert data_of(socket.folded, "turn_ended")[0]["status"] == "cancelled"
        assert took < 3
        assert len(provider.log()) == 1


def written_at_once(*deltas: dict[str, Any], finish: str) -> dict[str, str]:
    """The last deltas, the finish reason and `[DONE]` in one write."""
    choices: list[dict[str, Any]] = [*({"delta": delta} for delta in deltas), {"delta": {}, "finish_reason": finish}]
    events = [json.dumps({"choices": [{"index": 0, **choice}]}) for choice in choices]
    return {"raw": "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"])}


LAST_WORDS = written_at_once({"content": " done."}, finish="stop")
LAST_CALL = written_at_once(
    {"content": " done."},
    {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "waits", "arguments": "{}"}}]},
    finish="tool_calls",
)


@pytest.mark.parametrize(("last", "calls"), [(LAST_WORDS, 0), (LAST_CALL, 1)], ids=["words", "call"])
async def test_stop_at_the_last_delta_leaves_one_end_and_no_call_unanswered(
    client: Client, kind: Kind, provider: ProviderProcess, measured: Callable[[str], None], last: Any, calls: int
) -> None:
    scripts: list[Script] = [[{"text": "Almost"}, {"gate": f"last-{at}"}, last, {"close": True}] for at in range(STOPS)]
    provider.script(named={"next": [{"text": "And so on."}]}, queue=scripts)
    ends: Counter[str] = Counter()
    for number in range(STOPS):
        async with asked(client) as (socket, turn):
            await socket.until(lambda s: s.folded.draft == "Almost")

            opening = asyncio.to_thread(provider.open_gate, f"last-{number}")
            race = [opening, socket.stop(turn)] if number % 2 else [socket.stop(turn), opening]
            await asyncio.gather(*race)
            await socket.until(ended())

            (message,), (end,) = data_of(socket.folded, "assistant_message"), data_of(socket.folded, "turn_ended")
            whole = message["text"] == "Almost done."
            assert whole or message["text"] == "Almost"
            assert end["status"] == "cancelled" or (whole and not calls)
            assert len(data_of(socket.folded, "tool_result")) == len(message["tool_calls"]) <= calls
            ends[f"{end['status']} with {'all' if whole else 'part'} of the text"] += 1

    measured(f"{kind}: {STOPS} stops at the last delta (calls: {calls}): {dict(ends)}")
    assert ends.total() == STOPS
