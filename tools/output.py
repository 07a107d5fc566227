"""What a tool gives back, made fit for the log and for a model: text, storable, of limited size."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pydantic_core import to_jsonable_python

from llm.surrogates import joined

Discreet: TypeAlias = Callable[[str], str]
"""Takes out of a text what nobody may read."""
LIMIT = 64 * 1024
"""Bytes of UTF-8 that a model gets to read of one result; the note about a cut comes on top."""
MOST_SOURCES = 50
LONGEST_TITLE = 300
LONGEST_URL = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a result comes from, for the person who reads the answer."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """A result with its sources. `content` is text or anything that JSON can say."""

    content: Any
    sources: tuple[Source, ...] | list[Source] = ()


def as_it_is(text: str) -> str:
    """The text: nothing is to be taken out."""
    return text


def output_of(value: Any, *, discreet: Discreet = as_it_is) -> ToolOutput:
    """What a tool returned, as clean text with clean sources. Raises `ValueError` for what JSON cannot say."""
    output = value if isinstance(value, ToolOutput) else ToolOutput(value)
    return replace(
        output,
        content=fit(discreet(text_of(output.content))),  # in this order: what is cut in two is not found
        sources=tuple(
            Source(title=joined(discreet(source.title))[:LONGEST_TITLE], url=joined(discreet(source.url))[:LONGEST_URL])
            for source in output.sources[:MOST_SOURCES]
        ),
    )


def text_of(value: Any) -> str:
    """Text as it is, everything else as JSON. Raises `ValueError` for what JSON cannot say."""
    return value if isinstance(value, str) else json.dumps(to_jsonable_python(value), ensure_ascii=False)


def fit(text: str) -> str:
    """`text` without NUL and lone surrogates, cut between two characters at 64 KiB of UTF-8, with a note."""
    encoded = joined(text).encode()
    if len(encoded) <= LIMIT:
        return encoded.decode()
    kept = encoded[:LIMIT].decode(errors="ignore")
    return f"{kept}\n[cut: {len(encoded)} bytes, of which {LIMIT} are shown]"
