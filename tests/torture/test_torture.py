"""A short run of the harness; `make torture` runs it for long. The seed chooses what happens, which is
always the same; when it happens, and to whom, is up to the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.environment import ROOT, cleaned
from tests.system.cluster import LONG
from tests.torture.cluster import MUTANT, Database
from tests.torture.hunt import NAMES
from tests.torture.notes import VARIABLE
from tests.torture.report import verdict
from tests.torture.run import Plan, run

HIT = 10
FAULTS = ("kill", "sigterm", "sigstop", "cut", "stop", "retry", "provider", "redis_restart", "postgres_restart", "lock")
"""So many turns are hit, and each of these hits somebody, or the run says nothing."""
PATIENCE = 90.0
"""How long a machine that has much else to do may take for that, in seconds."""
pytestmark = pytest.mark.system


@pytest.mark.parametrize(("database", "seed"), [("sqlite", 4), ("postgres", 5)] if LONG else [("postgres", 5)])
async def test_a_cluster_that_is_tortured_keeps_its_promises(
    database: Database, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """R1-R15, R18-R21, R23 and R24, as far as a dozen turns show them."""
    plan = Plan(seed=seed, database=database, servers=3, talks=4, turns=HIT, seconds=PATIENCE, faults=FAULTS)

    outcome = await run(plan, tmp_path)

    with capsys.disabled():
        print(f"\n{plan.command}: {outcome.turns} turns, {outcome.hit} of them hit", *outcome.cells.table(), sep="\n")
    assert not verdict(outcome)
    assert outcome.hit >= HIT
    assert outcome.cells.is_even


def test_every_mutant_still_finds_what_it_changes() -> None:
    env = {**cleaned(os.environ), "DJANGO_SETTINGS_MODULE": "bench.settings", VARIABLE: os.devnull, MUTANT: "all"}
    names = "from tests.torture.mutants import MUTANTS; print(*MUTANTS)"

    printed = subprocess.run([sys.executable, "-c", names], cwd=ROOT, env=env, capture_output=True, text=True)

    assert tuple(printed.stdout.split()) == NAMES, printed.stderr
