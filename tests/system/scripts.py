"""Answers for the scripted provider, made by hypothesis: text that is easy to break, reasoning, tools, several hops."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

Step = dict[str, Any]
Hop = list[Step]

FRAGILE = (
    "a",
    " ",
    "\n\n",
    "```",
    "e\u0301",  # a letter and its accent
    "👍🏽",  # with a skin tone
    "👨‍👩‍👧‍👦",  # joined by ZWJ: 7 code points, 11 UTF-16 units, 25 bytes, one character on the screen
    "🏳️‍🌈",
    "🇩🇪",  # a flag: two regional indicators
    "שלום",
    "مرحبا",
    "\u202eabc\u202c",  # right to left by force
    "𐍈",
    "\u2028",  # a line end for JavaScript and str.splitlines, not for SSE
    "\x85",
    "漢字",
)
CALLS = (
    ("calculator", {"expression": "6 * 7"}),
    ("calculator", {"expression": "nonsense 👎"}),
    ("current_time", {"time_zone": "Europe/Berlin"}),
)

_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_texts = st.lists(st.sampled_from(FRAGILE) | st.text(_characters, min_size=1, max_size=2), min_size=1, max_size=2)
_says = st.builds(
    lambda verb, text: {verb: "".join(text)}, st.sampled_from(["text", "text", "reasoning", "halves"]), _texts
)


@st.composite
def _fragments(draw: st.DrawFn, index: int) -> list[Step]:
    """One call, its arguments in pieces; only the first says whose."""
    name, arguments = draw(st.sampled_from(CALLS))
    written = json.dumps(arguments, ensure_ascii=False)
    cuts = sorted(draw(st.sets(st.integers(1, len(written) - 1), max_size=2)))
    pieces = [written[start:end] for start, end in zip([0, *cuts], [*cuts, len(written)], strict=True)]
    first: Step = {"tool": {"index": index, "id": f"call-{index}", "name": name, "arguments": pieces[0]}}
    return [first, *({"tool": {"index": index, "arguments": piece}} for piece in pieces[1:])]


@st.composite
def _tool_hop(draw: st.DrawFn) -> Hop:
    """Something said or not, then calls, perhaps with something said in between."""
    steps = draw(st.lists(_says, max_size=2))
    for index in range(draw(st.integers(1, 2))):
        steps += draw(_fragments(index)) + draw(st.lists(_says, max_size=1))
    return steps


answers: st.SearchStrategy[list[Hop]] = st.builds(
    lambda tools, last: [*tools, last],
    st.lists(_tool_hop(), min_size=1, max_size=2),
    st.lists(_says, min_size=2, max_size=4),
)
"""The hops of an answer; the last one calls no tool."""


def gate(hop: int, step: int) -> str:
    """The gate before a step of a gated script; the one after the last step is before the finish."""
    return f"before-{hop}-{step}"


def gated(hops: list[Hop]) -> list[Hop]:
    """The script that waits before every step, and before the end of every hop."""
    return [
        [
            *(part for at, step in enumerate(steps) for part in ({"gate": gate(hop, at)}, step)),
            {"gate": gate(hop, len(steps))},
        ]
        for hop, steps in enumerate(hops)
    ]


def counted(step: Step) -> int:
    """How many code points of draft a step adds."""
    return sum(len(step.get(verb, "")) for verb in ("text", "reasoning", "halves"))


def arguments_of(steps: Hop) -> dict[int, str]:
    """The arguments of each call after these steps."""
    found: dict[int, str] = {}
    for step in steps:
        if tool := step.get("tool"):
            found[tool["index"]] = found.get(tool["index"], "") + tool["arguments"]
    return found
