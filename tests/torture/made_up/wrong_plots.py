"""Turns in which the product breaks a promise."""

from __future__ import annotations

from tests.torture.checker import asking, showing, storing, surviving
from tests.torture.made_up.planting import plot
from tests.torture.made_up.plots import (
    PAUSE,
    execute,
    plain,
)
from tests.torture.made_up.story import Turn
from tests.torture.records import (
    Exited,
    Fault,
)

# R2


@plot(asking.a_users_message_is_stored_once)
def a_message_is_stored_twice(turn: Turn) -> None:
    turn.event("user_message", text=f"[[{turn.tag}]] Tell me, 日本 🙂.", request_id=None)
    plain(turn)


# R5


@plot(storing.turns_of_a_conversation_do_not_overlap)
def another_turn_begins_meanwhile(turn: Turn) -> None:
    mine, turn.id = turn.id, "turn-meanwhile"
    turn.event("user_message", text="Me too.", request_id=None)
    turn.id = mine
    plain(turn)


# R7


@plot(showing.what_was_shown_is_stored_or_withdrawn)
def less_is_stored_than_was_shown(turn: Turn) -> None:
    turn.call(4, of=6, ending="reset")
    turn.message(kept=turn.draft.split()[0] + " ")
    turn.is_to_end("failed/truncated")
    turn.end("failed", code="truncated")


@plot(showing.what_was_shown_is_stored_or_withdrawn)
def a_draft_disappears(turn: Turn) -> None:
    turn.call(4, of=6, ending="reset")
    turn.is_to_end("failed/truncated")
    turn.end("failed", code="truncated")


@plot(showing.what_was_shown_is_stored_or_withdrawn, beside="R10")
def an_attempt_begins_without_a_word(turn: Turn) -> None:
    turn.attempt = 2
    turn.own(turn.owner)
    plain(turn)


# R9


@plot(storing.every_turn_ends_once, beside="R1")
def a_turn_ends_twice(turn: Turn) -> None:
    plain(turn)
    turn.end()


@plot(storing.every_turn_ends_once, beside="R6")
def a_turn_is_over_and_nobody_said_so(turn: Turn) -> None:
    turn.call(6)
    turn.message()


@plot(storing.every_turn_ends_once)
def something_comes_after_the_end(turn: Turn) -> None:
    plain(turn)
    turn.event("note")


@plot(storing.completed_means_complete)
def a_broken_answer_is_completed(turn: Turn) -> None:
    turn.call(4, of=6, ending="closed without an end")
    turn.message()
    turn.end()


@plot(storing.completed_means_complete)
def the_last_word_is_missing(turn: Turn) -> None:
    turn.call(5, of=6)
    turn.message()
    turn.end()


@plot(storing.completed_means_complete)
def nothing_was_said_and_all_is_well(turn: Turn) -> None:
    turn.end()


# R10


@plot(surviving.turns_of_the_absent_are_taken_over)
def a_dead_processs_turn_waits_for_40_seconds(turn: Turn) -> None:
    turn.call(6, of=8, ending="closed by client")
    turn.fault("kill", state="mid_text")
    turn.restart(after=40)
    plain(turn)


@plot(surviving.turns_of_the_absent_are_taken_over)
def nobody_minds_a_process_that_sleeps(turn: Turn) -> None:
    turn.call(6, of=6, lasts=1)
    turn.fault("sigstop", state="mid_text", lasts=40)
    turn.wait(41)
    turn.message()
    turn.end()


@plot(surviving.the_living_keep_their_turns)
def a_living_process_loses_its_turn(turn: Turn) -> None:
    turn.call(6, of=8, ending="closed by client")
    turn.restart(after=0.2)
    plain(turn)


@plot(surviving.the_living_keep_their_turns)
def a_living_processs_turn_is_ended(turn: Turn) -> None:
    turn.call(4, of=6, ending="closed by client")
    turn.message()
    turn.end("failed", code="interrupted")


@plot(surviving.the_living_keep_their_turns)
def a_process_that_woke_up_long_ago_loses_its_turn(turn: Turn) -> None:
    turn.fault("sigstop", state="between_hops", lasts=2)
    turn.restart(after=PAUSE)
    plain(turn)


@plot(surviving.the_living_keep_their_turns)
def a_turn_is_taken_because_the_database_was_away(turn: Turn) -> None:
    turn.call(6, of=8, ending="closed by client")
    away = turn.wait(0.1)
    turn.records.append(Fault(kind="postgres_restart", target="postgres", began=away, ended=away + 10, at=away + 10))
    turn.restart()
    plain(turn)


@plot(surviving.what_is_stored_was_said_to_who_holds_the_turn)
def who_was_fenced_out_writes_the_message(turn: Turn) -> None:
    turn.call(6, ending="closed by client")
    turn.fault("sigstop", state="mid_text", lasts=PAUSE)
    said = turn.draft
    turn.restart()
    turn.call(0, of=6)
    turn.message(kept=said)
    turn.end()


