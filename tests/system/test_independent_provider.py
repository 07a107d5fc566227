"""The direct adapter and a provider that we did not write, over real HTTP: what was seen is what is stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.client import Client, Socket, ended, says
from tests.fold import Folded
from tests.independent import IndependentProvider
from tests.server import Kind, ServerProcess, Site
from tests.system.viewers import Viewer, assert_lawful, fresh_read
from tests.template import Template, site_on

Data = dict[str, Any]


@pytest.fixture(scope="module")
def llmock() -> Iterator[IndependentProvider]:
    with IndependentProvider(pace=3) as process:
        yield process


@pytest.fixture(autouse=True)
def fresh(llmock: IndependentProvider) -> None:
    llmock.reset()


@pytest.fixture(scope="module")
def site(llmock: IndependentProvider, template: Template, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site whose only provider it is."""
    return site_on(template, tmp_path_factory.mktemp("independent") / "site.sqlite3", provider_url=llmock.base_url)


@pytest.fixture(scope="module")
def server(site: Site, kind: Kind) -> Iterator[ServerProcess]:
    with site.start(kind) as process:
        yield process


@pytest.fixture(scope="module")
def key(template: Template) -> str:
    """One user for all tests here: each has a conversation of its own."""
    return template.key


async def converse(client: Client, *questions: str) -> list[tuple[str, Data]]:
    """Ask one after the other; what is stored, which is what was seen, as (kind, data)."""
    viewer = await Viewer(await client.new_conversation()).go_on(client)
    for number, question in enumerate(questions, start=1):
        await viewer.send(question)
        await viewer.until(over(number))
    fresh = await fresh_read(client, viewer.conversation)
    await viewer.cut()
    assert_lawful(viewer, fresh)
    return [(event["kind"], event["data"]) for event in fresh.events.values()]


def over(turns: int) -> Callable[[Folded], bool]:
    return lambda folded: [event["kind"] for event in folded.events.values()].count("turn_ended") == turns


def of_kind(events: list[tuple[str, Data]], kind: str) -> list[Data]:
    return [data for name, data in events if name == kind]


