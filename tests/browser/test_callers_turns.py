"""Turns that programs made, as the page shows them: calls left to the caller, images, and nothing for nothing."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

SHOWN = """async (events) => {
    document.body.innerHTML = '<script type="application/json" id="verbatim-config">{}</script>';
    const { buildTree } = await import("/verbatim/turns.js");
    const { TurnView } = await import("/verbatim/turn-view.js");
    const place = { version: 0, versions: 1, reworded: false, last: true, idle: true, opinion: null };
    return Array.from(buildTree(events).turns.values(), (turn) => {
        const view = new TurnView(turn.id);
        view.show(turn, null, place);
        const texts = (selector) => Array.from(view.element.querySelectorAll(selector), (found) => found.textContent);
        return {
            said: view.said.hidden ? null : view.bubble.hidden ? "" : view.bubble.textContent,
            images: texts(".said-images li"),
            links: Array.from(view.element.querySelectorAll(".said-images a[href]"), (link) => link.href),
            calls: texts(".tool-name").map((name, at) => [name, texts(".tool-preview")[at], texts(".tool-state")[at]]),
            answer: texts(".markdown:not(.thought)").join(""),
        };
    });
}"""
CALL = {"id": "c0", "name": "look_up", "arguments": '{"q": "weather"}'}


def log(*told: tuple[str, str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Events from their kinds, turns and data."""
    return [
        {"seq": seq, "kind": kind, "turn": turn, "at": "2026-01-01T00:00:00Z", "data": data}
        for seq, (kind, turn, data) in enumerate(told, start=1)
    ]


ASKED = log(
    ("user_message", "a", {"text": "Hi"}),
    ("assistant_message", "a", {"hop": 0, "text": "", "tool_calls": [CALL]}),
    ("turn_ended", "a", {"status": "completed", "finish_reason": "tool_calls"}),
    ("user_message", "b", {"text": "", "parent": "a", "results": [{"tool_call_id": "c0", "content": "Sunny."}]}),
    ("assistant_message", "b", {"hop": 0, "text": "It is sunny."}),
    ("turn_ended", "b", {"status": "completed", "finish_reason": "stop"}),
)


def test_a_call_that_is_left_to_the_caller_is_shown_with_its_arguments(page: Page) -> None:
    [turn] = page.evaluate(SHOWN, ASKED[:3])

    assert (turn["said"], turn["answer"]) == ("Hi", "")
    assert turn["calls"] == [["look_up", "weather", "Left to the caller"]]


def test_the_callers_result_ends_its_call_and_is_no_message_of_a_person(page: Page) -> None:
    asked, answered = page.evaluate(SHOWN, ASKED)

    assert asked["calls"] == [["look_up", "weather", "Done"]]
    assert (answered["said"], answered["answer"]) == (None, "It is sunny.")


def test_a_call_of_a_turn_that_was_stopped_is_still_interrupted(page: Page) -> None:
    stopped = log(
        *((each["kind"], "a", each["data"]) for each in ASKED[:2]), ("turn_ended", "a", {"status": "cancelled"})
    )

    [turn] = page.evaluate(SHOWN, stopped)

    assert turn["calls"] == [["look_up", "weather", "Interrupted"]]


@pytest.mark.parametrize(
    ("url", "told", "links"),
    [
        ("data:image/png;base64,", "Image (png)", []),
        ("https://example.com/a.png", "https://example.com/a.png", ["https://example.com/a.png"]),
        ("javascript:alert(1)", "Image (unknown)", []),
    ],
)
def test_an_image_is_a_line_that_says_what_it_is(page: Page, url: str, told: str, links: list[str]) -> None:
    message = {"text": "", "parts": [{"type": "image", "url": url}]}

    [turn] = page.evaluate(SHOWN, log(("user_message", "a", message), ("turn_ended", "a", {"status": "completed"})))

    assert (turn["said"], turn["images"], turn["links"]) == ("", [told], links)
