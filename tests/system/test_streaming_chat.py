"""The door for lightspeed's clients: what went wrong in the system that it takes the place of cannot here (A4)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from tests.client import Client
from tests.lightspeed import (
    ADDRESS,
    Asker,
    Stream,
    beats,
    frames,
    in_browser,
    names,
    says,
    start,
    stored,
    text,
    with_key,
)
from tests.provider import ProviderProcess, Script
from tests.server import Kind, ServerProcess, Site
from tests.sse import Reader

TOOLS = ["tools.builtin.calculator", "tests.system.citing_tools.look_up"]
LOOK_UP = {"tool": {"index": 0, "id": "call_1", "name": "look_up", "arguments": '{"q": "Ansible"}'}}
SAID = ("Let me see. ", "Ansible is", " 👍🏽 data: {}\n\nid: 7\r\n: blah\u2028\x85event: end")
HOPS: list[Script] = [[{"reasoning": "Hm."}, {"text": SAID[0]}, LOOK_UP], [{"text": SAID[1]}, {"halves": SAID[2]}]]
ORDER = ["start", "token", "tool_call", "tool_result", "token", "turn_complete", "end"]
GRAMMAR = re.compile(rb'(?:data: \{"event":"\w+","data":\{.*\}\nid: [0-9a-f-]{36}:\d+\.\d+\n\n|: heartbeat\n)+')


@pytest.fixture(scope="module")
def server(kind: Kind, site: Site) -> Iterator[ServerProcess]:
    """A server whose heart beats fast."""
    with site.start(kind, chat={"HEARTBEAT": 0.2, "TOOLS": TOOLS}) as process:
        yield process


@pytest.fixture(scope="module")
def styled_server(kind: Kind, site: Site) -> Iterator[ServerProcess]:
    """One of a site that has chosen otherwise."""
    chosen = {"LIGHTSPEED_HEARTBEAT_EVENTS": True, "LIGHTSPEED_TOOLS": False}
    roles = {"token": "inference", "tool_call": "inference"}
    with site.start(kind, chat={"HEARTBEAT": 0.2, "TOOLS": TOOLS, **chosen, "LIGHTSPEED_ROLES": roles}) as process:
        yield process


@pytest.fixture
def asker(client: Client) -> Asker:
    """A new user with a key."""
    return with_key(client)


async def test_a4_1_a_post_repeated_during_a_long_silence_is_one_run_and_its_text_comes_once(
    site: Site, server: ServerProcess, provider: ProviderProcess, request: pytest.FixtureRequest
) -> None:
    """A4.1, as fetch-event-source brings it about: the tab is hidden, and the request is sent again."""
    provider.script([{"gate": "loaded"}, {"text": "Ansible "}, {"gate": "slow"}, {"text": "is blah"}])
    browser = in_browser(site, server, user=f"a41-{request.node.name}")
    tab, other_tab = Reader(eager=True), Reader(eager=True)

    for _ in range(3):
        heard = len(tab.comments)
        async with browser.ask(reader=tab) as stream:
            await stream.until(beats(heard + 2))
    async with browser.ask(reader=other_tab) as reloaded, browser.ask(reader=tab) as stream:
        await reloaded.until(beats(1))
        await asyncio.to_thread(provider.open_gate, "loaded")
        await asyncio.gather(stream.until(says("Ansible ")), reloaded.until(says("Ansible ")))
    async with browser.ask(reader=other_tab) as reloaded, browser.ask(reader=tab) as stream:
        await asyncio.to_thread(provider.open_gate, "slow")
        await asyncio.gather(stream.to_the_end(), reloaded.to_the_end())

    for reader in (tab, other_tab):
        assert text(reader) == "Ansible is blah"
        assert names(reader) == ["start", "token", "turn_complete", "end"]
    assert len(provider.log()) == 1
    assert not [line for line in server.lines if "took too long" in line or "Traceback" in line]


async def test_a4_2_what_shows_nothing_of_itself_still_does_not_leave_the_stream_silent(
    asker: Asker, provider: ProviderProcess
) -> None:
    """A4.2: reasoning, arguments of tools and comments of the provider bring no event; the heart beats meanwhile."""
    invisible: Script = [
        {"reasoning": "Hm."},
        {"tool": {"index": 0, "id": "c", "name": "calculator", "arguments": '{"expre'}},
        {"comment": "still here"},
        {"tool": {"index": 0, "arguments": 'ssion": "1"}'}},
    ]
    steps = [step for at, each in enumerate(invisible) for step in (each, {"gate": f"after-{at}"})]
    provider.script([steps, [{"text": "Done."}]])

    async with asker.ask() as stream:
        for at in range(len(invisible)):
            await stream.until(beats(len(stream.reader.comments) + 2))
            assert names(stream.reader) == ["start"]
            await asyncio.to_thread(provider.open_gate, f"after-{at}")
        await stream.to_the_end()

    assert names(stream.reader) == ["start", "tool_call", "tool_result", "token", "turn_complete", "end"]


async def test_a4_3_each_step_has_its_event(client: Client, asker: Asker, provider: ProviderProcess) -> None:
    """A4.3."""
    provider.script([*HOPS])

    reader = (await asker.answer(conversation_id=await client.new_conversation())).reader

    assert names(reader) == ORDER
    assert text(reader) == "".join(SAID)
    assert frames(reader, "tool_call") == [
        {"id": "call_1", "name": "look_up", "args": {"q": "Ansible"}, "type": "tool_call"}
    ]
    assert frames(reader, "tool_result") == [
        {"id": "call_1", "status": "success", "content": "Ansible is good.", "type": "tool_result", "round": 1}
    ]
    assert frames(reader, "turn_complete") == [{"id": len(text(reader)), "token": text(reader)}]
    [end] = frames(reader, "end")
    document = {"doc_url": "https://example.org/about", "doc_title": "About it", "source": None, "document_id": None}
    assert end["referenced_documents"] == [document]
    assert end["truncated"] is None
    assert 0 < end["output_tokens"] < end["input_tokens"]
    assert frames(reader)[-1]["available_quotas"] == {}


async def test_a4_4_ids_grow_and_the_role_of_an_event_is_the_sites_choice(
    styled_server: ServerProcess, key: str, asker: Asker, provider: ProviderProcess
) -> None:
    """A4.4, and B2's hidden tools."""
    provider.script([*HOPS])

    plain = (await asker.answer()).reader
    styled = (await with_key(Client(styled_server.url, key=key)).answer()).reader

    ids = [data["id"] for data in frames(plain, "token", "turn_complete")]
    assert ids[0] == 0
    assert all(first < second for first, second in pairwise(ids))
    assert not [data for data in frames(plain) if "role" in data["data"]]
    assert {data["role"] for data in frames(styled, "token")} == {"inference"}
    hidden = [frame for frame in frames(styled) if "original" in frame]
    assert [frame["original"] for frame in hidden] == [{"event": "tool_call"}, {"event": "tool_result"}]
    assert {frame["data"]["token"] for frame in hidden} == {""}
    assert "look_up" not in str(frames(styled))
    assert text(styled) == text(plain)