async def test_an_answer_streams_word_by_word_with_its_usage(client: Client, llmock: IndependentProvider) -> None:
    text = "Grüße 😀 an alle, שלום עולם,  with   spaces  and\n\na paragraph. " * 20
    llmock.reply(text)

    events = await converse(client, "Say it.")

    [said], [end] = of_kind(events, "assistant_message"), of_kind(events, "turn_ended")
    assert (said["text"], said["finish_reason"], end["status"]) == (text, "stop", "completed")
    [request] = llmock.requests()
    assert request["chunks_sent"] > 200
    prompt = sum(len(message["content"]) // 4 for message in request["body"]["messages"])
    assert (said["usage"]["prompt"], said["usage"]["completion"]) == (prompt, len(text) // 4)  # as llmock counts
    assert end["usage"] == said["usage"]


async def test_a_tool_of_the_providers_choice_is_run_and_its_result_goes_back(
    client: Client, llmock: IndependentProvider
) -> None:
    """Nothing is scripted: it picks our tool from our description and makes the arguments from our schema."""
    events = await converse(client, "What is the current time in this time zone?")

    assert [kind for kind, _ in events] == [
        "user_message", "assistant_message", "tool_result", "assistant_message", "turn_ended",
    ]  # fmt: skip
    [asking, answering], [result] = of_kind(events, "assistant_message"), of_kind(events, "tool_result")
    [call] = asking["tool_calls"]
    assert (asking["finish_reason"], call["name"], json.loads(call["arguments"])) == (
        "tool_calls", "current_time", {"time_zone": "UTC"},
    )  # fmt: skip
    assert not result["is_error"]
    assert answering["text"]
    told = llmock.requests()[1]["body"]["messages"][-2:]
    assert [message["role"] for message in told] == ["assistant", "tool"]
    assert told[0]["tool_calls"][0]["id"] == told[1]["tool_call_id"] == call["id"]
    assert told[1]["content"] == result["content"]


async def test_five_turns_with_tools_add_up_to_one_history(client: Client, llmock: IndependentProvider) -> None:
    for expression in ("17 * 23", "2 ** 10", "1 / 0"):
        llmock.call_tool("calculator", expression=expression)
        llmock.reply(f"That was {expression}.")
    llmock.reply("Four.")
    llmock.reply("Five.")

    events = await converse(client, "One?", "Two?", "Three?", "Four?", "Five?")

    results = [(result["content"], result["is_error"]) for result in of_kind(events, "tool_result")]
    assert [result[0] for result in results[:2]] == ["391", "1024"]
    assert [result[1] for result in results] == [False, False, True]
    assert [end["status"] for end in of_kind(events, "turn_ended")] == ["completed"] * 5
    roles = [message["role"] for message in llmock.requests()[-1]["body"]["messages"] if message["role"] != "system"]
    with_tool, plain = ["user", "assistant", "tool", "assistant"], ["user", "assistant"]
    assert roles == [*with_tool * 3, *plain, "user"]
    assert llmock.findings() == set()


@pytest.mark.parametrize("fault", ["unknown_tool", "malformed_arguments"])
async def test_a_tool_call_that_cannot_be_run_is_answered_with_an_error(
    client: Client, llmock: IndependentProvider, fault: str
) -> None:
    llmock.plan({"type": "tool_fault", "kind": fault})

    events = await converse(client, "What time is it?")

    assert [result["is_error"] for result in of_kind(events, "tool_result")] == [True]
    assert of_kind(events, "turn_ended")[0]["status"] == "completed"


@pytest.mark.parametrize(
    ("status", "more", "code", "tries"),
    [
        (400, {"code": "context_length_exceeded"}, "context_too_long", 1),
        (401, {}, "authentication_failed", 1),
        (422, {}, "bad_request", 1),
        (429, {"retry_after": 0.1}, "rate_limited", 3),
        (500, {}, "unavailable", 3),
    ],
)
async def test_an_error_status_ends_the_turn_with_its_name_and_is_retried_only_where_it_helps(
    client: Client, llmock: IndependentProvider, status: int, more: Data, code: str, tries: int
) -> None:
    llmock.fail(status, times=None, **more)

    events = await converse(client, "Hello?")

    [end] = of_kind(events, "turn_ended")
    assert (end["status"], end["error"]["code"]) == ("failed", code)
    assert [request["status"] for request in llmock.requests()] == [status] * tries
    assert llmock.findings() == set()


async def test_a_provider_that_is_back_in_time_is_all_that_a_viewer_sees(
    client: Client, llmock: IndependentProvider
) -> None:
    llmock.fail(429, retry_after=0.5)
    llmock.fail(503, retry_after=0.1)
    llmock.reply("Here I am.")

    events = await converse(client, "Hello?")

    assert [said["text"] for said in of_kind(events, "assistant_message")] == ["Here I am."]
    assert [request["status"] for request in llmock.requests()] == [429, 503, 200]
    assert llmock.findings() == set(), "it waits as long as it is told"


@pytest.mark.parametrize(
    ("kind_of_fault", "code"), [("truncate", "truncated"), ("disconnect", "truncated"), ("malformed", "malformed")]
)
async def test_a_stream_that_breaks_fails_the_turn_and_keeps_what_was_said(
    client: Client, llmock: IndependentProvider, kind_of_fault: str, code: str
) -> None:
    llmock.reply("one two three four five six seven")
    llmock.plan({"type": "stream_fault", "kind": kind_of_fault, "after_chunks": 4})

    events = await converse(client, "Count.")

    [said], [end] = of_kind(events, "assistant_message"), of_kind(events, "turn_ended")
    assert (said["text"], end["status"], end["error"]["code"]) == ("one two three ", "failed", code)


async def test_a_stop_reaches_the_provider_and_the_next_turn_goes_on(
    client: Client, llmock: IndependentProvider
) -> None:
    llmock.reply("one two three four five six seven")
    llmock.pause(after=4, seconds=60)
    conversation = await client.new_conversation()

    async with client.socket(conversation) as socket:
        await socket.send("Count.")
        await socket.until(says("three "))
        await socket.stop(await turn_of(socket))
        await socket.until(ended())
        [request] = await asyncio.to_thread(llmock.requests)
        llmock.reply("Fine.")
        await socket.send("And now?")
        await socket.until(ended(2))

    assert not request["completed"], "it saw its connection close"
    events = list(socket.folded.events.values())
    assert [event["data"]["text"] for event in events if event["kind"] == "assistant_message"] == [
        "one two three ", "Fine.",
    ]  # fmt: skip
    assert [event["data"]["status"] for event in events if event["kind"] == "turn_ended"] == ["cancelled", "completed"]


async def turn_of(socket: Socket) -> str:
    """The turn that was asked for last."""
    return str(list(socket.folded.events.values())[-1]["turn"])