# R12


@plot(surviving.stops_reach_an_end)
def a_stop_takes_five_seconds(turn: Turn) -> None:
    turn.call(4, of=6, ending="closed by client", meanwhile=turn.stop)
    turn.wait(5)
    turn.message()
    turn.end("cancelled")


@plot(surviving.stops_reach_an_end)
def a_stop_without_redis_takes_seven_seconds(turn: Turn) -> None:
    turn.records.append(Fault(kind="redis_gone", target="redis", began=turn.now, at=turn.now))
    turn.call(4, of=6, ending="closed by client", meanwhile=turn.stop)
    turn.wait(7)
    turn.message()
    turn.end("cancelled")


@plot(surviving.stops_reach_an_end)
def a_stop_is_not_heard(turn: Turn) -> None:
    turn.call(4, meanwhile=turn.stop)
    turn.wait(2.5)
    turn.message()
    turn.end()


@plot(surviving.stops_close_the_providers_connection)
def the_provider_goes_on_speaking(turn: Turn) -> None:
    turn.call(4, of=6, ending="closed by client", meanwhile=turn.stop, lasts=2.5)
    turn.message()
    turn.end("cancelled")


# R13


@plot(surviving.intent_is_stored_before_execution)
def a_tool_runs_before_anybody_knows(turn: Turn) -> None:
    turn.call(3)
    turn.tool("began", process=turn.owner)
    turn.tool("finished", process=turn.owner)
    turn.message(tools=["looks_up"])
    turn.result()
    plain(turn)


@plot(surviving.intent_is_stored_before_execution)
def a_tool_runs_that_nobody_called(turn: Turn) -> None:
    turn.call(3)
    turn.message()
    execute(turn)
    plain(turn)


@plot(surviving.finished_tools_are_not_executed_again)
def a_finished_tool_runs_again(turn: Turn) -> None:
    turn.call(3)
    turn.message(tools=["looks_up"])
    execute(turn)
    turn.fault("kill", state="between_hops")
    turn.restart()
    turn.hop = 0
    turn.tool("began", process=turn.owner)
    turn.tool("finished", process=turn.owner)
    turn.hop = 1
    plain(turn)


@plot(surviving.tools_are_repeated_only_if_that_is_harmless, idempotent=False)
def a_payment_is_made_twice(turn: Turn) -> None:
    turn.call(3)
    turn.message(tools=["looks_up"])
    turn.tool("began", process=turn.owner)
    turn.fault("kill", state="mid_tool")
    turn.restart()
    execute(turn)
    plain(turn)


@plot(surviving.tools_are_repeated_only_if_that_is_harmless)
def a_tool_runs_twice_without_need(turn: Turn) -> None:
    turn.call(3)
    turn.message(tools=["looks_up"])
    turn.tool("began", process=turn.owner)
    execute(turn)
    plain(turn)


@plot(surviving.tools_are_limited)
def a_result_is_huge(turn: Turn) -> None:
    turn.call(3)
    turn.message(tools=["looks_up"])
    turn.result("x" * 100_000)
    plain(turn)


@plot(surviving.tools_are_limited)
def a_model_asks_for_tools_for_ever(turn: Turn) -> None:
    for _ in range(9):
        turn.call(1)
        turn.message(tools=["looks_up"])
        execute(turn)
    plain(turn)


# R18


@plot(storing.nothing_is_active_in_the_end, beside="R6 R7")
def a_turn_is_stuck(turn: Turn) -> None:
    turn.call(6)
    turn.status = "running"


# R19


@plot(storing.nothing_is_stored_twice)
def a_message_is_written_twice(turn: Turn) -> None:
    turn.call(6)
    said = turn.draft
    turn.message()
    turn.message(kept=said)
    turn.end()


@plot(storing.nothing_is_stored_twice)
def a_result_is_written_twice(turn: Turn) -> None:
    turn.call(3)
    turn.message(tools=["looks_up"])
    execute(turn)
    turn.hop = 0
    turn.result()
    plain(turn)


# R20


@plot(surviving.hops_that_end_in_time_are_not_asked_twice)
def a_hop_that_ended_in_time_is_asked_again(turn: Turn) -> None:
    turn.call(3, meanwhile=lambda: turn.fault("sigterm", state="mid_text"))
    turn.records.append(Exited(process=turn.owner, code=0, at=turn.now))
    turn.restart(after=0.2, reason="released")
    plain(turn)


# R21


@plot(storing.the_models_words_are_unchanged)
def a_word_of_the_model_is_left_out(turn: Turn) -> None:
    turn.call(2, of=2)
    turn.word(4)
    turn.message()
    turn.end()


@plot(storing.the_models_words_are_unchanged)
def nul_is_stored(turn: Turn) -> None:
    turn.call(6)
    turn.message(kept=turn.draft + "\0")
    turn.end()