async def test_a4_6_the_wire_has_data_and_ids_and_one_line_heartbeats_and_nothing_else(
    asker: Asker, provider: ProviderProcess
) -> None:
    """A4.6; the positions in `id:` lines are ours."""
    provider.script([[*HOPS[0]], [{"gate": "speak"}, *HOPS[1]]])

    async with asker.ask() as stream:
        await stream.until(beats(3))
        await asyncio.to_thread(provider.open_gate, "speak")
        await stream.to_the_end()

    assert GRAMMAR.fullmatch(stream.received)
    for frame in frames(stream.reader):
        assert list(frame) == ["event", "data", "available_quotas"][: 3 if frame["event"] == "end" else 2]


async def test_a4_7_an_error_has_a_status_a_response_and_a_cause(asker: Asker, provider: ProviderProcess) -> None:
    """A4.7."""
    provider.script([{"status": 401, "headers": {}, "body": {"error": {"message": "sk-canary is wrong"}}}])

    stream = await asker.answer()

    assert names(stream.reader) == ["start", "error"]
    assert frames(stream.reader, "error") == [
        {
            "status_code": 503,
            "response": "The service is unavailable",
            "cause": "authentication_failed: The model refused this site's credentials."
            " Please tell the site's operator.",
        }
    ]
    assert b"canary" not in stream.received


async def test_a4_8_a_heartbeat_is_an_event_where_the_site_wants_it_and_a_comment_elsewhere(
    styled_server: ServerProcess, key: str, asker: Asker, provider: ProviderProcess
) -> None:
    """A4.8."""
    provider.script([{"gate": "speak"}, {"text": "At last."}])
    styled = with_key(Client(styled_server.url, key=key))

    async with styled.ask() as events, asker.ask() as comments:
        await events.until(lambda reader: len(frames(reader, "heartbeat")) > 1)
        await comments.until(beats(2))
        await asyncio.to_thread(provider.open_gate, "speak")
        await asyncio.gather(events.to_the_end(), comments.to_the_end())

    assert frames(events.reader)[1] == {"event": "heartbeat", "data": {"id": 0, "token": "heartbeat"}}
    assert not events.reader.comments
    assert not frames(comments.reader, "heartbeat")
    assert text(events.reader) == text(comments.reader) == "At last."


async def test_a4_9_what_is_stored_is_what_the_assistant_said_and_nothing_else(
    client: Client, asker: Asker, provider: ProviderProcess
) -> None:
    """A4.9 a and b: no heartbeat, no tool and nothing twice is in it, and `data: ` in a text is just text."""
    provider.script([[{"gate": "speak"}, *HOPS[0]], HOPS[1]])

    async with asker.ask() as stream:
        await stream.until(beats(2))
        await asyncio.to_thread(provider.open_gate, "speak")
        await stream.to_the_end()

    assert await stored(client, start(stream.reader)["conversation_id"]) == text(stream.reader) == "".join(SAID)


