"""What the page shows of tokens and cost, from the frames that tell of them."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

FOLD = """async (frames) => {
    const { emptyMeter, measure, usedSoFar } = await import("/verbatim/meter.js");
    return frames.reduce((seen, frame) => {
        const meter = measure(seen.at(-1)?.meter ?? emptyMeter(), frame);
        return [...seen, { meter, used: usedSoFar(meter) }];
    }, []).map(({ used }) => used && [used.usage.prompt, used.usage.completion, used.cost, used.estimated]);
}"""


def told(prompt: int, completion: int, cost: str | None) -> dict[str, Any]:
    whole = {"prompt": prompt, "completion": completion, "cached": 0, "reasoning": 0, "cost": cost}
    return {"conversation": whole}


def event(kind: str, **data: Any) -> dict[str, Any]:
    return {"type": "event", "kind": kind, "data": data}


def test_what_was_used_is_the_newest_snapshot_and_what_the_call_in_progress_has_used_about(page: Page) -> None:
    frames = [
        event("user_message", text="hi"),
        {"type": "estimate", "completion": 3},
        {"type": "estimate", "prompt": 10, "completion": 6, "cost": "0.5"},
        event("stats", **told(11, 7, "0.25")),
        {"type": "estimate", "prompt": 20, "completion": 1, "cost": "0.5"},
        event("turn_ended", status="cancelled"),
        {"type": "state", "key": "title", "value": "Hi"},
        {"type": "state", "key": "stats", "value": told(99, 1, None)},
    ]

    assert page.evaluate(FOLD, frames) == [
        None,
        [0, 3, None, True],
        [10, 6, "0.5", True],
        [11, 7, "0.25", False],
        [31, 8, "0.75", True],
        [11, 7, "0.25", False],
        [11, 7, "0.25", False],
        [99, 1, None, False],
    ]
