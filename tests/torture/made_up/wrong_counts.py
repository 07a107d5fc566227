"""Histories in which what model calls have used is not what the log tells or viewers show: breaks of R23."""

from __future__ import annotations

from msgspec.structs import replace

from tests.torture.checker import counting
from tests.torture.made_up.planting import Page, edit
from tests.torture.made_up.plots import killed, named, plain, tools
from tests.torture.made_up.wrong_records import SOCKET, answer, client_log
from tests.torture.records import Called, EventRow, FreshRead, Received


def record(page: Page, number: int = 0) -> EventRow:
    """The record of a call."""
    return page.all(EventRow, kind="completion_log")[number]


def rewrite(page: Page, event: EventRow, **fields: object) -> None:
    """Have an event say something else, to whoever sees it."""
    data = {**event.data, **fields}
    page.change(event, data=data)
    for received in [r for r in page.all(Received) if r.frame.get("seq") == event.seq]:
        page.reframe(received, data=data)
    for read in page.all(FreshRead):
        frames = [{**each, "data": data} if each.get("seq") == event.seq else each for each in read.frames]
        page.change(read, frames=frames)


@edit(counting.every_call_is_told_once, killed)
def two_processes_tell_of_one_call(page: Page) -> None:
    rewrite(page, record(page, 1), attempt=1)


@edit(counting.every_call_is_told_once, killed)
def a_call_is_told_as_completed_that_was_lost(page: Page) -> None:
    rewrite(page, record(page), outcome="completed")


@edit(counting.every_call_is_told_once, plain)
def a_call_is_made_that_nobody_tells_of(page: Page) -> None:
    call = page.all(Called)[0]
    page.add(replace(call, call_id="turn-0:1:1:1", began=call.began + 1, ended=(call.ended or 0) + 1))


@edit(counting.conversations_are_named_once, named)
def a_title_is_asked_for_twice(page: Page) -> None:
    rewrite(page, record(page), usage_id="title")


@edit(counting.conversations_are_named_once, plain)
def the_call_for_a_title_is_lost_with_its_process(page: Page) -> None:
    page.add(replace(page.all(Called)[0], call_id="turn-0:title"))


@edit(counting.snapshots_are_what_the_records_add_up_to, tools)
def a_snapshot_is_made_from_an_old_one(page: Page) -> None:
    first, second = page.all(EventRow, kind="stats")
    rewrite(page, second, conversation=first.data["conversation"])


@edit(counting.snapshots_are_what_the_records_add_up_to, named)
def a_title_is_counted_in_a_turn(page: Page) -> None:
    snapshot = page.all(EventRow, kind="stats")[-1]
    rewrite(page, snapshot, turn=snapshot.data["conversation"])


@edit(counting.snapshots_are_what_the_records_add_up_to, plain)
def a_record_comes_without_a_snapshot(page: Page) -> None:
    row = page.all(EventRow, kind="stats")[0]
    page.change(row, kind="note")
    for received in [r for r in page.all(Received) if r.frame.get("seq") == row.seq]:
        page.reframe(received, kind="note")
    for read in page.all(FreshRead):
        page.change(read, frames=[{**f, "kind": "note"} if f.get("seq") == row.seq else f for f in read.frames])


@edit(counting.ends_tell_what_their_calls_have_used, killed)
def a_lost_call_costs_nothing(page: Page) -> None:
    rewrite(page, page.all(EventRow, kind="turn_ended")[0], cost=record(page, 1).data["cost"])


@edit(counting.clients_have_the_newest_snapshot, killed)
def the_python_client_has_an_old_snapshot(page: Page) -> None:
    whole = client_log(page, told=answer(page), left=True)
    page.add(replace(whole, stats=page.all(EventRow, kind="stats")[0].data))


@edit(counting.snapshots_beside_the_log_are_not_older, tools)
def who_comes_back_is_shown_an_old_snapshot(page: Page) -> None:
    first, last = page.all(EventRow, kind="stats")[0], page.frames(SOCKET, kind="turn_ended")[0]
    old = {"type": "state", "cursor": last.frame["cursor"], "key": "stats", "value": first.data}
    page.add(replace(last, frame=old), before=last)
