"""What holds when processes end, pause and are told to stop: R8, R10, R12, R13, R20."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from math import ceil, inf
from signal import SIGINT, SIGKILL, SIGTERM
from statistics import median

from tests.torture.checker.run import TOLD, Run, Span, stamps
from tests.torture.checker.verdict import Findings
from tests.torture.checker.viewing import viewers
from tests.torture.records import Exited, Fault, Kept, StopAsked, ToolRan

RESTARTED = 1012
REDIS_IS_DOWN = ("redis_restart", "redis_pause", "redis_gone")


def hardly_any_draft_is_lost(run: Run) -> Findings:
    """R8: what viewers had seen of a draft when its process was killed is stored, but for the last moment of it, or as
    long as its process had had no database then; when the process was told to end, all of it is."""
    for kept in run.history.of(Kept):
        if not (seen := _seen(run, kept)):
            continue
        hop = max(seen)
        messages = [m.data for m in run.events(kept.turn, "assistant_message") if m.stored <= kept.at]
        stored = stamps(kept.text + "".join(message["text"] for message in messages if message["hop"] == hop))
        lost = max(seen[hop]) - max(stored, default=min(seen[hop]))
        bound = _may_be_lost(run, kept) if kept.fault == "kill" else 0
        if lost > bound:
            yield f"{lost * 1000:.0f} ms of a draft were lost with a {kept.fault}", kept


def _may_be_lost(run: Run, kept: Kept) -> float:
    bound = run.bounds.draft_loss + run.starved(kept.killed - 1, kept.killed)
    owner = run.owner_at(kept.turn, kept.killed)
    away = run.faults("postgres") + (run.pauses(owner) if owner else [])
    since = [span.began for span in away if span.overlaps(kept.killed - bound, kept.killed)]
    return bound + kept.killed - min(since, default=kept.killed)


def _seen(run: Run, kept: Kept) -> dict[int, list[float]]:
    """When the words were said, by hop, that native viewers had of this attempt before the process was gone."""
    seen: dict[int, list[float]] = defaultdict(list)
    for viewer in viewers(run):
        if viewer.is_native and viewer.first.conversation == run.turns[kept.turn].conversation:
            for received in (received for connection in viewer.connections for received in connection.frames):
                frame = received.frame
                if received.at > kept.killed or frame["type"] != "delta" or not (said := stamps(frame["text"])):
                    continue
                if (frame["turn"], frame["attempt"]) == (kept.turn, kept.attempt):
                    seen[frame["hop"]] += said
    return seen


def turns_of_the_absent_are_taken_over(run: Run) -> Findings:
    """R10: a turn whose process is gone, or pauses, is taken over or ended as soon as another process has had the time
    for it, undisturbed."""
    for process in run.lives:
        for absence in (*_gone(run, process), *run.pauses(process)):
            for turn in run.turns:
                if run.owner_at(turn, absence.began) == process and (waits := _waits(run, turn, absence)):
                    for other in run.lives.keys() - {process}:
                        for stretch in run.undisturbed(other, within=waits):
                            locked = sum(lock.length for lock in run.locks(turn) if lock.overlaps(*stretch))
                            if stretch.length > run.bounds.takeover + run.starved(*stretch) + locked:
                                yield (
                                    f"{other} left a turn of {process} alone for {stretch.length:.1f} s",
                                    (turn, waits),
                                )


def _gone(run: Run, process: str) -> list[Span]:
    return [Span(run.lives[process].ended, inf)] if run.lives[process].ended < inf else []


def _waits(run: Run, turn: str, absence: Span) -> Span | None:
    """From when to when the turn had nobody; null if it was over, or somebody else's, by then."""
    over = run.end(turn)
    if over is not None and over.stored <= absence.began:
        return None
    turns = [event.stored for event in run.events(turn, "turn_restarted", "turn_ended")]
    taken = min((stored for stored in turns if stored > absence.began), default=run.history.ended)
    return Span(absence.began, min(taken, absence.ended))


def the_living_keep_their_turns(run: Run) -> Findings:
    """R10: a turn changes hands, or ends `interrupted`, only if its process was gone, told to end, or away."""
    for turn in run.turns:
        for event in run.events(turn, "turn_restarted", "turn_ended"):
            if event.kind == "turn_restarted":
                before = run.owner_on(turn, event.data["attempt"] - 1)
                after = run.owner_on(turn, event.data["attempt"])
            elif (event.data.get("error") or {}).get("code") == "interrupted":
                before, after = run.owner_at(turn, event.stored), None
            else:
                continue
            awake = run.bounds.wake + run.starved(event.stored - run.bounds.wake, event.stored)
            away = [Span(span.began, span.ended + awake) for span in run.absences(before) + run.locks(turn)]
            is_its_own = before is not None and before == after
            if run.starved(event.stored - run.bounds.lease, event.stored) > run.bounds.spare:
                continue
            if not is_its_own and not any(span.overlaps(event.stored, event.stored) for span in away):
                yield f"a turn was taken from {before or 'somebody'}, who was there", event


