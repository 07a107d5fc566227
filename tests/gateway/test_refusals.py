"""What each error is told as, and that PROTOCOL.md says so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, get_args
from uuid import uuid4

import pytest
from django.conf import settings

from chat.protocol import sections
from gateway.errors import OF_TURN, OTHER, RESTARTED, WORDS, Fault, TurnFailed, refusal
from history.events import TurnError
from llm.errors import ModelError
from tests.chat.rest.test_doors import errors as refusals
from web.statuses import FRAMEWORK, STATUS

DOCUMENT = (settings.BASE_DIR / "PROTOCOL.md").read_text(encoding="utf-8")
NO_CODES = {"code", "param"}


def codes() -> set[str]:
    """All that can be told: what is only the base of others is not."""
    ours = {*STATUS, *OF_TURN, *FRAMEWORK.values()} - {ModelError.code}
    return {*(WORDS.get(code, code) for code in ours), *get_args(Fault), OTHER}


def test_the_document_has_every_code_and_none_besides() -> None:
    """Those of the tables, and what is said of OpenAI's clients."""
    of_tables = {*re.findall(r"^\| `(\w+)` \|", sections()["errors"] + sections()["turn-errors"], flags=re.MULTILINE)}
    said = DOCUMENT.partition("## For OpenAI's clients")[2].partition("- **Errors**")[2].partition("\n- **")[0]
    named = {*re.findall(r"`(\w+)`", said)} - NO_CODES

    assert codes() - of_tables <= named <= codes()


def test_a_failure_that_would_be_replayed_is_not_to_be_retried_with_the_same_key() -> None:
    failure = TurnFailed(TurnError(code="unavailable", message="Away."))

    assert "X-Should-Retry" not in refusal(failure).headers
    assert refusal(failure, keyed=True).headers["X-Should-Retry"] == "false"


@pytest.mark.parametrize("keyed", [False, True])
def test_an_answer_that_was_begun_again_may_be_asked_for_again(keyed: bool) -> None:
    """With the key, too: the turn has not failed, and is told from its beginning."""
    assert "X-Should-Retry" not in refusal(TurnFailed(RESTARTED), keyed=keyed).headers


def test_every_refusal_and_every_failure_can_be_told() -> None:
    made: list[Callable[[], Exception]] = [
        *((lambda kind=kind: _made(kind)) for kind in refusals() if kind.code in STATUS),
        *((lambda code=code: TurnFailed(TurnError(code=code, message="x"))) for code in OF_TURN),
    ]

    told = [refusal(make()) for make in made]

    assert len(told) == len(OF_TURN) + len(STATUS)
    assert all(400 <= each.status < 600 for each in told)
    assert {*WORDS} <= {*STATUS, *OF_TURN}
    assert {each.status for each in told} <= {400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 504}


def _made(kind: Any) -> Exception:
    return kind(str(uuid4())) if kind.code in ("turn_active", "still_running") else kind()  # type: ignore[no-any-return]


def test_a_code_from_another_version_is_told_as_a_bad_gateway() -> None:
    told = refusal(TurnFailed(TurnError(code="new_trouble", message="Hm.")))

    assert (told.status, told.body.error.code) == (502, "new_trouble")


def test_a_fault_says_nothing_about_our_inside(caplog: pytest.LogCaptureFixture) -> None:
    told = refusal(RuntimeError("SELECT secret"))

    assert (told.status, told.body.error.code) == (500, "internal")
    assert "secret" not in json.dumps(told.body.error.message)
    assert any("SELECT secret" in str(record.exc_info) for record in caplog.records)
