"""The tree of turns: which versions there are, and which of them a page shows."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

TREE = """async ([events, picks]) => {
    const { activeTurn, buildTree, chain, siblings } = await import("/verbatim/turns.js");
    const tree = buildTree(events);
    const shown = chain(tree, new Map(picks));
    return {
        shown: shown.map((turn) => turn.id),
        versions: shown.map((turn) => siblings(tree, turn)),
        active: activeTurn(tree)?.id ?? null,
    };
}"""


def asked(*turns: tuple[str, str | None]) -> list[dict[str, Any]]:
    """One event per turn, with its parent; each is over when the next begins."""
    events: list[dict[str, Any]] = []
    for turn, parent in turns:
        question = {"kind": "user_message", "turn": turn, "at": "", "data": {"text": turn, "parent": parent}}
        ended = {"kind": "turn_ended", "turn": turn, "at": "", "data": {"status": "completed"}}
        events += [question, ended]
    return [event | {"seq": seq} for seq, event in enumerate(events, start=1)]


GROWN = asked(("a", None), ("b", "a"), ("c", "b"), ("b2", "a"), ("d", "b2"), ("a2", None))


@pytest.mark.parametrize(
    ("picks", "shown"),
    [
        ([], ["a2"]),
        ([[None, "a"]], ["a", "b2", "d"]),
        ([[None, "a"], ["a", "b"]], ["a", "b", "c"]),
        ([[None, "gone"]], ["a2"]),
    ],
)
def test_the_newest_branch_is_shown_unless_another_was_picked(page: Page, picks: list[Any], shown: list[str]) -> None:
    assert page.evaluate(TREE, [GROWN, picks])["shown"] == shown


def test_versions_of_a_turn_are_those_with_the_same_parent(page: Page) -> None:
    tree = page.evaluate(TREE, [GROWN, [[None, "a"]]])

    assert tree["versions"] == [["a", "a2"], ["b", "b2"], ["d"]]


def test_a_turn_is_active_until_it_has_ended(page: Page) -> None:
    assert page.evaluate(TREE, [GROWN[:-1], []])["active"] == "a2"
    assert page.evaluate(TREE, [GROWN, []])["active"] is None


def test_a_turn_whose_parent_is_unknown_stands_at_the_root(page: Page) -> None:
    assert page.evaluate(TREE, [asked(("x", "lost")), []])["shown"] == ["x"]


CALLS = """async (events) => {
    const { buildTree } = await import("/verbatim/turns.js");
    return buildTree(events).turns.get("a").hops[0].calls.map((call) => call.result?.content ?? null);
}"""


def test_results_find_their_calls_by_index_since_ids_may_repeat(page: Page) -> None:
    call = {"id": "same", "name": "add", "arguments": "{}"}
    message = {"kind": "assistant_message", "turn": "a", "data": {"hop": 0, "tool_calls": [call, call]}}
    result = {
        "kind": "tool_result",
        "turn": "a",
        "data": {"hop": 0, "index": 1, "tool_call_id": "same", "content": "2"},
    }

    assert page.evaluate(CALLS, [asked(("a", None))[0], message, result]) == [None, "2"]
