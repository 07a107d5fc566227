"""The whole of `messages` is honoured: what was said before, by whom, with which tools and images."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client, override_settings

from history.models import Event, Turn
from llm import types as llm
from llm.scripted import says
from llm.types import ImagePart, TextPart, ToolCall
from streaming.follow import follow
from streaming.frames import CaughtUp, encode
from tests.asgi import ask
from tests.chat.conftest import CONVERSATIONS
from tests.gateway.conftest import ADDRESS, SAY_HI

PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"q": 1}'}}
TALK: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "First?"},
    {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL, {**CALL, "id": "c2"}]},
    {"role": "tool", "tool_call_id": "c2", "content": "two"},
    {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "one"}]},
    {"role": "assistant", "content": "It is one."},
    {"role": "developer", "content": [{"type": "text", "text": "And "}, {"type": "text", "text": "kind."}]},
    {"role": "user", "content": "Second?"},
]


def told(on: Any) -> tuple[llm.Message, ...]:
    """What the model was told last."""
    messages: tuple[llm.Message, ...] = on.model.requests[-1].messages
    return messages


def words(on: Any) -> list[tuple[object, str]]:
    """Who has said what."""
    return [(message.__struct_config__.tag, getattr(message, "text", "")) for message in told(on)]


async def test_the_model_is_told_all_that_was_said_before(door: Any) -> None:
    """A3.8, A3.9."""
    at = await door([says("Two.")])

    with override_settings(
        CHAT={"PROFILES": ({"name": "guide", "adapter": "demo", "system_prompt": "You are a guide."},)}
    ):
        await at.ask(TALK, model="guide")

    calls = tuple(ToolCall(id=each, name="look_up", arguments='{"q": 1}') for each in ("c1", "c2"))
    assert told(at.on) == (
        llm.SystemMessage(text="You are a guide.\n\nBe brief.\n\nAnd kind."),
        llm.UserMessage(text="First?"),
        llm.AssistantMessage(text="Let me see.", tool_calls=calls),
        llm.ToolMessage(tool_call_id="c1", name="look_up", content="one"),
        llm.ToolMessage(tool_call_id="c2", name="look_up", content="two"),
        llm.AssistantMessage(text="It is one."),
        llm.UserMessage(text="Second?"),
    )


async def test_what_was_said_before_is_in_the_log_as_turns_that_have_ended(door: Any) -> None:
    at = await door([says("Two.")])

    answer = await at.ask(TALK)

    before, now = [await Turn.objects.aget(origin=origin) for origin in ("imported", "live")]
    kinds = [kind async for kind in Event.objects.order_by("seq").values_list("kind", flat=True)]
    one = ["user_message", "assistant_message", "tool_result", "tool_result", "assistant_message", "turn_ended"]
    assert kinds == [*one, "user_message", "assistant_message", "stats", "completion_log", "turn_ended"]
    assert (before.status, now.parent_id, before.conversation_id) == ("completed", before.pk, now.conversation_id)
    assert answer.id == f"chatcmpl-{now.pk.hex}"


async def test_a_repeated_request_with_a_past_is_the_same_turn(door: Any) -> None:
    """R3."""
    at = await door([says("Two.")])
    keyed = {"Idempotency-Key": "k"}

    first, second = await at.ask(TALK, extra_headers=keyed), await at.ask(TALK, extra_headers=keyed)
    other = await ask("POST", ADDRESS, headers={**at.headers, **keyed}, body={"model": "demo", "messages": TALK[-1:]})

    assert first == second
    assert other.status == 422
    assert await Turn.objects.acount() == 2


async def test_what_was_imported_is_not_counted_against_the_limit_of_a_minute(door: Any) -> None:
    at = await door([says("Two."), says("Three.")])

    with override_settings(CHAT={"TURNS_PER_MINUTE_PER_USER": 2}):
        answers = [await at.ask(TALK), await at.ask(TALK)]

    assert [answer.choices[0].message.content for answer in answers] == ["Two.", "Three."]


async def test_a_long_past_is_told_in_its_order(door: Any) -> None:
    at = await door([says("Done.")])
    past = [
        message
        for number in range(40)
        for message in ({"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": f"a{number}"})
    ]

    await at.ask([*past, {"role": "user", "content": "Now?"}])

    assert words(at.on) == [*((message["role"], message["content"]) for message in past), ("user", "Now?")]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([{"role": "assistant", "content": "Hello."}, *SAY_HI], [("assistant", "Hello."), ("user", "Hi")]),
        ([{"role": "user", "content": "A"}, *SAY_HI], [("user", "A"), ("user", "Hi")]),
        ([{"role": "user", "content": ""}, *SAY_HI], [("user", "Hi")]),
        ([{"role": "user", "content": "A"}, {"role": "assistant", "content": None}, *SAY_HI],
         [("user", "A"), ("user", "Hi")]),
        ([{"role": "user", "content": "A"}, {"role": "assistant", "refusal": "No."}, *SAY_HI],
         [("user", "A"), ("assistant", "No."), ("user", "Hi")]),
        ([{"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}], "name": "x"}],
         [("user", "Hi")]),
    ],
)  # fmt: skip
async def test_unusual_pasts_are_told_as_they_are(door: Any, messages: Any, expected: Any) -> None:
    at = await door([says("Done.")])

    await at.ask(messages)

    assert words(at.on) == expected


async def test_images_reach_the_model_in_their_place_now_and_later(door: Any) -> None:
    at = await door([says("A pixel."), says("Still.")])
    seen = [
        {"type": "text", "text": "What is "},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "text", "text": "this?"},
    ]
    parts = (
        TextPart(text="What is "),
        ImagePart(url=PIXEL, detail="low"),
        ImagePart(url="https://example.org/a.png"),
        TextPart(text="this?"),
    )

    await at.ask([{"role": "user", "content": seen}])
    first = told(at.on)
    await at.ask([{"role": "user", "content": seen}, {"role": "assistant", "content": "A pixel."}, *SAY_HI])

    assert first == (llm.UserMessage(text="What is this?", parts=parts),)
    assert told(at.on)[0] == first[0]


async def test_viewers_are_told_that_there_is_an_image_without_its_bytes(door: Any) -> None:
    """A frame may be larger than a client of WebSockets takes: many take 1 MiB."""
    large = f"{PIXEL.partition(',')[0]},{'A' * 2_000_000}"
    at = await door([says("Large.")])

    asked: Any = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": large}}]
    answer = await at.ask([{"role": "user", "content": asked}])
    turn = await Turn.objects.aget(pk=answer.id.removeprefix("chatcmpl-"))
    seen: list[Any] = []
    async with aclosing(follow(turn.conversation_id, hub=at.on.engine.hub)) as frames:
        while not isinstance(seen[-1] if seen else None, CaughtUp):
            seen.append(await anext(frames))
    listed = await ask("GET", f"{CONVERSATIONS}{turn.conversation_id}/events/", headers=at.headers)

    parts = [asked[0], {"type": "image", "url": "data:image/gif;base64,"}]
    [heard] = told(at.on)
    assert max(len(encode(frame)) for frame in seen) < 2**16
    assert seen[0].data["parts"] == json.loads(listed.body)["events"][0]["data"]["parts"] == parts
    assert isinstance(heard, llm.UserMessage)
    assert heard.parts[1] == ImagePart(url=large)


@pytest.mark.parametrize(("told", "passed_on"), [
    ("HTTPS://Example.org/A.png", "https://Example.org/A.png"),
    ("DATA:image/GIF;base64,R0lGODlhAQABAAAAACw=", "data:image/GIF;base64,R0lGODlhAQABAAAAACw="),
])  # fmt: skip
async def test_the_scheme_of_an_images_address_is_passed_on_as_everybody_knows_it(
    door: Any, told: str, passed_on: str
) -> None:
    at = await door([says("A pixel.")])

    await at.ask(user(image(image_url={"url": told})))

    [message] = at.on.model.requests[-1].messages
    assert message.parts == (ImagePart(url=passed_on),)


async def test_an_image_alone_is_a_message(door: Any) -> None:
    at = await door([says("A pixel.")])

    await at.ask([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}])

    assert told(at.on) == (llm.UserMessage(text="", parts=(ImagePart(url=PIXEL),)),)


def user(*parts: Any) -> Any:
    return [{"role": "user", "content": list(parts)}]


def image(**told: Any) -> Any:
    return {"type": "image_url", **told}


TOOL = {"role": "tool", "tool_call_id": "c1", "content": "one"}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
IMPROPER: list[tuple[Any, str, str]] = [
    (user(image()), "messages[0].content[0].image_url.url", "image_url content part is missing a url"),
    (user(image(image_url={})), "messages[0].content[0].image_url.url", "image_url content part is missing a url"),
    (user(image(image_url={"url": "http://a.example/"})), "messages[0].content[0].image_url.url", "An image is"),
    (user(image(image_url={"url": "data:text/html;base64,AAAA"})), "messages[0].content[0].image_url.url", "An image"),
    (user({"type": "input_audio"}), "messages[0].content[0].type", "Unsupported content part type: input_audio"),
    ([{"role": "system", "content": [image(image_url={"url": PIXEL})]}, *SAY_HI],
     "messages[0].content[0].type", "Only users"),
    ([*SAY_HI, {"role": "assistant", "content": "Hello."}], "messages", "The last message must be"),
    ([*SAY_HI, TOOL], "messages[1].tool_call_id", "A tool's message must follow"),
    ([*SAY_HI, ASKED, {**TOOL, "tool_call_id": "c9"}], "messages[2].tool_call_id", "A tool's message must follow"),
    ([*SAY_HI, ASKED, TOOL, TOOL], "messages[3].tool_call_id", "There is an answer to this call"),
    ([*SAY_HI, ASKED, *SAY_HI, TOOL], "messages[3].tool_call_id", "A tool's message must follow"),
    ([ASKED, TOOL], "messages", "At least one user message is required."),
    (SAY_HI * 2_049, "messages", "Expected `array` of length <= 2048"),
    ([{**ASKED, "tool_calls": [CALL] * 129}, *SAY_HI], "messages[0].tool_calls", "Expected `array` of length <= 128"),
    (user(*[{"type": "text", "text": "x"}] * 513), "messages[0].content", "Expected `array` of length <= 512"),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "param", "sentence"), IMPROPER)
def test_what_cannot_be_told_is_refused_where_it_is(ada: Client, messages: Any, param: str, sentence: str) -> None:
    """A3.10."""
    response = ada.post(ADDRESS, {"model": "demo", "messages": messages}, "application/json")

    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert error["message"].startswith(sentence)
    assert not Turn.objects.exists()


@pytest.mark.parametrize(
    ("text", "status"), [(rb"a\u0000b", 400), (rb"\\\u0000", 400), (rb"\\u0000", 404), (rb"\u00001", 400)]
)
def test_nul_is_refused_wherever_it_is_but_not_its_name(ada: Client, text: bytes, status: int) -> None:
    """R21."""
    body = b'{"model": "nothing", "messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": "function",'
    body += b'"function": {"name": "f", "parameters": {"type": "object", "title": "' + text + b'"}}}]}'

    assert ada.post(ADDRESS, body, "application/json").status_code == status


@pytest.mark.parametrize("long", [None, "user", "system"])
async def test_what_is_said_now_and_to_the_model_is_bounded_and_what_was_said_before_is_not(
    door: Any, long: str | None
) -> None:
    at = await door([says("Hi.")])
    past = [{"role": "user", "content": "x" * 50}, {"role": "assistant", "content": "y" * 50}]
    now = [{"role": role, "content": "z" * (11 if role == long else 10)} for role in ("system", "user")]

    with override_settings(CHAT={"MAX_TEXT": 10}):
        answer = await ask("POST", ADDRESS, headers=at.headers, body={"model": "demo", "messages": [*past, *now]})

    assert answer.status == (400 if long else 200)
    assert (b"text_too_long" in answer.body) == (long is not None)


async def test_the_title_is_the_first_that_was_said(door: Any) -> None:
    from history.models import Conversation

    at = await door([says("Two.")])

    await at.ask(TALK)

    titles = await sync_to_async(lambda: list(Conversation.objects.values_list("title", flat=True)))()
    assert sorted(titles) == ["", "First?"]
