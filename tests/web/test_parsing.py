"""JSON bodies: their depth is known before they are parsed."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import InvalidRequest
from web.parsing import BoundedJsonParser, depth_exceeds

values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=20,
)


def depth(value: object) -> int:
    """How deep objects and arrays are nested, by walking through."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, inner), default=0)
    return 0


@given(values)
def test_depth_is_seen_without_parsing(value: object) -> None:
    body = json.dumps(value).encode()

    assert not depth_exceeds(depth(value), body=body)
    assert depth_exceeds(depth(value) - 1, body=body) == (depth(value) > 0)


@given(values)
def test_what_is_within_the_limits_is_parsed_as_it_was_meant(value: object) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()

    assert BoundedJsonParser().parse(io.BytesIO(body)) == value


def test_brackets_inside_strings_do_not_count() -> None:
    assert not depth_exceeds(1, body=json.dumps(["[[[[{{{{", '\\"[[[[', "\\"]).encode())


@pytest.mark.parametrize("body", [b"[" * 33 + b"]" * 33, b'{"a":' * 33 + b"1" + b"}" * 33, b"[" * 200_000])
def test_deeper_than_the_setting_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="nested"):
        BoundedJsonParser().parse(io.BytesIO(body))


def test_quotes_without_end_are_read_once() -> None:
    body = b'"' + b'\\"' * 120_000  # takes hours if every quote is tried anew

    with pytest.raises(InvalidRequest, match="not JSON"):
        BoundedJsonParser().parse(io.BytesIO(body))
