"""Every fault of a provider and of a tool, through real servers: the right end, what was said kept, and on it goes."""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from streaming.frames import Accepted, Error, Pong
from tests.client import Client, caught_up, ended
from tests.fold import Folded
from tests.provider import ProviderProcess, Script
from tests.server import Kind, Site

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
PATIENCE = {"FIRST_TOKEN_TIMEOUT": 1, "STALL_TIMEOUT": 1, "TOTAL_TIMEOUT": 6, "CONNECT_TIMEOUT": 2}
TOOLS = [f"tests.system.faulty_tools.{name}" for name in ("echo", "raises", "hangs", "huge")]
SORRY: Script = [{"text": "Sorry."}]


def status(code: int, error: str = "", **headers: str) -> Script:
    return [{"status": code, "body": {"error": {"message": "No.", "code": error}}, "headers": headers}]


def call(name: str, arguments: str = "{}", **fields: Any) -> dict[str, Any]:
    return {"tool": {"index": 0, "id": "c0", "name": name, "arguments": arguments, **fields}}


def without_index(step: dict[str, Any]) -> dict[str, Any]:
    return {"tool": {name: value for name, value in step["tool"].items() if name != "index"}}


@dataclass(frozen=True)
class Fault:
    """What the provider does, and what must come of it. `error` None: the turn completes."""

    script: Script
    error: str | None = None
    text: str = ""
    requests: int = 1
    finish: str | None = None
    results: tuple[str, ...] = ()
    """How the tools' results begin."""
    model: str | None = None


