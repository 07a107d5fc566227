"""What viewers may count on: R1, R6, R7, R14, R18, and of R10 that nobody sees a fenced-out attempt's text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import inf

from tests.torture.checker.asking import is_final
from tests.torture.checker.folding import Appended, Kind, Native
from tests.torture.checker.run import TOLD, Run, Span, stamps
from tests.torture.checker.verdict import Findings
from tests.torture.checker.viewing import Connection, Life, Viewer, fresh, viewers
from tests.torture.records import ClientLog, EventRow, Frame, FreshRead, Received, StateRow, Waited


def viewers_get_events_in_order_and_once(run: Run) -> Findings:
    """R1."""
    return _flaws(run, "order")


def cursors_are_positions(run: Run) -> Findings:
    """R1: no cursor points past the log; a timestamp would."""
    for viewer in viewers(run):
        row = run.conversations.get(viewer.first.conversation)
        for received in (received for connection in viewer.connections for received in connection.frames):
            cursor = str(received.frame.get("cursor", "0.0"))
            if row is not None and int(cursor.split(".")[0]) > row.last_seq:
                yield f"cursor {cursor} points past event {row.last_seq}", received


def events_that_were_shown_are_stored(run: Run) -> Findings:
    """R1: an event is committed before anyone is shown it, so it is never taken back."""
    for viewer in viewers(run):
        rows = {row.seq: row for row in run.log.get(viewer.first.conversation, [])}
        for received in (received for connection in viewer.connections for received in connection.frames):
            frame = received.frame
            if frame.get("type") == "event":
                row = rows.get(frame["seq"])
                if row is None or (row.kind, row.turn) != (frame["kind"], frame["turn"]):
                    yield f"{viewer.name} was shown an event {frame['seq']} that is not in the log", received


def drafts_have_no_gap_and_no_double(run: Run) -> Findings:
    """R6."""
    return _flaws(run, "gap")


def native_viewers_have_what_is_stored(run: Run) -> Findings:
    """R6: every event is the stored one; who stayed, or came back, has all of them, and no draft beside."""
    for viewer in viewers(run):
        if isinstance(viewer.folded, Native):
            stored = [event for event in run.log.get(viewer.first.conversation, []) if _may_see(viewer, event)]
            whole = not viewer.has_left and (viewer.is_here or viewer.turn is not None)
            yield from _differences(viewer.folded, stored, who=viewer.name, whole=whole)


def fresh_reads_are_the_log(run: Run) -> Findings:
    """R6: a new viewer gets the log, the same on every process."""
    for read in run.history.of(FreshRead):
        folded, stored = fresh(read.frames), run.log.get(read.conversation, [])
        yield from _differences(folded, stored, who=f"a new viewer on {read.process}", whole=True)


def clients_have_what_is_stored(run: Run) -> Findings:
    """R6: so has the Python client, and it has told every word of the answers, each once."""
    for client in run.history.of(ClientLog):
        folded = Native(events=dict(enumerate(client.events, start=1)), draft=client.draft)
        stored = run.log.get(client.conversation, [])
        yield from _differences(folded, stored, who=client.viewer, whole=not client.left)
        for turn, told in client.told.items():
            if told != run.said(turn):
                yield f"{client.viewer} told what is not the answer", (told, run.said(turn))


def what_is_shown_beside_the_log_is_stored(run: Run) -> Findings:
    """R6: title, status, model and the like are what the database has, for who comes and for who has stayed."""
    rows = {row.conversation: row.shown for row in run.history.of(StateRow)}
    shown: list[tuple[str, str, Frame]] = [
        *((f"a new viewer on {read.process}", read.conversation, fresh(read.frames).state)
          for read in run.history.of(FreshRead)),
        *((client.viewer, client.conversation, client.state)
          for client in run.history.of(ClientLog) if not client.left),
        *((viewer.name, viewer.first.conversation, viewer.folded.state)
          for viewer in viewers(run)
          if isinstance(viewer.folded, Native) and viewer.is_here and viewer.turn is None),
    ]  # fmt: skip
    for who, conversation, state in shown:
        if conversation in rows and not rows[conversation].items() <= state.items():
            yield f"{who} is shown something else beside the log than is stored", (state, rows[conversation])


def everyone_comes_back(run: Run) -> Findings:
    """R6: no viewer that wants more is away in the end: none was refused, none waits for an answer that is there."""
    for viewer in viewers(run):
        is_over = isinstance(viewer.folded, Appended) and _is_over(viewer.folded, viewer.lives[-1])
        if not viewer.has_left and not viewer.is_here and not is_over and viewer.turn is None:
            yield f"{viewer.name} could not come back", viewer.connections[-1].ended
        elif not viewer.has_left and not is_over and isinstance(viewer.folded, Appended):
            yield f"{viewer.name} has no end of its answer", viewer.connections[-1].ended


def _is_over(folded: Appended, life: Life) -> bool:
    """Whether an answer came to its end, which plain text has when the server closed it."""
    if folded.plain:
        return life.ended is not None and life.ended.how == "closed" and not folded.asks_again
    return folded.ending is not None


def append_only_viewers_have_all_that_is_stored(run: Run) -> Findings:
    """R6: what they received, joined, is what is stored, or they were told to ask again."""
    for viewer, joined, stored in _joined(run):
        if len(joined) < len(stored) and stored.startswith(joined):
            yield f"{viewer.name} has {len(joined)} of {len(stored)} code points", (joined[-60:], stored[-60:])


def who_waits_gets_what_is_stored(run: Run) -> Findings:
    """R6: the JSON of a whole answer has the stored text."""
    for waited in run.history.of(Waited):
        if waited.status != 200 or waited.turn is None or not is_final(run, waited):
            continue
        if (response := json.loads(waited.body)["response"]) != run.said(waited.turn):
            yield "an answer that was waited for is not what is stored", (response, run.said(waited.turn))


def what_was_shown_is_stored_or_withdrawn(run: Run) -> Findings:
    """R7: native viewers are told by `reset` or `turn_restarted`, others by the error `answer_restarted`."""
    yield from _flaws(run, "unsaid")
    for viewer, joined, stored in _joined(run):
        if not stored.startswith(joined):
            yield f"{viewer.name} was shown what is not stored, and nobody said so", (joined[-200:], stored[-200:])


def nobody_sees_a_fenced_out_attempt(run: Run) -> Findings:
    """R10: after `turn_restarted` there is no text of the attempt before."""
    return _flaws(run, "fenced")


def signs_of_life_are_timed(run: Run) -> Findings:
    """R14: heartbeats, or comments, come no further apart than the bound, on every stream of events, whatever befalls
    the stores. Who gives a process up because it said nothing complains of the same."""
    for viewer in viewers(run):
        for connection in viewer.connections:
            if connection.opened.transport == "text":
                continue
            began, ended = connection.span(run)
            beats = [received.at for received in connection.frames if _is_sign_of_life(received)]
            for earlier, later in pairwise([began, *beats, ended]):
                silent = later - earlier - run.starved(earlier, later)
                if silent > run.bounds.heartbeat and not _was_away(run, viewer, connection, earlier, later):
                    yield f"{viewer.name} heard nothing for {later - earlier:.1f} s", connection.opened


def _was_away(run: Run, viewer: Viewer, connection: Connection, began: float, ended: float) -> bool:
    """Whether this process could not do anything for a while, or was told to end, or the viewer was cut off."""
    process = connection.opened.process
    gone = run.faults("kill", *TOLD, "sigstop", on=[process]) + run.faults("cut", on=[viewer.name])
    return any(fault.overlaps(began, ended) for fault in gone)


def what_is_live_comes_in_time(run: Run) -> Findings:
    """R18: text and events reach viewers in time, on any process, but for a while around a fault that concerns them;
    and no later than they are polled for while it is Redis that is away."""
    for viewer in viewers(run):
        for connection in viewer.connections:
            for received, since in _live(run, connection):
                late = received.at - since
                if late > run.bounds.behind:
                    late -= run.starved(since, received.at)
                if late > run.bounds.behind and late > _allowed(run, viewer, connection, received, since=since):
                    yield f"{viewer.name} was {late:.1f} s behind", received


def _allowed(run: Run, viewer: Viewer, connection: Connection, received: Received, *, since: float) -> float:
    """How far behind a viewer may be, with the faults that concern it and lasted then, or had ended just before. Whose
    what is of no turn was, is not known."""
    turn = received.frame["turn"]
    concerned = {connection.opened.process, viewer.name, *(run.lives if turn is None else run.owners(turn))}
    deaf = run.faults("redis") + [span for each in concerned for span in run.partitions("redis", each)]
    others = run.faults("postgres") + run.faults("kill", *TOLD, "sigstop", "cut", on=concerned)
    others += run.locks(turn) if turn in run.turns else run.faults("lock") if turn is None else []
    others += [span for each in concerned for span in run.partitions("postgres", each)]
    near = Span(since - run.bounds.heal, received.at)
    if any(fault.overlaps(*near) for fault in others):
        return inf
    return run.bounds.polled if any(fault.overlaps(*near) for fault in deaf) else run.bounds.behind


def _flaws(run: Run, kind: Kind) -> Findings:
    for viewer in viewers(run):
        for flaw in viewer.flaws:
            if flaw.kind == kind:
                yield f"{viewer.name}: {flaw.message}", flaw.frame


def _may_see(viewer: Viewer, event: EventRow) -> bool:
    return viewer.turn is None or event.turn == viewer.turn


def _differences(folded: Native, stored: Iterable[EventRow], *, who: str, whole: bool) -> Findings:
    events = {event.seq: {"kind": event.kind, "turn": event.turn, "data": event.data} for event in stored}
    for seq, event in folded.events.items():
        if event != events.get(seq):
            yield f"{who} has another event {seq} than the log", (event, events.get(seq))
    missing = [seq for seq in events if seq not in folded.events]
    if whole and missing:
        yield f"{who} lacks the events {missing}", missing
    if whole and not missing and folded.draft:
        yield f"{who} still has a draft of a turn that is over", folded.draft


def _joined(run: Run) -> Iterator[tuple[Viewer, str, str]]:
    """What append-only viewers whose answer ended have, and what is stored; not those who were told to ask again, and
    not those whose tokens did not follow on each other, which is said elsewhere."""
    for viewer in viewers(run):
        for life in viewer.lives:
            folded = life.folded
            if not isinstance(folded, Appended) or folded.asks_again or folded.flaws or viewer.turn is None:
                continue
            if folded.plain and life.ended is not None and life.ended.how == "closed":
                yield viewer, folded.text, _plain(run, viewer.turn)
            elif folded.ending is not None:
                yield viewer, folded.text, run.said(viewer.turn)


def _plain(run: Run, turn: str) -> str:
    """A turn as text/plain: what was said, and a line for each call of a tool and each result."""
    parts = []
    for event in run.events(turn, "assistant_message", "tool_result"):
        parts.append(event.data.get("text", "") if event.kind == "assistant_message" else "[Tool Result]\n")
        parts += [f"[Tool Call: {call['name']}]\n" for call in event.data.get("tool_calls", ())]
    return "".join(parts)


def _is_sign_of_life(received: Received) -> bool:
    return "heartbeat" in (received.frame.get("type"), received.frame.get("event")) or (
        received.frame.get("type") == "comment"
    )


def _live(run: Run, connection: Connection) -> Iterator[tuple[Received, float]]:
    """What comes on a connection and is not repeated from before, with when it was said or stored."""
    stored = {event.seq: event.stored for event in run.log.get(connection.opened.conversation, [])}
    live = False
    for received in connection.frames:
        frame, kind = received.frame, received.frame.get("type")
        live = kind == "caught_up" or (live and kind != "reset")
        if live and kind == "delta" and (said := stamps(frame["text"])):
            yield received, said[0]
        elif live and kind == "event" and frame["seq"] in stored:
            yield received, stored[frame["seq"]]
