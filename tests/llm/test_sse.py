"""The event stream reader, on any bytes cut in any way."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.sse import SseReader

pieces = st.sampled_from(
    [
        b"data: one",
        b"data:two",
        b"data",
        b"data: ",
        b"data: \xf0\x9f\x98\x80",
        b": comment",
        b"event: x",
        b"id: 1",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\xef\xbb\xbf",
        b"x",
        b":",
        b"data: [DONE]\n\n",
    ]
)


def read(*chunks: bytes) -> list[bytes]:
    reader = SseReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return events + reader.close()


def cut(stream: bytes, *, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(edges)]


@given(st.lists(pieces, max_size=40).map(b"".join), st.lists(st.integers(0, 500), max_size=60))
def test_any_cut_of_the_bytes_gives_the_same_events(stream: bytes, places: list[int]) -> None:
    whole = read(stream)

    assert read(*cut(stream, places=places)) == whole


@given(st.lists(pieces, max_size=40).map(b"".join))
def test_byte_by_byte_gives_the_same_events(stream: bytes) -> None:
    assert read(*(bytes([byte]) for byte in stream)) == read(stream)


@given(st.lists(st.text(min_size=1).filter(lambda s: not set(s) & set("\r\n")), min_size=1))
def test_what_is_written_is_read(texts: list[str]) -> None:
    stream = b"".join(b"data: " + text.encode() + b"\n\n" for text in texts)

    assert read(stream) == [text.encode() for text in texts]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\ndata:  b\n\n", [b"a\n b"]),
        (b": keep-alive\n\ndata:a\n\n: more\n\n", [b"a"]),
        (b"event: message\nid: 7\ndata: a\nretry: 3\n\n", [b"a"]),
        (b"data: a\n\ndata: last, without its blank line", [b"a", b"last, without its blank line"]),
        (b"data: a\n\ndata: last line ended\n", [b"a", b"last line ended"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data:\n\ndata\n\n", []),
        (b"data\ndata\n\n", [b"\n"]),
        (b"database: no\n\n", []),
        (b"", []),
    ],
)
def test_the_format_is_read_as_the_standard_says(stream: bytes, events: list[bytes]) -> None:
    assert read(stream) == events


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    reader = SseReader()

    assert reader.feed(b"data: a\r") == []
    assert reader.feed(b"\n\r") == [b"a"]
    assert reader.feed(b"\ndata: b\n\n") == [b"b"]


@pytest.mark.parametrize(
    ("chunks", "events"),
    [
        ((b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n"), [b"a\nb"]),
        ((b"data: a\n", b"data: b\n\n"), [b"a\nb"]),
        ((b"data: a\n\n", b"\xef\xbb\xbfdata: b\n\n"), [b"a"]),
        ((b"\xef", b"\xbb\xbfdata: a\n\n"), [b"a"]),
        ((b"dat", b"a: a\n\n"), [b"a"]),
    ],
)
def test_a_cut_in_an_awkward_place_changes_nothing(chunks: tuple[bytes, ...], events: list[bytes]) -> None:
    assert read(*chunks) == events
    assert read(b"".join(chunks)) == events


def test_a_line_of_ten_megabytes_in_small_chunks_is_one_event() -> None:
    reader = SseReader()
    reader.feed(b"data: ")

    for _ in range(10_000):
        assert reader.feed(b"x" * 1024) == []

    assert reader.feed(b"\n\n") == [b"x" * 1024 * 10_000]