FAULTS = {
    # Before the first content: asked three times in all, where that may help.
    "connection refused": Fault([], "unavailable", requests=0, model="nobody"),
    "reset before any answer": Fault([{"reset": True}], "unavailable", requests=3),
    "reset before the first token": Fault([{"open": True}, {"reset": True}], "truncated", requests=3),
    "429 with Retry-After": Fault(status(429, **{"Retry-After": "1"}), "rate_limited", requests=3),
    "429 with a Retry-After of an hour": Fault(status(429, **{"Retry-After": "3600"}), "rate_limited"),
    "500": Fault(status(500), "unavailable", requests=3),
    "401": Fault(status(401), "authentication_failed"),
    "400": Fault(status(400), "bad_request"),
    "context too long": Fault(status(400, "context_length_exceeded"), "context_too_long"),
    "200 without a stream": Fault([{"status": 200, "body": {"choices": []}}], "not_streaming"),
    "200 with an error event": Fault([{"error_event": {"message": "Oops"}}], "unavailable", requests=3),
    "silence before any answer": Fault([{"silence": 30}], "stalled"),
    "silence before the first token": Fault([{"open": True}, {"silence": 30}], "stalled"),
    "nothing but keep-alives": Fault([{"comment": "here"}, {"pause": 0.2}] * 50, "stalled"),
    "malformed first chunk": Fault([{"raw": "data: {not json\n\n"}], "malformed", requests=3),
    "nothing but empty choices": Fault([{"chunk": {"choices": []}}, {"finish": "stop"}], "empty_reply", requests=3),
    "nothing but usage": Fault([{"finish": "stop"}, {"usage": USAGE}], "empty_reply", requests=3),
    # After it: never asked again, and what was said stays.
    "stall in the middle": Fault([{"text": "So far"}, {"silence": 30}], "stalled", "So far"),
    "reset in the middle": Fault([{"text": "So far"}, {"pause": 0.1}, {"reset": True}], "truncated", "So far"),
    "malformed chunk": Fault([{"text": "So far"}, {"raw": "data: {not json\n\n"}], "malformed", "So far"),
    "error event in the middle": Fault([{"text": "So far"}, {"error_event": {"code": 502}}], "unavailable", "So far"),
    "429 in the middle": Fault([{"text": "So far"}, {"error_event": {"code": 429}}], "rate_limited", "So far"),
    "end without finish reason": Fault([{"text": "So far"}, {"close": True}], "truncated", "So far"),
    "done without finish reason": Fault(
        [{"text": "So far"}, {"raw": "data: [DONE]\n\n"}, {"close": True}], "truncated", "So far"
    ),
    "end while thinking": Fault([{"reasoning": "Hm"}, {"close": True}], "truncated"),
    "end in a tool's arguments": Fault(
        [{"text": "So far"}, call("echo", '{"sa'), {"close": True}], "truncated", "So far"
    ),
    "an answer without an end": Fault([{"words": 9999, "rate": 10}], "timed_out", "w0001 w0002 w0003"),
    # No faults at all, or none that end the turn.
    "empty choices": Fault([{"chunk": {"choices": []}}, {"text": "Well."}], text="Well.", finish="stop"),
    "usage after the finish reason": Fault([{"text": "Well."}, {"finish": "stop"}, {"usage": USAGE}], text="Well."),
    "usage beside the finish reason": Fault([{"text": "Well."}, {"finish": "stop", "usage": USAGE}], text="Well."),
    "reset after the finish reason": Fault([{"text": "Well."}, {"finish": "stop"}, {"reset": True}], text="Well."),
    "length": Fault([{"text": "So far"}, {"finish": "length"}], text="So far", finish="length"),
    "content_filter": Fault([{"text": "So far"}, {"finish": "content_filter"}], text="So far", finish="content_filter"),
    "content_filter at once": Fault([{"finish": "content_filter"}], finish="content_filter"),
    # Tools: an error that the model reads, and answers.
    "arguments that are not JSON": Fault(
        [[call("echo", "{not")], SORRY], text="Sorry.", requests=2, results=("Invalid arguments",)
    ),
    "arguments of another shape": Fault(
        [[call("echo", '{"said": 7}')], SORRY], text="Sorry.", requests=2, results=("Invalid arguments",)
    ),
    "unknown tool": Fault([[call("rm")], SORRY], text="Sorry.", requests=2, results=("There is no tool 'rm'",)),
    "tool without a name": Fault(
        [[{"tool": {"index": 0, "id": "c0", "arguments": "{}"}}], SORRY],
        text="Sorry.", requests=2, results=("There is no tool",),
    ),
    "tool that raises": Fault(
        [[call("raises")], SORRY], text="Sorry.", requests=2, results=("raises failed with ZeroDivisionError.",)
    ),
    "tool that hangs": Fault(
        [[call("hangs")], SORRY], text="Sorry.", requests=2, results=("hangs did not answer within 0.5 seconds",)
    ),
    "tool that returns 10 MB": Fault([[call("huge")], SORRY], text="Sorry.", requests=2, results=("xxx",)),
    "missing tool index": Fault(
        [[without_index(call("echo", '{"said": "a"}')), without_index(call("echo", '{"said": "b"}', id="c1"))], SORRY],
        text="Sorry.", requests=2, results=("a", "b"),
    ),
    "repeated tool index": Fault(
        [[call("echo", '{"said": "a"}'), call("echo", '{"said": "b"}', id="c1")], SORRY],
        text="Sorry.", requests=2, results=("a", "b"),
    ),
    "repeated tool id": Fault(
        [[call("echo", '{"said": "a"}'), call("echo", '{"said": "b"}', index=1)], SORRY],
        text="Sorry.", requests=2, results=("a", "b"),
    ),
    "a fault after a tool": Fault(
        [[{"text": "One. "}, call("echo", '{"said": "a"}')], [{"text": "Two"}, {"close": True}]],
        "truncated", "One. Two", requests=2, results=("a",),
    ),
    "a fault at once after a tool": Fault(
        [[{"text": "One. "}, call("echo", '{"said": "a"}')], status(500)],
        "unavailable", "One. ", requests=4, results=("a",),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a fault: as its viewer saw it, as a fresh viewer sees it, as REST has it."""

    viewer: Folded
    fresh: Folded
    events: list[dict[str, Any]]
    repeated: Accepted | Error | Pong
    """The answer to the same request id once more, after the end."""
    requests: int = 0

    def data(self, kind: str, *, turn: int = 0) -> list[dict[str, Any]]:
        """The data of the events of one kind in the first or the second turn."""
        turns = list(dict.fromkeys(event["turn"] for event in self.events))
        return [event["data"] for event in self.events if (event["kind"], event["turn"]) == (kind, turns[turn])]


@pytest.fixture(scope="module")
def outcomes(kind: Kind, site: Site, keys: Iterator[str], provider_process: ProviderProcess) -> Mapping[str, Outcome]:
    """All faults at once at one server, each in a conversation of its own, which then goes on."""
    provider_process.reset()
    provider_process.script([{"text": "All well."}], named={f"f{at}": f.script for at, f in enumerate(FAULTS.values())})
    with closed_port() as nobody:
        profile = {"name": "nobody", "base_url": f"http://127.0.0.1:{nobody}/v1"}
        chat = {
            **PATIENCE,
            "TOOLS": TOOLS,
            "PROFILES": [profile],
            "DEFAULT_PROFILE": "openai",
            "MAX_TURNS_PER_USER": 999,
        }
        with site.start(kind, chat=chat) as server:
            seen = asyncio.run(meet_all(Client(server.url, key=next(keys))))
    asked = [request["body"]["messages"] for request in provider_process.log()]
    users = [[said["content"] for said in messages if said["role"] == "user"][-1] for messages in asked]
    return {
        name: replace(outcome, requests=users.count(f"[[f{at}]]"))
        for at, (name, outcome) in enumerate(zip(FAULTS, seen, strict=True))
    }


async def meet_all(client: Client) -> list[Outcome]:
    return await asyncio.gather(*(meet(client, f"[[f{at}]]", fault) for at, fault in enumerate(FAULTS.values())))


async def meet(client: Client, text: str, fault: Fault) -> Outcome:
    conversation = await client.new_conversation()
    async with client.socket(conversation) as viewer:
        request_id = await viewer.send(text, model=fault.model)
        await viewer.until(ended())
        await viewer.send(text, model=fault.model, request_id=request_id)
        repeated = await viewer.answer()
        await viewer.send("And now?")
        await viewer.until(ended(2))
    async with client.socket(conversation) as fresh:
        await fresh.until(caught_up)
    return Outcome(viewer.folded, fresh.folded, await client.events(conversation), repeated)


@contextmanager
def closed_port() -> Iterator[int]:
    """A port at which nobody listens, and nobody else will."""
    with sockets.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


every_fault = pytest.mark.parametrize("name", FAULTS)


@every_fault
def test_a_fault_ends_in_the_right_typed_end(outcomes: Mapping[str, Outcome], name: str) -> None:
    """A2.16 among them: a stream without anything in it is an error of its own. R9: no end is missing or double."""
    fault, outcome = FAULTS[name], outcomes[name]

    (end,) = outcome.data("turn_ended")
    assert end["status"] == ("completed" if fault.error is None else "failed")
    assert (end["error"] or {}).get("code") == fault.error
    if fault.finish is not None:
        assert end["finish_reason"] == fault.finish


@every_fault
def test_what_was_said_before_a_fault_is_kept_and_the_viewer_has_it(outcomes: Mapping[str, Outcome], name: str) -> None:
    """A2.7: what had arrived when a stream broke off is in the log, and nothing that was shown is withdrawn."""
    fault, outcome = FAULTS[name], outcomes[name]

    said = "".join(message["text"] for message in outcome.data("assistant_message"))
    assert said.startswith(fault.text)
    assert bool(said) == bool(fault.text)
    assert outcome.viewer.resets == 0
    assert (outcome.viewer.events, outcome.viewer.cursor) == (outcome.fresh.events, outcome.fresh.cursor)
    assert list(outcome.fresh.events.values()) == [
        {part: event[part] for part in ("kind", "turn", "data")} for event in outcome.events
    ]


@every_fault
def test_a_provider_is_asked_again_only_before_its_first_content(outcomes: Mapping[str, Outcome], name: str) -> None:
    """R4."""
    assert outcomes[name].requests == FAULTS[name].requests


@every_fault
def test_after_a_fault_a_strict_provider_takes_the_next_message(outcomes: Mapping[str, Outcome], name: str) -> None:
    """A2.12: whatever became of calls and results, the history that the model gets is one that it accepts."""
    (end,) = outcomes[name].data("turn_ended", turn=1)
    (message,) = outcomes[name].data("assistant_message", turn=1)

    assert (end["status"], message["text"]) == ("completed", "All well.")


@every_fault
def test_the_same_request_again_shows_the_end_and_asks_nobody(outcomes: Mapping[str, Outcome], name: str) -> None:
    """A2.19, A2.21: also where nothing was said, the answer to a repeated request is an explicit end, not silence."""
    repeated, first = outcomes[name].repeated, outcomes[name].events[0]

    assert isinstance(repeated, Accepted)
    assert (repeated.cached, repeated.cursor, repeated.turn) == (True, "0.0", first["turn"])
    assert outcomes[name].requests == FAULTS[name].requests


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.results])
def test_every_call_of_a_tool_has_its_result(outcomes: Mapping[str, Outcome], name: str) -> None:
    """A2.9, A2.26e, A2.26f: whatever is wrong with a call or a tool is a result that the model reads."""
    fault, outcome = FAULTS[name], outcomes[name]

    results = outcome.data("tool_result")
    assert [result["index"] for result in results] == list(range(len(fault.results)))
    for result, start in zip(results, fault.results, strict=True):
        assert result["content"].startswith(start)
        assert result["is_error"] == (start not in ("a", "b", "xxx"))
        assert len(result["content"]) < 70_000
        assert "a secret" not in result["content"]
    calls = [call["id"] for message in outcome.data("assistant_message") for call in message["tool_calls"]]
    assert calls == [result["tool_call_id"] for result in results]
    assert len(set(calls)) == len(calls)


def test_calls_are_announced_and_stored_before_the_tools_run(outcomes: Mapping[str, Outcome]) -> None:
    """A2.10, A2.12, R13: with name and arguments, while the tool has yet to answer."""
    _, announced, result, *_ = outcomes["tool that hangs"].events

    assert [(call["name"], call["arguments"]) for call in announced["data"]["tool_calls"]] == [("hangs", "{}")]
    waited = datetime.fromisoformat(result["at"]) - datetime.fromisoformat(announced["at"])
    assert waited >= timedelta(seconds=0.4)


@pytest.mark.parametrize("name", ["usage after the finish reason", "usage beside the finish reason"])
def test_usage_is_recorded_wherever_the_provider_puts_it(outcomes: Mapping[str, Outcome], name: str) -> None:
    """A2.24."""
    (end,) = outcomes[name].data("turn_ended")

    assert (end["usage"]["prompt"], end["usage"]["completion"]) == (9, 3)


async def test_a_provider_that_recovers_is_waited_for_as_long_as_it_says(
    client: Client, provider: ProviderProcess
) -> None:
    provider.script(queue=[status(429, **{"Retry-After": "1"}), [{"text": "Here I am."}]])

    async with client.socket(await client.new_conversation()) as viewer:
        await viewer.send()
        await viewer.until(ended())

    first, second = provider.log()
    assert second["at"] - first["ended_at"] >= 1.0
    assert [event["data"].get("text") for event in viewer.folded.events.values()] == ["hi", "Here I am.", None]
