"""`python -m bench`, with real processes, and the page that is made of what it prints."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from bench.document import SECTION
from bench.environment import ROOT
from bench.measurements import EVERYTHING, MEASUREMENTS
from bench.stage import Plan

PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


def test_the_page_has_a_place_for_every_measurement() -> None:
    assert sorted(found["name"] for found in SECTION.finditer(PAGE)) == sorted(EVERYTHING)


def test_every_command_that_the_page_names_is_one() -> None:
    named = re.findall(r"`(?:[\w./]*python -m )?bench (\w+)[^`]*`", PAGE)

    assert len(named) > len(MEASUREMENTS)
    assert set(named) <= set(EVERYTHING)


def test_a_token_is_measured_on_every_server_and_through_every_door() -> None:
    cases = list(MEASUREMENTS["tokens"](Plan(streams=2, seconds=1.0, runs=1, cases=())).cases)

    assert cases == [
        "raw Starlette + httpx",
        "Verbatim, WebSocket, uvicorn",
        "Verbatim, WebSocket, daphne",
        "Verbatim, SSE, uvicorn",
        "Verbatim, SSE, daphne",
        "Verbatim, lightspeed SSE, uvicorn",
        "Verbatim, JSON, uvicorn",
        "naive Channels + litellm, in memory",
        "naive Channels + litellm, on Redis",
    ]


def bench(*options: str) -> str:
    """What is printed."""
    command = [sys.executable, "-m", "bench", *options, "--runs", "1", "--seconds", "2"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.system
def test_a_few_streams_are_measured_beside_what_they_cost_others() -> None:
    printed = bench("tokens", "--streams", "2", "--cases", "raw,lightspeed,JSON,in memory")

    rows = [re.split(r" *\| *", line)[1:-1] for line in printed.splitlines() if line.startswith("| ")]
    headings, *cases = rows[0], *rows[2:]
    live = [dict(zip(headings, case, strict=True)) for case in cases if "JSON" not in case[0]]
    assert len(cases) == 4
    assert len(live) == 3
    assert all(float(case["CPU µs/token"].replace(",", "")) > 0 for case in live)
    assert all(0 < float(case["frames/token"]) <= 1 for case in live)
    assert live[0]["to raw"] == "1"