def what_is_stored_was_said_to_who_holds_the_turn(run: Run) -> Findings:
    """R10: the words of a hop come from a call of the attempt that was in force, never of one before."""
    for turn in run.turns:
        attempt = 1
        for event in run.events(turn, "turn_restarted", "assistant_message"):
            if event.kind == "turn_restarted":
                attempt = event.data["attempt"]
                continue
            calls = [call for call in run.calls.get(turn, []) if call.hop == event.data["hop"]]
            said = stamps(event.data.get("text", ""))
            mine = [call.span for call in calls if call.attempt == attempt]
            earlier = [call.span for call in calls if call.attempt < attempt]
            if said and not _within(said, mine, run.bounds.clock) and _within(said[:1], earlier, run.bounds.clock):
                yield f"words of an earlier attempt were stored on attempt {attempt}", event


def _within(times: list[float], spans: list[Span], slack: float) -> bool:
    return any(span.began - slack <= min(times) and max(times) <= span.ended + slack for span in spans)


def stops_reach_an_end(run: Run) -> Findings:
    """R12: `turn_ended` comes 3 s after a stop was acknowledged, with Redis down 6 s, and not because all was said."""
    for stop, without_redis in _stops(run):
        end, bound = run.end(stop.turn), run.bounds.stop_without_redis if without_redis else run.bounds.stop
        ended = end.stored if end else run.history.ended
        late = ended - stop.at - run.starved(stop.at, ended)
        unheard = bound if without_redis else run.bounds.upstream_p99
        if late > bound:
            yield f"a stopped turn ended after {late:.1f} s", (stop, end)
        elif end and end.data["status"] == "completed" and late > unheard:
            yield f"a stopped turn went on for {late:.1f} s, and was completed", (stop, end)


def stops_close_the_providers_connection(run: Run) -> Findings:
    """R12: 1 s after the stop (median; 2 s at p99), while Redis is there."""
    delays = sorted(
        max(0.0, call.span.ended - stop.at - run.starved(stop.at, call.span.ended))
        for stop, without_redis in _stops(run)
        if not without_redis
        for call in [call for call in run.calls.get(stop.turn, []) if call.span.began <= stop.at][-1:]
        if call.span.ended > stop.at
    )
    if not delays:
        return
    p99 = delays[ceil(0.99 * len(delays)) - 1]
    if median(delays) > run.bounds.upstream_median or p99 > run.bounds.upstream_p99:
        yield f"stops reached the provider after {median(delays):.1f} s (median), {p99:.1f} s (p99)", delays


def _stops(run: Run) -> Iterator[tuple[StopAsked, bool]]:
    """The first stop of each turn that was not over, and whether Redis was down. Not those of turns whose process, or
    whose database, was away: those wait for who takes the turn over."""
    for turn, asked in run.stops.items():
        stop = next((stop for stop in asked if stop.outcome == "accepted"), None)
        if stop is None:
            continue
        owner, end = run.owner_at(turn, stop.at), run.end(turn)
        until = min(end.stored if end else inf, stop.at + run.bounds.stop_without_redis)
        away = run.absences(owner) + run.faults("postgres") + (run.locks(turn) if turn in run.turns else [])
        if not any(span.overlaps(stop.began - run.bounds.wake, until) for span in away):
            redis = run.faults(*REDIS_IS_DOWN) + run.partitions("redis", stop.process)
            redis += run.partitions("redis", owner) if owner else []
            yield stop, any(span.overlaps(stop.began - run.bounds.heal, until) for span in redis)


def intent_is_stored_before_execution(run: Run) -> Findings:
    """R13: when a tool begins, the message that calls it is in the log."""
    for (turn, hop, index), notes in run.executions.items():
        messages = [m for m in run.events(turn, "assistant_message") if m.data["hop"] == hop]
        calls = messages[0].data.get("tool_calls", ()) if messages else ()
        if index >= len(calls) or messages[0].stored > notes[0].at + run.bounds.clock:
            yield "a tool began that nobody had called yet", (notes[0], messages)


def finished_tools_are_not_executed_again(run: Run) -> Findings:
    """R13: no execution begins after another one's result was stored."""
    for (turn, hop, index), notes in run.executions.items():
        results = [r for r in run.events(turn, "tool_result") if (r.data["hop"], r.data["index"]) == (hop, index)]
        for again in _begun(notes)[1:]:
            if results and again.at > results[0].stored + run.bounds.clock:
                yield "a finished tool was executed again", (notes, results[0])


def tools_are_repeated_only_if_that_is_harmless(run: Run) -> Findings:
    """R13: what is not idempotent is executed once; what is, once more for each restart of its turn."""
    for (turn, _, _), notes in run.executions.items():
        begun = _begun(notes)
        restarts = run.events(turn, "turn_restarted")
        if len(begun) > 1 and not begun[0].idempotent:
            yield f"a tool that is not idempotent was executed {len(begun)} times", begun
        for earlier, later in pairwise(begun):
            between = [r for r in restarts if earlier.at - run.bounds.clock <= r.stored <= later.at + run.bounds.clock]
            if earlier.idempotent and not between:
                yield "a tool was executed twice, and the turn had not been taken over", (earlier, later)


