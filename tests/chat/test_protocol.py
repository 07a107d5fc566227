"""PROTOCOL.md says what the code does."""

from __future__ import annotations

import re

import jsonschema
import msgspec
import pytest
from django.conf import settings

from access.errors import UnknownModel
from chat.close import BY_CODE, Close
from chat.protocol import EXAMPLES, error_classes, rewritten, sections
from history.errors import ChatError
from llm.errors import Malformed
from streaming import frames
from streaming.errors import Draining
from streaming.play import BROKEN_OFF
from web.statuses import OF_FAILED_TURN, STATUS

DOCUMENT = (settings.BASE_DIR / "PROTOCOL.md").read_text(encoding="utf-8")


def test_the_generated_parts_are_fresh() -> None:
    assert rewritten(DOCUMENT) == DOCUMENT, "run manage.py write_protocol"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_every_example_is_valid_by_its_schema(example: msgspec.Struct) -> None:
    schema = jsonschema.Draft202012Validator(msgspec.json.schema(type(example)))

    assert list(schema.iter_errors(msgspec.to_builtins(example))) == []


def test_every_frame_has_an_example() -> None:
    known = {*frames.ServerFrame.__args__, *frames.AnyClientFrame.__args__}

    assert {type(example) for example in EXAMPLES} == known


def test_every_error_code_belongs_to_one_error_and_has_a_status() -> None:
    codes = [error.code for error in error_classes()]

    assert len(codes) == len(set(codes))
    assert set(STATUS) >= {error.code for error in error_classes() if error.code != "invalid_frame"}
    assert set(STATUS) <= set(codes)


def test_every_close_code_has_a_reason_in_the_table_and_every_reason_is_a_known_error() -> None:
    codes = {error.code for error in error_classes()}

    assert set(BY_CODE) <= codes
    assert set(BY_CODE.values()) | {Close.INTERNAL} == set(Close)


def test_every_code_with_which_a_turn_can_fail_is_listed_once() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", sections()["turn-errors"], flags=re.MULTILINE)
    sources = [path.read_text(encoding="utf-8") for path in settings.BASE_DIR.glob("streaming/*.py")]
    made = {code for source in sources for code in re.findall(r'TurnError\(\s*code="(\w+)"', source)}
    never_shown = {BROKEN_OFF.code}

    assert len(listed) == len(set(listed))
    assert set(listed) >= (made - never_shown) | {UnknownModel.code, Malformed.code}
    assert {"internal", "interrupted"} <= made
    assert set(listed) == set(OF_FAILED_TURN)


def test_every_code_that_the_prose_names_exists() -> None:
    prose = re.sub(r"<!-- generated.*?<!-- end -->", "", DOCUMENT, flags=re.DOTALL)
    known = {error.code for error in error_classes()}

    assert {"turn_active", "request_conflict"} <= set(re.findall(r"`(\w+)`", prose)) & known


def test_an_error_says_its_sentence() -> None:
    assert issubclass(Draining, ChatError)
    assert Draining().message == Draining.__doc__
