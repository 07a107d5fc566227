"""Every reason that a server may give is an error of its own, and it is known which ones are final."""

from __future__ import annotations

import ast
import re
import sys

import pytest

from chat.close import BY_CODE, Close
from tests.provider import ROOT
from verbatim_client import errors
from verbatim_client.errors import Forbidden, NotFound, RateLimited, Refused, Unauthenticated, final, of_status, refusal
from verbatim_client.line import BAD_CURSOR, LONGEST_WAIT, RESTART, wait_before

OURS = {*sys.stdlib_module_names, "httpx", "websockets", "verbatim_client"}
NOT_FOR_SOCKETS = {"fenced", "profile_exists", "profile_read_only", "still_running"}
"""Codes of REST views that the client does not call."""


def codes() -> set[str]:
    """Those that PROTOCOL.md lists."""
    table = (ROOT / "PROTOCOL.md").read_text(encoding="utf-8").split("<!-- generated: errors -->")[1]
    return set(re.findall(r"^\| `(\w+)` \|", table.split("<!-- end -->")[0], flags=re.MULTILINE))


@pytest.mark.parametrize("code", sorted(codes() - NOT_FOR_SOCKETS))
def test_every_code_has_a_class_of_its_own(code: str) -> None:
    error = refusal(code, "Why not.", request_id="r", turn="t")

    assert type(error) is not Refused
    assert (error.code, str(error), error.request_id, error.turn) == (code, "Why not.", "r", "t")


def test_a_code_of_a_newer_server_is_refused_too() -> None:
    error = refusal("from_the_future", "No.")

    assert (type(error), error.code) == (Refused, "from_the_future")


def test_close_codes_are_final_as_their_meaning_says() -> None:
    finals = {code: type(reason) for code in Close if (reason := final(code, said=None)) is not None}

    assert finals == {4401: Unauthenticated, 4403: Forbidden, 4404: NotFound}
    assert (Close.RESTART, Close.BAD_REQUEST) == (RESTART, BAD_CURSOR)
    assert {int(code) for code in BY_CODE.values()} <= {*map(int, Close)}


def test_what_was_said_before_a_final_close_is_what_is_raised() -> None:
    said = refusal("access_ended", "You are no longer signed in.")

    assert final(4401, said=said) is said
    assert isinstance(final(4404, said=said), NotFound)


@pytest.mark.parametrize(("status", "code"), [(401, "unauthenticated"), (429, "rate_limited"), (502, "internal")])
def test_a_status_without_a_code_is_an_error_too(status: int, code: str) -> None:
    assert of_status(status, message="Refused").code == code


def test_every_error_says_what_it_is_without_being_told() -> None:
    named = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Refused)]

    assert RateLimited in named
    assert all(str(error()) and error().code for error in named)


def test_pauses_grow_are_never_the_same_for_all_and_have_an_end() -> None:
    shortest = [wait_before(tries, chance=lambda: 0.0) for tries in range(1, 12)]
    longest = [wait_before(tries, chance=lambda: 1.0) for tries in range(1, 12)]

    assert shortest == sorted(shortest)
    assert (shortest[0], longest[0], longest[-1]) == (0.25, 0.5, LONGEST_WAIT)
    assert all(high == 2 * low for low, high in zip(shortest, longest, strict=True))
    assert wait_before(10_000, chance=lambda: 1.0) == LONGEST_WAIT


def test_the_client_imports_nothing_of_the_server() -> None:
    imported = set()
    for path in (ROOT / "client").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.partition(".")[0] for name in names}

    assert {"httpx", "websockets"} <= imported <= OURS
