"""What the provider says: short answers of every shape, sound ones and faulty ones, each by a name that a message asks
for as `[[name]]`; and how a turn may end that gets to hear it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from random import Random
from typing import Any

Step = dict[str, Any]
Hop = list[Step] | dict[str, list[list[Step]]]
"""What is said in one hop; or, as `tries`, what is said each time when it is asked."""
Script = list[Hop]
ROUNDS = 8
"""How often a turn may call tools."""


def words(count: int, *, rate: float, start: int = 1) -> Step:
    """So many numbered words, `rate` a second, each with the time at which it was said."""
    return {"words": count, "rate": rate, "start": start, "stamped": True}


def call(index: int, name: str, *, hop: int, seconds: float) -> list[Step]:
    """A call of one of our tools."""
    return named(name, json.dumps({"number": hop * 10 + index, "seconds": seconds}), index=index, hop=hop)


def named(name: str, arguments: str, *, hop: int, index: int = 0) -> list[Step]:
    """A tool call in two fragments. Its id is unique within the turn."""
    head, tail = arguments[:4], arguments[4:]
    first = {"index": index, "id": f"call-{hop}-{index}", "name": name, "arguments": head}
    return [{"tool": first}, {"tool": {"index": index, "arguments": tail}}]


SOUND: dict[str, Script] = {
    "plain": [[words(40, rate=40)]],
    "waits": [[{"open": True}, {"pause": 0.6}, words(25, rate=40)]],
    "drones": [[words(70, rate=12)]],
    "long": [[words(500, rate=250)]],
    "short": [[{"text": "Yes."}]],
    "hesitates": [[{"open": True}, {"pause": 0.5}, {"text": "No, "}, {"pause": 0.5}, {"text": "never."}]],
    "unicode": [
        [
            {"reasoning": "Thinking 🧠 "},
            {"text": "שלום "},
            {"halves": "👨‍👩‍👧‍👦🇩🇪"},
            words(15, rate=30),
            {"reasoning": "so…"},
            {"halves": "4²𐍈"},
            {"text": "\u202e.\u202c\u2028\x85e\u0301"},
            words(15, rate=30, start=16),
        ]
    ],
    "looks-up": [
        [words(10, rate=40), *call(0, "looks_up", hop=0, seconds=0.5)],
        [{"open": True}, {"pause": 0.3}, words(20, rate=40)],
    ],
    "books": [
        [words(5, rate=40), *call(0, "books", hop=0, seconds=0.5)],
        [{"open": True}, {"pause": 0.3}, words(20, rate=40)],
    ],
    "pays": [
        [*call(0, "pays", hop=0, seconds=0.4), *call(1, "looks_up", hop=0, seconds=0.2)],
        [words(15, rate=40)],
    ],
    "plans": [
        [words(5, rate=40), *call(0, "looks_up", hop=0, seconds=0.2), *call(1, "books", hop=0, seconds=0.4)],
        [words(10, rate=40), *call(0, "books", hop=1, seconds=0.3), *call(1, "looks_up", hop=1, seconds=0.6)],
        [{"open": True}, {"pause": 0.2}, {"reasoning": "Now."}, *call(0, "pays", hop=2, seconds=0.3)],
        [{"open": True}, {"pause": 0.4}, words(20, rate=40)],
    ],
}  # fmt: skip
FAULTY: dict[str, Script] = {
    "breaks": [[words(15, rate=40), {"reset": True}]],
    "stops-short": [[words(15, rate=40), {"close": True}]],
    "stalls": [[words(10, rate=40), {"silence": 30}]],
    "is-down": [[{"status": 500}]],
    "refuses": [{"tries": [[{"status": 429, "headers": {"Retry-After": "0.3"}}], [words(20, rate=40)]]}],
    "resets-first": [{"tries": [[{"open": True}, {"reset": True}], [words(20, rate=40)]]}],
    "is-not-json": [named("looks_up", '{"number": not', hop=0), [words(10, rate=40)]],
    "is-unknown": [named("rm", '{"path": "/"}', hop=0), [words(10, rate=40)]],
    "raises": [call(0, "raises", hop=0, seconds=0.1), [words(10, rate=40)]],
    "is-huge": [call(0, "returns_much", hop=0, seconds=0.1), [words(10, rate=40)]],
    "hangs": [call(0, "hangs", hop=0, seconds=30), [words(10, rate=40)]],
    "for-ever": [
        *([words(3, rate=40), *call(0, "looks_up", hop=hop, seconds=0.05)] for hop in range(ROUNDS + 2)),
        [words(3, rate=40)],
    ],
}
SCRIPTS = {**SOUND, **FAULTY}
SOUND_ONES = 0.75
"""How many of the orders get a sound answer."""
COMPLETED = ("completed",)
ENDS: Mapping[str, tuple[str, ...]] = {
    "breaks": ("failed/truncated",),
    "stops-short": ("failed/truncated",),
    "stalls": ("failed/stalled",),
    "is-down": ("failed/unavailable",),
}
"""How a turn ends that gets to hear this, unless it is stopped or lost; the others are completed."""


def one(chance: Random, *, among: Collection[str] = ()) -> str:
    """The name of a script, of these or of all."""
    return chance.choice(list(among or (SOUND if chance.random() < SOUND_ONES else FAULTY)))


def said(name: str | None, *, hop: int, number: int) -> str | None:
    """The text of a hop of a script in full and without stamps, on this try; null if there is no such script."""
    if name not in SCRIPTS:
        return None
    script = SCRIPTS[name]
    steps = script[min(hop, len(script) - 1)]
    if isinstance(steps, dict):
        steps = steps["tries"][min(number, len(steps["tries"])) - 1]
    return "".join(map(_text, steps))


def _text(step: Step) -> str:
    if "words" in step:
        return "".join(f"w{number:04} " for number in range(step["start"], step["start"] + step["words"]))
    return str(step.get("text") or step.get("halves") or "")
