"""What the provider says: short answers of every shape, each by a name that a message asks for as `[[name]]`."""

from __future__ import annotations

import json
from typing import Any

Step = dict[str, Any]
Script = list[list[Step]]


def words(count: int, *, rate: float, start: int = 1) -> Step:
    """So many numbered words, `rate` a second, each with the time at which it was said."""
    return {"words": count, "rate": rate, "start": start, "stamped": True}


def call(index: int, name: str, *, hop: int, seconds: float) -> list[Step]:
    """A tool call in two fragments. Its id is unique within the turn."""
    head, tail = json.dumps({"number": hop * 10 + index, "seconds": seconds}).split(" ", 1)
    first = {"index": index, "id": f"call-{hop}-{index}", "name": name, "arguments": head}
    return [{"tool": first}, {"tool": {"index": index, "arguments": tail}}]


SCRIPTS: dict[str, Script] = {
    "plain": [[words(40, rate=40)]],
    "waits": [[{"open": True}, {"pause": 0.6}, words(25, rate=40)]],
    "drones": [[words(70, rate=12)]],
    "long": [[words(500, rate=250)]],
    "short": [[{"text": "Yes."}]],
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
NAMES = tuple(SCRIPTS)
