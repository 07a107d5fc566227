"""The pure checker of the fault harness: which promises of reliability.md a recorded history breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from tests.torture.checker import asking, counting, showing, storing, surviving, telling
from tests.torture.checker.run import Run
from tests.torture.checker.verdict import Bounds as Bounds
from tests.torture.checker.verdict import Findings
from tests.torture.checker.verdict import Violation as Violation
from tests.torture.history import History

Predicate: TypeAlias = Callable[[Run], Findings]
"""Finds what breaks a promise."""

PROMISES: Mapping[str, tuple[Predicate, ...]] = {
    "R1": (
        storing.numbers_have_no_holes,
        showing.viewers_get_events_in_order_and_once,
        showing.cursors_are_positions,
        showing.events_that_were_shown_are_stored,
    ),
    "R2": (asking.a_users_message_is_stored_once, asking.what_was_accepted_is_there),
    "R3": (
        asking.a_request_id_is_one_turn,
        asking.another_body_is_refused,
        asking.all_who_wait_get_the_same_bytes,
        asking.an_attempt_asks_once_at_a_time,
    ),
    "R4": (asking.nothing_is_asked_again_after_content,),
    "R5": (storing.turns_of_a_conversation_do_not_overlap,),
    "R6": (
        showing.drafts_have_no_gap_and_no_double,
        showing.native_viewers_have_what_is_stored,
        showing.fresh_reads_are_the_log,
        showing.clients_have_what_is_stored,
        showing.append_only_viewers_have_all_that_is_stored,
        showing.who_waits_gets_what_is_stored,
        showing.what_is_shown_beside_the_log_is_stored,
        showing.everyone_comes_back,
    ),
    "R7": (showing.what_was_shown_is_stored_or_withdrawn,),
    "R8": (surviving.hardly_any_draft_is_lost,),
    "R9": (storing.every_turn_ends_once, storing.completed_means_complete),
    "R10": (
        surviving.turns_of_the_absent_are_taken_over,
        surviving.the_living_keep_their_turns,
        surviving.what_is_stored_was_said_to_who_holds_the_turn,
        storing.attempts_rise_with_a_restart_only,
        storing.a_fenced_out_attempt_leaves_nothing,
        showing.nobody_sees_a_fenced_out_attempt,
    ),
    "R11": (storing.nobody_stops_a_turn_but_who_asks_for_it, asking.who_asks_is_answered),
    "R12": (surviving.stops_reach_an_end, surviving.stops_close_the_providers_connection),
    "R13": (
        surviving.intent_is_stored_before_execution,
        surviving.finished_tools_are_not_executed_again,
        surviving.tools_are_repeated_only_if_that_is_harmless,
        surviving.tools_are_limited,
    ),
    "R14": (showing.signs_of_life_are_timed,),
    "R15": (telling.turns_end_as_they_should,),
    "R18": (storing.nothing_is_active_in_the_end, showing.what_is_live_comes_in_time),
    "R19": (storing.nothing_is_stored_twice,),
    "R20": (
        surviving.sockets_are_closed_with_a_word,
        surviving.who_is_told_to_end_ends,
        surviving.who_is_told_to_end_ends_well,
        surviving.hops_that_end_in_time_are_not_asked_twice,
        surviving.a_hand_over_is_no_loss,
    ),
    "R21": (asking.a_users_words_are_unchanged, storing.the_models_words_are_unchanged),
    "R23": (
        counting.every_call_is_told_once,
        counting.conversations_are_named_once,
        counting.snapshots_are_what_the_records_add_up_to,
        counting.ends_tell_what_their_calls_have_used,
        counting.clients_have_the_newest_snapshot,
        counting.snapshots_beside_the_log_are_not_older,
    ),
    "R24": (telling.errors_are_typed,),
    "docs/deployment.md": (telling.nothing_unexpected_is_logged,),
}
"""The promises that a history can show to be broken, and how each is looked at."""


def check(history: History, *, bounds: Bounds = Bounds()) -> list[Violation]:  # noqa: B008 -- frozen
    """Every violation, in the order of the promises."""
    run = Run(history, bounds=bounds)
    return [
        Violation(promise=promise, message=message, evidence=evidence, predicate=predicate.__name__)
        for promise, predicates in PROMISES.items()
        for predicate in predicates
        for message, evidence in predicate(run)
    ]
