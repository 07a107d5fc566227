"""What the log looks like in the end: R1, R5, R9, R11, R13, R18, R19, and of R21 the words of the model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from tests.torture.checker.run import ACTIVE, Run, unstamped
from tests.torture.checker.verdict import Findings
from tests.torture.records import BatchRow, EventRow

OUTCOMES = {"completed", "cancelled", "failed"}
_NOTE = re.compile(r"\A\*The limit of \d+ rounds of tools is reached\.\*\n\n")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def numbers_have_no_holes(run: Run) -> Findings:
    """R1: a conversation's events are 1, 2, 3 … last_seq."""
    for conversation, events in run.log.items():
        numbers = [event.seq for event in events]
        row = run.conversations.get(conversation)
        last = row.last_seq if row else len(numbers)
        if numbers != list(range(1, last + 1)):
            yield f"the log of {last} events has the numbers {numbers}", conversation


def turns_of_a_conversation_do_not_overlap(run: Run) -> Findings:
    """R5: between the first event of a turn and its end there is nothing of another turn."""
    for events in run.log.values():
        active: EventRow | None = None
        for event in events:
            if active is not None and event.turn not in (active.turn, None):
                yield "a turn began, or went on, while another one was active", (active, event)
            elif event.kind == "user_message":
                active = event
            if event.kind == "turn_ended" and active is not None and event.turn == active.turn:
                active = None


def every_turn_ends_once(run: Run) -> Findings:
    """R9: a turn that is over has one `turn_ended`, with the status of its row, and nothing after it."""
    for turn, row in run.turns.items():
        ends = run.events(turn, "turn_ended")
        if row.status in OUTCOMES and len(ends) != 1:
            yield f"a turn has {len(ends)} ends", (row, ends)
        elif ends and ends[0].data["status"] != row.status:
            yield "a turn's row and its end do not agree", (row, ends[0])
        elif ends and run.events(turn)[-1] is not ends[0]:
            yield "something came after a turn's end", (row, run.events(turn)[-1])


def completed_means_complete(run: Run) -> Findings:
    """R9: a completed turn's last hop has all that a call of the provider said, and that call came to its end."""
    for turn in run.turns:
        end, messages = run.end(turn), run.events(turn, "assistant_message")
        if end is None or end.data["status"] != "completed":
            continue
        if not messages:
            yield "a turn is completed, and nothing was said", end
            continue
        last = messages[-1].data
        calls = [call for call in run.calls.get(turn, []) if call.hop == last["hop"]]
        whole = [call.record for call in calls if call.record.ending == "completed"]
        said = _of_model(last["text"])
        if not whole:
            yield "a turn is completed, and no call for its last hop was", (end, [call.record for call in calls])
        elif all(_is_cut(said, call.text) for call in whole):
            yield "a turn is completed, and the end of what was said is missing", (messages[-1], whole)


def the_models_words_are_unchanged(run: Run) -> Findings:
    """R21: what is stored of a hop is how the provider's text begins, without a double, a gap or half a character."""
    for turn in run.turns:
        for message in run.events(turn, "assistant_message"):
            text = message.data.get("text", "")
            known = [c.record.text for c in run.calls.get(turn, []) if c.hop == message.data["hop"]]
            if _UNSTORABLE.search(text):
                yield "NUL or half a character was stored", message
            elif known and None not in known and not any(str(said).startswith(_of_model(text)) for said in known):
                yield "what is stored is not what the provider said", (message, known)


def nobody_stops_a_turn_but_who_asks_for_it(run: Run) -> Findings:
    """R11: a turn is cancelled because of a stop, never because its viewers are gone."""
    for turn in run.turns:
        end = run.end(turn)
        if end is not None and end.data["status"] == "cancelled" and turn not in run.stops:
            yield "a turn was cancelled, and nobody had asked for that", end


def nothing_is_active_in_the_end(run: Run) -> Findings:
    """R18, R19: when all is quiet, no turn is stuck."""
    for row in run.turns.values():
        if row.status in ACTIVE:
            yield "a turn is still active", row


def nothing_is_stored_twice(run: Run) -> Findings:
    """R19: a hop has one message, a call one result, and the draft of a hop that ended left no batches."""
    for turn in run.turns:
        found = Counter(_place(event) for event in run.events(turn, "assistant_message", "tool_result"))
        for place, count in found.items():
            if count > 1:
                yield f"{place} is stored {count} times", turn
    for batch in _left(run):
        if batch.attempt == run.turns[batch.turn].attempt:
            yield "a draft became a message, and is still there", batch


def a_fenced_out_attempt_leaves_nothing(run: Run) -> Findings:
    """R10: no batch of an attempt that was taken over is left."""
    for batch in _left(run):
        if batch.attempt < run.turns[batch.turn].attempt:
            yield "an attempt that was over wrote something", batch


def attempts_rise_with_a_restart_only(run: Run) -> Findings:
    """R10: attempts are 1, 2, 3 … and each but the first begins with a `turn_restarted`."""
    for turn, row in run.turns.items():
        told = [event.data["attempt"] for event in run.events(turn, "turn_restarted")]
        if told != list(range(2, row.attempt + 1)):
            yield f"a turn on attempt {row.attempt} told of the attempts {told}", row


def _of_model(text: str) -> str:
    """What the provider said of a message: without stamps, and without our own note before the last round."""
    return _NOTE.sub("", unstamped(text))


def _left(run: Run) -> Iterator[BatchRow]:
    """Batches of turns that are over."""
    for batch in run.history.of(BatchRow):
        if batch.turn in run.turns and run.turns[batch.turn].status in OUTCOMES:
            yield batch


def _place(event: EventRow) -> str:
    call = f", call {event.data['index']}" if event.kind == "tool_result" else ""
    return f"{event.kind} of hop {event.data['hop']}{call}"


def _is_cut(stored: str, said: str | None) -> bool:
    return said is not None and stored != said and said.startswith(stored)
