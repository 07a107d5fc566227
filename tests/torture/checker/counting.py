"""What model calls have used, as the log tells it and the Python client has it: R23."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from itertools import pairwise
from typing import Any, TypeAlias

from tests.torture.checker.run import Run
from tests.torture.checker.verdict import Findings
from tests.torture.checker.viewing import viewers
from tests.torture.records import Called, ClientLog, EventRow

Totals: TypeAlias = dict[str, Any]
TOKENS = ("prompt", "completion", "cached", "reasoning")
COUNTED = ("calls", "estimated", *TOKENS)
LAST = ("model", "context_window", "context_used", "latency_ms", "first_token_ms", "tokens_per_second")
"""What a snapshot says of the last call with a usage id."""
TITLE = "title"


def every_call_is_told_once(run: Run) -> Findings:
    """R23: each hop that the provider was asked for, on each attempt, has one record, whoever had to write that; and
    none says that it was completed of one that was not."""
    for turn in run.turns:
        if run.end(turn) is None:
            continue
        records = {(log.data["attempt"], log.data["hop"]): log for log in run.events(turn, "completion_log")}
        told = Counter((log.data["attempt"], log.data["hop"]) for log in run.events(turn, "completion_log"))
        made = defaultdict(list)
        for call in run.calls.get(turn, []):
            made[call.attempt, call.hop].append(call.record)
        for place in sorted(told.keys() | made.keys()):
            if told[place] != 1:
                yield f"hop {place[1]} of attempt {place[0]} was told {told[place]} times", (turn, made[place])
            elif records[place].data["outcome"] == "completed" and not _is_complete(made[place]):
                yield f"hop {place[1]} of attempt {place[0]} was told as completed", (records[place], made[place])


def conversations_are_named_once(run: Run) -> Findings:
    """R23: of a title that the provider was asked for there is one record, and there is none of a second one."""
    asked = {called.call_id.split(":")[0] for called in run.history.of(Called) if called.call_id.endswith(f":{TITLE}")}
    named = {run.turns[turn].conversation for turn in asked if turn in run.turns}
    for conversation, events in run.log.items():
        told = [event for event in events if event.kind == "completion_log" and event.data["usage_id"] == TITLE]
        if len(told) > 1 or (conversation in named and not told):
            yield f"the call for a title was told {len(told)} times", (conversation, told)


def snapshots_are_what_the_records_add_up_to(run: Run) -> Findings:
    """R23: after each call, by usage id, in the newest turn that had one, and in all."""
    for events in run.log.values():
        sums: dict[tuple[str, str], Totals] = defaultdict(_nothing)
        newest = None
        for before, after in pairwise([None, *events, None]):
            is_snapshot = before is not None and before.kind == "stats"
            if is_snapshot != (after is not None and after.kind == "completion_log"):
                yield "a snapshot and a record do not go together", (before, after)
            elif before is not None and after is not None and is_snapshot:
                newest = after.turn or newest
                for key in (("turn", after.turn or ""), ("usage", after.data["usage_id"]), ("all", "")):
                    _add(sums[key], after)
                due = {
                    "usage": {name: totals for (part, name), totals in sums.items() if part == "usage"},
                    "turn": sums["turn", newest] if newest else _nothing(),
                    "turn_id": newest,
                    "conversation": sums["all", ""],
                }
                if _snapshot(before.data) != due:
                    yield "a snapshot is not what the records add up to", (before, due)


def ends_tell_what_their_calls_have_used(run: Run) -> Findings:
    """R23: tokens and cost in `turn_ended` are the sum of the turn's records."""
    for turn in run.turns:
        end, records, due = run.end(turn), run.events(turn, "completion_log"), _nothing()
        for record in records:
            _add(due, record)
        if end is None or not records:
            continue
        told = {name: (end.data.get("usage") or {}).get(name, 0) for name in TOKENS}
        if told != {name: due[name] for name in TOKENS} or _dollars(end.data.get("cost")) != due["cost"]:
            yield "a turn's end does not tell what its calls have used", (end, due)


def clients_have_the_newest_snapshot(run: Run) -> Findings:
    """R23: what the Python client has folded is the newest snapshot that is stored, of as much as it has seen."""
    for client in run.history.of(ClientLog):
        seen = run.log.get(client.conversation, [])[: len(client.events)]
        newest = next((event.data for event in reversed(seen) if event.kind == "stats"), None)
        due = {} if newest is None else _snapshot(newest, last=LAST)
        shown = _snapshot(client.stats, last=LAST) if client.stats["conversation"]["calls"] else {}
        if shown != due:
            yield f"{client.viewer} does not have the newest snapshot", (shown, due)


def snapshots_beside_the_log_are_not_older(run: Run) -> Findings:
    """R23: who comes back and is told no snapshot by the log is shown one that is stored, as new as any that it has."""
    for viewer in viewers(run):
        stored = [event for event in run.log.get(viewer.first.conversation, []) if event.kind == "stats"]
        known = 0
        for received in (received for connection in viewer.connections for received in connection.frames):
            frame = received.frame
            if frame.get("kind") == "stats":
                known = frame["seq"]
            elif frame.get("type") == "reset":
                known = min(known, int(frame["cursor"].split(".")[0]))
            elif frame.get("key") == "stats" and all(
                event.data != frame["value"] for event in stored if event.seq >= known
            ):
                yield f"{viewer.name} was shown another snapshot than the newest", received


def _is_complete(calls: list[Called]) -> bool:
    return any(call.ending == "completed" for call in calls)


def _nothing() -> Totals:
    return {**dict.fromkeys(COUNTED, 0), "cost": None}


def _add(totals: Totals, record: EventRow) -> None:
    data = record.data
    totals["calls"] += 1
    totals["estimated"] += data["estimated"]
    for name in TOKENS:
        totals[name] += data["usage"].get(name, 0)
    if data["cost"] is not None:
        totals["cost"] = (totals["cost"] or 0) + Decimal(data["cost"])


def _snapshot(data: dict[str, Any], *, last: tuple[str, ...] = ()) -> dict[str, Any]:
    """The sums in a snapshot, and of the last calls what is asked for."""
    return {
        "usage": {
            usage_id: {**_totals(role), **{name: role.get(name) for name in last}}
            for usage_id, role in data["usage"].items()
        },
        "turn": _totals(data["turn"]),
        "turn_id": data["turn_id"],
        "conversation": _totals(data["conversation"]),
    }


def _totals(data: dict[str, Any]) -> Totals:
    return {**{name: data[name] for name in COUNTED}, "cost": _dollars(data["cost"])}


def _dollars(told: str | None) -> Decimal | None:
    return None if told is None else Decimal(told)
