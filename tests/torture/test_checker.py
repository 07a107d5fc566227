"""The checker of the fault harness: sound histories pass, and every kind of broken promise is found as what it is."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bench.environment import ROOT
from tests.torture import callers
from tests.torture.cells import Cells
from tests.torture.checker import PROMISES, Bounds, check
from tests.torture.checker.folding import AGAIN
from tests.torture.checker.telling import NEVER
from tests.torture.checker.viewing import fresh
from tests.torture.history import History, Recorder, read
from tests.torture.machine import Machine
from tests.torture.made_up import wrong_counts, wrong_plots, wrong_records
from tests.torture.made_up.audience import Told, history
from tests.torture.made_up.planting import Page, Plant, planted
from tests.torture.made_up.plots import PLOTS, drained, given_up, killed, plain, tools
from tests.torture.records import (
    Called,
    Connected,
    Disconnected,
    Exited,
    Fault,
    Frame,
    Kept,
    Owned,
    Quiescent,
    Received,
    Starved,
    StopAsked,
    TurnRow,
)

PLANTS = planted(wrong_plots, wrong_records, wrong_counts)

turns = st.builds(
    Told, st.sampled_from(PLOTS), st.booleans(), st.lists(st.integers(1, 25), max_size=6, unique=True).map(tuple)
)
conversations = st.lists(st.lists(turns, min_size=1, max_size=3), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(conversations)
def test_a_history_in_which_every_promise_is_kept_has_no_violation(told: list[list[Told]]) -> None:
    violations = check(history(*told))

    assert violations == []


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_violation_is_found_as_what_it_is(plant: Plant) -> None:
    promise = next(promise for promise, predicates in PROMISES.items() if plant.predicate in predicates)

    violations = check(plant.page().history())

    assert plant.predicate.__name__ in {violation.predicate for violation in violations}
    assert {violation.promise for violation in violations} == {promise} | plant.beside


def test_every_predicate_has_a_planted_violation() -> None:
    predicates = {predicate for predicates in PROMISES.values() for predicate in predicates}

    assert predicates == {plant.predicate for plant in PLANTS}


def test_every_promise_that_a_history_can_show_is_looked_at() -> None:
    assert list(PROMISES) == [
        *(f"R{number}" for number in (*range(1, 16), *range(18, 22), 23, 24)),
        "docs/deployment.md",
    ]


def test_a_python_client_that_left_may_lack_the_end() -> None:
    page = Page(history([Told(plain)]))
    whole = wrong_records.client_log(page, told=wrong_records.answer(page), left=True)

    page.add(replace(whole, events=whole.events[:-1]))

    assert check(page.history()) == []


def test_a_stop_may_take_longer_while_redis_is_gone() -> None:
    slow = wrong_plots.a_stop_takes_five_seconds.page()
    stop = slow.all(StopAsked)[0]

    slow.add(Fault(kind="redis_pause", target="redis", began=stop.began - 1, ended=stop.at + 9, at=stop.at + 9))

    assert check(slow.history()) == []


def test_text_may_come_late_just_after_redis_is_back() -> None:
    late = wrong_records.text_is_two_seconds_late_and_nothing_has_happened.page()
    delta = late.frames(wrong_records.SOCKET, type="delta")[-1]

    late.add(Fault(kind="redis_restart", target="redis", began=delta.at - 9, ended=delta.at - 6))

    assert check(late.history()) == []


def test_a_turn_may_wait_while_the_database_is_away() -> None:
    waits = wrong_plots.a_dead_processs_turn_waits_for_40_seconds.page()
    killed = waits.all(Fault)[0].began

    waits.add(Fault(kind="postgres_pause", target="postgres", began=killed + 5, ended=killed + 30))

    assert check(waits.history()) == []


def test_a_process_may_end_long_after_its_turns() -> None:
    page = Page(history([Told(plain), Told(killed), Told(killed)]))
    gone = page.all(Fault)[0].began - 1

    page.add(Fault(kind="kill", target="owner0.1", began=gone, ended=gone, at=gone))

    assert check(page.history()) == []


def test_a_process_may_take_back_its_own_turn() -> None:
    page = wrong_plots.a_living_process_loses_its_turn.page()

    page.change(page.all(Owned, attempt=2)[0], process="owner1.1")

    assert check(page.history()) == []


def test_words_that_come_after_a_process_was_killed_are_not_lost_with_it() -> None:
    page = wrong_records.half_a_second_of_a_draft_is_lost.page()
    kept = page.all(Kept)[0]

    page.change(kept, killed=page.frames(wrong_records.SOCKET, type="delta")[2].at)

    assert check(page.history()) == []


def test_words_that_no_database_took_may_be_lost_with_their_process() -> None:
    page = wrong_records.half_a_second_of_a_draft_is_lost.page()
    kept = page.all(Kept)[0]

    page.add(Fault(kind="postgres_restart", target="postgres", began=kept.killed - 0.3, ended=kept.killed + 0.1))

    assert check(page.history()) == []


def test_a_dead_processs_turn_that_is_never_taken_over_breaks_two_promises() -> None:
    page = wrong_plots.a_turn_is_stuck.page()
    gone = page.all(Received)[-1].at

    page.add(Fault(kind="kill", target="owner1.1", began=gone, ended=gone, at=gone))
    page.change(page.all(Quiescent)[0], at=gone + 60)

    found = {violation.predicate for violation in check(page.history(), bounds=Bounds(heartbeat=100))}
    assert {"nothing_is_active_in_the_end", "turns_of_the_absent_are_taken_over"} <= found


def test_who_goes_when_all_is_quiet_is_owed_the_end_all_the_same() -> None:
    lacks = wrong_records.the_last_ring_is_lost.page()

    lacks.add(Disconnected(viewer=wrong_records.SOCKET, how="left", at=lacks.ended + 1))

    assert {violation.promise for violation in check(lacks.history())} == {"R6"}


def test_the_bounds_are_those_of_the_run() -> None:
    taken_over = history([Told(killed)])

    violations = check(taken_over, bounds=Bounds(takeover=5))

    assert {violation.promise for violation in violations} == {"R10"}


def test_a_turn_goes_on_while_nobody_looks() -> None:
    seen = history([Told(killed), Told(tools)])
    lonely = [r for r in seen.records if not isinstance(r, Connected | Received | Disconnected)]

    assert check(History(lonely)) == []
    assert {row.status for row in seen.of(TurnRow)} == {"completed"}


def test_a_history_is_read_as_it_was_recorded(tmp_path: Path) -> None:
    told = history([Told(drained, cuts=(3, 8)), Told(given_up)])
    recorder = Recorder(tmp_path / "history.jsonl")
    for record in told.records:
        recorder.add(record, at=record.at)
    recorder.close()

    assert read(tmp_path / "history.jsonl").records == told.records


def test_what_is_late_because_the_machine_was_busy_is_not_complained_of() -> None:
    late = wrong_records.text_comes_late.page()
    delta = late.frames(wrong_records.SOCKET, type="delta")[-1]

    late.add(Starved(began=delta.at - 8, seconds=7, at=delta.at))

    assert check(late.history()) == []


def test_a_process_that_had_no_time_to_end_was_killed_for_no_fault_of_its_own() -> None:
    slow = wrong_records.a_process_takes_30_seconds_to_end.page()
    gone = slow.all(Exited)[-1]
    slow.change(gone, code=-9)
    late = {violation.predicate for violation in check(slow.history())}

    slow.add(Starved(began=gone.at - 9, seconds=9, at=gone.at))

    assert late == {"who_is_told_to_end_ends"}
    assert check(slow.history()) == []


def test_a_turn_may_wait_for_somebody_who_holds_its_row() -> None:
    slow = wrong_plots.a_stop_takes_five_seconds.page()
    stop = slow.all(StopAsked)[0]

    slow.add(Fault(kind="lock", target="conversation-0", began=stop.at, ended=stop.at + 4, at=stop.at + 4))

    assert check(slow.history()) == []


def test_a_turn_may_fail_whose_provider_was_cut_off() -> None:
    failed = wrong_records.a_sound_answer_fails.page()
    call = failed.all(Called)[0]

    failed.add(Fault(kind="provider", target="owner0.1", began=call.began + 0.1, ended=call.began + 0.2))

    assert check(failed.history()) == []


def test_checker_and_callers_agree_on_when_to_ask_again() -> None:
    assert set(AGAIN) == {*callers.COME_BACK, *callers.REFUSED_FOR_NOW}


def test_the_lines_that_are_never_expected_are_those_of_the_document() -> None:
    rows = [line for line in (ROOT / "docs/deployment.md").read_text().splitlines() if "| never expected |" in line]

    assert set(re.findall('"([^"]+)"', "".join(rows))) == set(NEVER)


def test_each_cell_is_hit_in_turn_until_none_is_lacking() -> None:
    cells = Cells(["cut", "stop"], states=["mid_text", "stopping"], goal=2)

    while cells.lacking:
        cells.hits[min(cells.emptiest({"cut", "stop"}))] += 1

    assert cells.hits == {("cut", "mid_text"): 2, ("cut", "stopping"): 2, ("stop", "mid_text"): 2}


def test_who_gave_way_to_others_is_known_to_the_machine() -> None:
    machine = Machine()
    machine.waited([os.getpid()])

    waited = machine.waited([os.getpid()])

    assert 0 <= waited < 60


def test_a_reset_cuts_the_draft_of_a_native_viewer_at_its_offset() -> None:
    viewer = fresh([delta(0, "Hm🙂", channel="reasoning"), delta(3, "Yes, "), delta(8, "indeed.")])

    viewer.add({"type": "reset", "cursor": "0.6"})
    viewer.add(delta(6, "no."))

    assert viewer.draft == [("reasoning", "Hm🙂"), ("text", "Yesno.")]
    assert viewer.flaws == []


def test_events_may_come_again_after_a_reset_to_before_them() -> None:
    events: list[Frame] = [{"type": "event", "seq": seq, "kind": "note", "turn": None, "data": {}} for seq in (1, 2)]
    viewer = fresh([*events, {"type": "reset", "cursor": "1.0"}, events[1]])

    assert list(viewer.events) == [1, 2]
    assert viewer.flaws == []


def test_arguments_of_tools_come_on_from_where_they_are_or_from_the_beginning() -> None:
    first, second = delta(0, '{"q"', channel="tool_arguments"), delta(4, ": 1}", channel="tool_arguments")

    assert fresh([first, second, first, second]).flaws == []
    assert [flaw.kind for flaw in fresh([first, second, second]).flaws] == ["gap"]


def delta(offset: int, text: str, *, channel: str = "text") -> Frame:
    """A piece of the first hop's draft."""
    return {"type": "delta", "turn": "t", "attempt": 1, "hop": 0, "offset": offset, "channel": channel, "text": text}