def _begun(notes: list[ToolRan]) -> list[ToolRan]:
    return [note for note in notes if note.phase == "began"]


def tools_are_limited(run: Run) -> Findings:
    """R13: 8 rounds, 64 KiB of a result, 30 s of a call."""
    for turn in run.turns:
        rounds = [m for m in run.events(turn, "assistant_message") if m.data.get("tool_calls")]
        if len(rounds) > run.bounds.hops:
            yield f"a turn had {len(rounds)} rounds of tools", turn
        for result in run.events(turn, "tool_result"):
            size, seconds = len(result.data["content"].encode()), result.data.get("duration_ms", 0) / 1000
            lasted = Span(result.stored - seconds, result.stored)
            slept = [span.length for owner in run.owners(turn) for span in run.pauses(owner) if span.overlaps(*lasted)]
            allowed = run.bounds.tool + 1 + run.starved(*lasted) + sum(slept)
            if size > run.bounds.result or seconds > allowed:
                yield f"a result of {size} bytes after {seconds:.1f} s", (turn, result.seq)


def sockets_are_closed_with_a_word(run: Run) -> Findings:
    """R20: a process that was told to end closes its sockets with 1012. Who comes after a Ctrl-C, which leaves no
    time for a drain, may find nobody."""
    for told in _told(run):
        for viewer in viewers(run):
            for connection in viewer.connections:
                ended, opened = connection.ended, connection.opened
                if ended is None or (opened.process, opened.transport) != (told.target, "websocket"):
                    continue
                is_late = told.kind == "sigint" and opened.at >= told.began
                is_let_go = ended.at >= told.began and ended.how in ("closed", "lost")
                is_told = ended.code == RESTARTED or _disturbed(run, told.target, until=ended.at)
                if is_let_go and not is_late and not is_told:
                    yield f"{viewer.name} was let go with {ended.code}", (told, ended)


def who_is_told_to_end_ends(run: Run) -> Findings:
    """R20: within 25 s; when somebody presses Ctrl-C, within 2."""
    for told in _told(run):
        gone = [exited.at for exited in run.history.of(Exited) if exited.process == told.target]
        took = (gone[0] if gone else run.history.ended) - told.began
        bound = run.bounds.exit if told.kind == "sigterm" else run.bounds.exit_at_once
        allowed = bound + run.starved(told.began, told.began + took)
        if took > allowed and not _disturbed(run, told.target, until=told.began + took):
            yield f"{told.target} took {took:.1f} s to end", told


def who_is_told_to_end_ends_well(run: Run) -> Findings:
    """R20: without an error: with 0, or by the signal itself, which some servers send on to themselves. One that took
    too long, and was killed, is looked at above."""
    for told in _told(run):
        for exited in run.history.of(Exited):
            is_given_up = exited.code == -SIGKILL and exited.at - told.began > run.bounds.exit
            if exited.process == told.target and exited.code not in (0, -SIGTERM, -SIGINT) and not is_given_up:
                yield f"{told.target} ended with {exited.code}", (told, exited)


def hops_that_end_in_time_are_not_asked_twice(run: Run) -> Findings:
    """R20: a hop that ends within the drain time is not asked again, on this process or another."""
    for told in [told for told in _told(run) if told.kind == "sigterm"]:
        for calls in run.calls.values():
            for call in calls:
                drained = told.began + run.bounds.drain - 0.5
                in_time = told.began <= call.span.ended <= drained - run.starved(told.began, drained)
                whole = call.record.ending == "completed" and call.span.began <= told.began and in_time
                if not whole or run.owner_at(call.turn, told.began) != told.target:
                    continue
                again = [c.record for c in calls if c.hop == call.hop and c.span.began > call.span.began]
                disturbed = run.locks(call.turn) + run.faults("provider", on=[told.target])
                if any(span.overlaps(told.began, call.span.ended + 1) for span in disturbed):
                    continue
                if again and not _disturbed(run, told.target, until=call.span.ended + 1):
                    yield "a hop was asked again that had ended in time", (told, call.record, again)


def a_hand_over_is_no_loss(run: Run) -> Findings:
    """R20: only restarts of lost turns count as losses."""
    for turn, row in run.turns.items():
        lost = [r for r in run.events(turn, "turn_restarted") if r.data["reason"] == "lost"]
        end = run.end(turn)
        interrupted = end is not None and (end.data.get("error") or {}).get("code") == "interrupted"
        if row.losses > len(lost) + interrupted:
            yield f"{row.losses} losses were counted, and there were {len(lost) + interrupted}", row


def _told(run: Run) -> list[Fault]:
    return [fault for fault in run.history.of(Fault) if fault.kind in TOLD]


def _disturbed(run: Run, process: str, *, until: float) -> bool:
    """Whether something else befell the process, or the database, before that."""
    told = min(fault.began for fault in _told(run) if fault.target == process)
    others = run.faults("kill", "sigstop", "partition", on=[process]) + run.faults("postgres")
    return any(span.overlaps(told, until) for span in others)