async def test_a4_9_the_heart_beats_while_the_provider_has_not_even_answered(
    asker: Asker, provider: ProviderProcess
) -> None:
    """A4.9 c."""
    provider.script([{"gate": "headers"}, {"open": True}, {"gate": "speak"}, {"text": "At last."}])

    async with asker.ask() as stream:
        await stream.until(beats(2))
        await asyncio.to_thread(provider.open_gate, "headers")
        await stream.until(beats(len(stream.reader.comments) + 2))
        await asyncio.to_thread(provider.open_gate, "speak")
        await stream.to_the_end()

    assert names(stream.reader) == ["start", "token", "turn_complete", "end"]


async def test_a4_9_an_error_ends_the_stream_and_the_turn_and_keeps_what_was_said(
    client: Client, asker: Asker, provider: ProviderProcess
) -> None:
    """A4.9 d."""
    provider.script([{"text": "Ansible is"}, {"error_event": {"message": "canary"}}])

    stream = await asker.answer()

    events = await client.events(start(stream.reader)["conversation_id"])
    assert names(stream.reader) == ["start", "token", "error"]
    assert text(stream.reader) == events[1]["data"]["text"] == "Ansible is"
    assert (events[2]["kind"], events[2]["data"]["status"]) == ("turn_ended", "failed")
    assert b"canary" not in stream.received


async def test_a4_9_what_a_provider_says_beside_the_text_stays_with_us(asker: Asker, provider: ProviderProcess) -> None:
    """A4.9 e: a verdict and its metadata are not for the reader."""
    verdict = {"violation": "canary", "metadata": {"rule": "canary"}}
    choice = {"index": 0, "delta": {"content": "I cannot say.", **verdict}, "content_filter_results": verdict}
    provider.script([{"chunk": {"choices": [choice], "prompt_filter_results": [verdict], **verdict}}])

    stream = await asker.answer()

    assert text(stream.reader) == "I cannot say."
    assert b"canary" not in stream.received


async def test_a4_10_the_heart_beats_by_the_clock_before_during_and_between(
    client: Client, asker: Asker, provider: ProviderProcess
) -> None:
    """A4.10: it was there once, and lost in a clean-up, for no test held it."""
    provider.script([[{"gate": "first"}, {"text": "One."}, {"gate": "second"}, LOOK_UP], [{"gate": "third"}]])

    async with asker.ask() as stream:
        for gate in ("first", "second", "third"):
            await stream.until(beats(len(stream.reader.comments) + 3))
            await asyncio.to_thread(provider.open_gate, gate)
        await stream.to_the_end()

    assert len(stream.reader.comments) >= 9
    assert set(stream.reader.comments) == {"heartbeat"}
    assert await stored(client, start(stream.reader)["conversation_id"]) == text(stream.reader) == "One."


async def test_text_is_text_and_has_no_heartbeats(asker: Asker, provider: ProviderProcess) -> None:
    provider.script([[{"gate": "speak"}, *HOPS[0]], HOPS[1]])

    async with asker.ask(media_type="text/plain") as text_stream, asker.ask(key="beside") as beside:
        await beside.until(beats(3))
        await asyncio.to_thread(provider.open_gate, "speak")
        await asyncio.gather(text_stream.to_the_end(), beside.to_the_end())

    assert text_stream.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert text_stream.received.decode() == (
        f"{SAID[0]}[Tool Call: look_up]\n[Tool Result]\n{SAID[1]}{SAID[2]}"
        "\n\n---\n\nAbout it: https://example.org/about"
    )


async def test_an_interrupt_stops_the_model_and_what_was_seen_is_stored(
    client: Client, asker: Asker, provider: ProviderProcess
) -> None:
    provider.script([{"text": "Once upon"}, {"gate": "never"}])

    async with asker.ask() as stream:
        await stream.until(says("Once upon"))
        turn = start(stream.reader)["request_id"]
        stopped = await asker.interrupt(turn)
        await stream.to_the_end()
    again: tuple[int, Any] = await asker.interrupt(turn)

    assert stopped == (
        200,
        {"request_id": turn, "interrupted": True, "message": "Streaming request interrupted"},
    )
    assert (again[0], again[1]["interrupted"]) == (200, False)
    assert names(stream.reader) == ["start", "token", "interrupted"]
    assert frames(stream.reader, "interrupted") == [{"request_id": turn}]
    [request] = await provider.requests_async(1, ended=True)
    assert request["ended"] == "closed by client"
    assert await stored(client, start(stream.reader)["conversation_id"]) == text(stream.reader) == "Once upon"


async def test_a_question_may_come_in_pieces_of_which_nobody_said_how_many(
    asker: Asker, provider: ProviderProcess
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"query": '
        yield b'"Go on."}'

    provider.script([{"text": "I will."}])
    headers = {**asker.headers, "Content-Type": "application/json"}

    async with (
        aiohttp.ClientSession(asker.url, headers=headers) as session,
        session.post(ADDRESS, data=pieces()) as response,
    ):
        answer = await Stream(response, Reader()).to_the_end()

    assert (answer.status, text(answer.reader)) == (200, "I will.")
