"""Three wire formats through litellm, over real HTTP from a real server: what was seen is what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from llm.price_list import Listed, listed
from tests.client import Client, ended, says
from tests.independent import IndependentProvider
from tests.server import Kind, ServerProcess, Site
from tests.system.viewers import Viewer, assert_lawful, fresh_read
from tests.template import Template, site_on

Data = dict[str, Any]
MODELS = {
    "anthropic": ("anthropic/claude-sonnet-4-5", "/anthropic"),
    "gemini": ("gemini/gemini-2.5-pro", "/gemini/v1beta"),
    "openai-format": ("openai/gpt-4o-mini", "/v1"),
}


@pytest.fixture(scope="module")
def llmock_process() -> Iterator[IndependentProvider]:
    with IndependentProvider(pace=3) as process:
        yield process


@pytest.fixture
def llmock(llmock_process: IndependentProvider) -> IndependentProvider:
    llmock_process.reset()
    return llmock_process


@pytest.fixture(scope="module")
def site(llmock_process: IndependentProvider, template: Template, tmp_path_factory: pytest.TempPathFactory) -> Site:
    env = {"PROVIDER_VARIABLES": "OTHERS_KEY", "OTHERS_KEY": "sk-canary-0123456789"}
    file = tmp_path_factory.mktemp("wires") / "site.sqlite3"
    return site_on(template, file, provider_url=llmock_process.base_url, env=env)


@pytest.fixture(scope="module")
def chat(llmock_process: IndependentProvider) -> Data:
    """A profile per wire format, and a tool that tells what is imported."""
    profiles = [
        {
            "name": name,
            "adapter": "litellm",
            "model": model,
            "base_url": llmock_process.root + path,
            "api_key_name": "OTHERS_KEY",
            "prices": msgspec.to_builtins(entry_of(model).prices),
        }
        for name, (model, path) in MODELS.items()
    ]
    return {"PROFILES": profiles, "TOOLS": ["tools.builtin.calculator", "tests.system.telling_tools.is_imported"]}


@pytest.fixture(scope="module")
def server(site: Site, kind: Kind, chat: Data) -> Iterator[ServerProcess]:
    with site.start(kind, chat=chat) as process:
        yield process


@pytest.fixture(scope="module")
def key(template: Template) -> str:
    return template.key


async def ask(client: Client, question: str, *, model: str) -> list[tuple[str, Data]]:
    """One turn in a new conversation; what is stored, which is what was seen, as (kind, data)."""
    viewer = await Viewer(await client.new_conversation()).go_on(client)
    await viewer.send(question, model=model)
    await viewer.until(lambda folded: any(event["kind"] == "turn_ended" for event in folded.events.values()))
    fresh = await fresh_read(client, viewer.conversation)
    await viewer.cut()
    assert_lawful(viewer, fresh)
    return [(event["kind"], event["data"]) for event in fresh.events.values()]


def of_kind(events: list[tuple[str, Data]], kind: str) -> list[Data]:
    return [data for name, data in events if name == kind]


@pytest.mark.parametrize("name", MODELS)
async def test_a_turn_with_a_tool_ends_completed_with_its_usage_and_cost(
    client: Client, llmock: IndependentProvider, name: str
) -> None:
    text = "It is 391, Grüße 😀. " * 20
    llmock.call_tool("calculator", expression="17 * 23")
    llmock.reply(text)

    events = await ask(client, "What is 17 * 23?", model=name)

    assert [kind for kind, _ in events] == [
        "user_message", "assistant_message", "tool_result", "assistant_message", "turn_ended",
    ]  # fmt: skip
    [asking, answering], [result] = of_kind(events, "assistant_message"), of_kind(events, "tool_result")
    assert (asking["finish_reason"], result["content"], result["is_error"]) == ("tool_calls", "391", False)
    assert (answering["text"], answering["finish_reason"]) == (text, "stop")
    assert answering["usage"]["completion"] == len(text) // 4  # as llmock counts
    [end] = of_kind(events, "turn_ended")
    assert end["status"] == "completed"
    assert end["usage"]["prompt"] == asking["usage"]["prompt"] + answering["usage"]["prompt"] > 0
    assert Decimal(end["cost"]) == cost_of(end["usage"], model=MODELS[name][0]) > 0
    assert "391" in str(llmock.requests()[1]["body"]), "the tool's answer went back"
    assert llmock.findings() == set()


def entry_of(model: str) -> Listed:
    entry = listed(model) or listed(model.partition("/")[2])
    assert entry is not None
    return entry


def cost_of(usage: Data, *, model: str) -> Decimal:
    entry = entry_of(model)
    assert entry.input_cost_per_token is not None
    assert entry.output_cost_per_token is not None
    dollars: Decimal = usage["prompt"] * entry.input_cost_per_token + usage["completion"] * entry.output_cost_per_token
    return dollars.quantize(Decimal("0.00000001"))


@pytest.mark.parametrize(
    ("status", "more", "code", "tries"),
    [
        (401, {}, "authentication_failed", 1),
        (429, {"retry_after": 0.1}, "rate_limited", 3),
        (500, {}, "unavailable", 3),
    ],
)
async def test_an_error_status_ends_the_turn_with_its_name_and_is_retried_only_where_it_helps(
    client: Client, llmock: IndependentProvider, server: ServerProcess, status: int, more: Data, code: str, tries: int
) -> None:
    llmock.fail(status, times=None, **more)

    events = await ask(client, "Hello?", model="anthropic")

    [end] = of_kind(events, "turn_ended")
    assert (end["status"], end["error"]["code"]) == ("failed", code)
    assert [request["status"] for request in llmock.requests()] == [status] * tries
    assert llmock.findings() == set()
    assert "canary" not in "".join(server.lines)


async def test_a_stop_reaches_the_provider(client: Client, llmock: IndependentProvider) -> None:
    llmock.reply("one two three four five six seven")
    llmock.pause(after=6, seconds=60)
    conversation = await client.new_conversation()

    async with client.socket(conversation) as socket:
        await socket.send("Count.", model="anthropic")
        await socket.until(says("two "))
        await socket.stop(str(list(socket.folded.events.values())[-1]["turn"]))
        await socket.until(ended())
        [request] = await asyncio.to_thread(llmock.requests)

    assert not request["completed"], "it saw its connection close"
    end = list(socket.folded.events.values())[-1]["data"]
    assert end["status"] == "cancelled"


async def test_litellm_is_imported_when_such_a_model_is_first_asked(
    llmock: IndependentProvider, site: Site, kind: Kind, chat: Data, key: str
) -> None:
    seen = []
    with site.start(kind, chat=chat) as process:
        client = Client(process.url, key=key)
        for model in ("openai", "demo", "openai", "anthropic", "openai"):
            if model != "demo":
                llmock.call_tool("is_imported", module="litellm")
            events = await ask(client, "Is it?", model=model)
            seen += [result["content"] for result in of_kind(events, "tool_result")]
        process.terminate()
        process.wait()

    assert seen == ["false", "false", "true", "true"]
    assert not [line for line in process.lines if "Traceback" in line or "Unclosed" in line]
