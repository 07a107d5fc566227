"""Records of sound turns, edited so that they break a promise."""

from __future__ import annotations

from msgspec.structs import replace

from tests.torture.checker import asking, showing, storing, surviving, telling
from tests.torture.made_up.planting import Page, edit
from tests.torture.made_up.plots import (
    drained,
    given_up,
    killed,
    plain,
    stopped,
    tools,
    truncated,
)
from tests.torture.records import (
    Asking,
    BatchRow,
    Called,
    ClientLog,
    ConversationRow,
    Disconnected,
    EventRow,
    Exited,
    Fault,
    FreshRead,
    Kept,
    Logged,
    Ordered,
    Quiescent,
    Received,
    StateRow,
    StopAsked,
    TurnRow,
    Waited,
)

SOCKET, CHAT = "websocket-conversation-0", "streaming_chat-turn-0"


# R1


@edit(storing.numbers_have_no_holes, plain)
def a_number_was_given_and_never_used(page: Page) -> None:
    row = page.all(ConversationRow)[0]
    page.change(row, last_seq=row.last_seq + 1)


@edit(storing.numbers_have_no_holes, plain)
def a_number_was_given_twice(page: Page) -> None:
    note = EventRow(conversation="conversation-0", seq=2, kind="note", turn=None, data={}, stored=0.0)
    page.add(note, before=page.all(EventRow, seq=2)[0])


@edit(showing.viewers_get_events_in_order_and_once, tools)
def two_events_change_places_on_their_way(page: Page) -> None:
    page.swap(page.frames(SOCKET, seq=2)[0], page.frames(SOCKET, seq=3)[0])


@edit(showing.viewers_get_events_in_order_and_once, tools)
def an_event_comes_twice(page: Page) -> None:
    event = page.frames(SOCKET, seq=3)[0]
    page.add(event, before=event)


@edit(showing.viewers_get_events_in_order_and_once, tools, beside="R6")
def an_event_is_left_out(page: Page) -> None:
    page.drop(page.frames(SOCKET, seq=3)[0])


@edit(showing.viewers_get_events_in_order_and_once, tools)
def a_turns_stream_repeats_an_event(page: Page) -> None:
    event = page.frames("sse-turn-0", seq=2)[0]
    page.add(event, before=event)


@edit(showing.cursors_are_positions, plain)
def a_cursor_is_a_timestamp(page: Page) -> None:
    page.reframe(page.frames(SOCKET, type="caught_up")[0], cursor="1790000000.0")


@edit(showing.events_that_were_shown_are_stored, plain)
def an_event_is_shown_and_taken_back(page: Page) -> None:
    last = page.frames(SOCKET, kind="turn_ended")[0]
    seq = last.frame["seq"]
    after = page.records[page.records.index(last) + 1]
    page.add(replace(last, frame={**last.frame, "seq": seq + 1, "cursor": f"{seq + 1}.0"}), before=after)
    page.add(replace(last, frame={"type": "reset", "cursor": f"{seq}.0"}), before=after)


# R2


@edit(asking.what_was_accepted_is_there, plain)
def an_order_is_accepted_and_lost(page: Page) -> None:
    page.add(replace(page.all(Ordered)[0], request_id="r-lost", turn="turn-lost"))


@edit(asking.what_was_accepted_is_there, plain)
def an_order_is_accepted_before_the_commit(page: Page) -> None:
    order = page.all(Ordered)[0]
    page.change(order, at=order.at - 0.2)


# R3


@edit(asking.a_request_id_is_one_turn, plain, plain)
def callers_are_told_of_two_turns(page: Page) -> None:
    first, second = page.all(Ordered, cached=True)
    page.change(second, turn=first.turn)


@edit(asking.a_request_id_is_one_turn, plain, plain)
def there_are_two_turns_of_one_request(page: Page) -> None:
    first, second = page.all(TurnRow)
    page.change(second, request_id=first.request_id)


@edit(asking.another_body_is_refused, plain)
def another_text_joins(page: Page) -> None:
    page.change(page.all(Ordered, cached=True)[0], text="Something else.")


@edit(asking.all_who_wait_get_the_same_bytes, plain)
def a_replay_has_another_space(page: Page) -> None:
    waited = page.all(Waited)[1]
    page.change(waited, body=waited.body.replace(": ", ":"))


@edit(asking.all_who_wait_get_the_same_bytes, truncated)
def a_failure_is_replayed_with_another_status(page: Page) -> None:
    page.change(page.all(Waited)[1], status=500)


@edit(asking.an_attempt_asks_once_at_a_time, plain)
def two_callers_make_two_calls(page: Page) -> None:
    call = page.all(Called)[0]
    page.add(replace(call, began=call.began + 0.1))


# R4


@edit(asking.nothing_is_asked_again_after_content, plain)
def a_call_is_repeated_in_mid_answer(page: Page) -> None:
    call = page.all(Called)[0]
    page.change(call, began=call.began - 1, ended=call.began - 0.5, ending="reset")
    page.add(call)


@edit(asking.nothing_is_asked_again_after_content, plain)
def a_call_is_repeated_without_end(page: Page) -> None:
    call = page.all(Called)[0]
    for back in range(1, 4):
        began = call.began - back
        page.add(replace(call, began=began, ended=began + 0.5, ending="status 500", fragments=0))


# R6


@edit(showing.drafts_have_no_gap_and_no_double, plain)
def a_delta_is_lost(page: Page) -> None:
    page.drop(page.frames(SOCKET, type="delta")[2])


@edit(showing.drafts_have_no_gap_and_no_double, plain)
def a_delta_comes_twice(page: Page) -> None:
    delta = page.frames(SOCKET, type="delta")[2]
    page.add(delta, before=delta)


@edit(showing.drafts_have_no_gap_and_no_double, plain)
def a_token_is_lost(page: Page) -> None:
    page.drop(page.frames(CHAT, event="token")[2])


@edit(showing.drafts_have_no_gap_and_no_double, plain)
def a_token_comes_twice(page: Page) -> None:
    token = page.frames(CHAT, event="token")[2]
    page.add(token, before=token)


@edit(showing.native_viewers_have_what_is_stored, plain)
def an_event_is_shown_otherwise(page: Page) -> None:
    event = page.frames(SOCKET, kind="assistant_message")[0]
    page.reframe(event, data={**event.frame["data"], "text": event.frame["data"]["text"] + "!"})


@edit(showing.native_viewers_have_what_is_stored, plain)
def the_last_ring_is_lost(page: Page) -> None:
    page.drop(page.frames(SOCKET, kind="turn_ended")[0])


@edit(showing.native_viewers_have_what_is_stored, plain)
def a_turns_stream_ends_too_early(page: Page) -> None:
    page.drop(page.frames("sse-turn-0", kind="turn_ended")[0])


@edit(showing.fresh_reads_are_the_log, plain)
def one_process_shows_less(page: Page) -> None:
    read = page.all(FreshRead)[0]
    page.change(read, frames=[frame for frame in read.frames if frame.get("kind") != "turn_ended"])


@edit(showing.fresh_reads_are_the_log, plain)
def one_process_shows_an_old_draft(page: Page) -> None:
    read, delta = page.all(FreshRead)[0], page.frames(SOCKET, type="delta")[0]
    page.change(read, frames=[*read.frames, delta.frame])


def client_log(page: Page, *, told: str, left: bool = False) -> ClientLog:
    """What the Python client has of the first conversation, which is all there is."""
    rows = page.all(EventRow, conversation="conversation-0")
    events = [{"kind": row.kind, "turn": row.turn, "data": row.data} for row in rows]
    said = {row.turn or "": told for row in rows if row.kind == "assistant_message"}
    return ClientLog(
        viewer="python",
        conversation="conversation-0",
        events=events,
        draft=[],
        told=said,
        left=left,
        stats=[row.data for row in rows if row.kind == "stats"][-1],
        state=page.all(StateRow)[0].shown,
    )


def answer(page: Page) -> str:
    """What the model said."""
    return next(str(row.data["text"]) for row in page.all(EventRow) if row.kind == "assistant_message")


@edit(showing.clients_have_what_is_stored, plain)
def the_python_client_lacks_the_end(page: Page) -> None:
    whole = client_log(page, told=answer(page))
    page.add(replace(whole, events=whole.events[:-1]))


@edit(showing.clients_have_what_is_stored, plain)
def the_python_client_keeps_a_draft(page: Page) -> None:
    page.add(replace(client_log(page, told=answer(page)), draft=[("text", "x")]))


@edit(showing.clients_have_what_is_stored, plain)
def the_python_client_tells_something_twice(page: Page) -> None:
    page.add(client_log(page, told=answer(page) * 2, left=True))


@edit(showing.what_is_shown_beside_the_log_is_stored, plain)
def the_python_client_has_an_old_title(page: Page) -> None:
    whole = client_log(page, told=answer(page))
    page.add(replace(whole, state={**whole.state, "title": "Something else"}))


@edit(showing.what_is_shown_beside_the_log_is_stored, plain)
def a_new_viewer_is_not_told_whether_a_conversation_was_put_away(page: Page) -> None:
    read = page.all(FreshRead)[0]
    page.change(read, frames=[frame for frame in read.frames if frame.get("key") != "archived"])


@edit(showing.what_is_shown_beside_the_log_is_stored, plain)
def nobody_is_told_that_a_turn_is_over_beside_the_log(page: Page) -> None:
    page.drop(page.frames(SOCKET, type="state", value="idle")[0])


@edit(showing.append_only_viewers_have_all_that_is_stored, stopped)
def a_stopped_answer_lacks_its_last_word(page: Page) -> None:
    page.drop(page.frames(CHAT, event="token")[-1])


@edit(showing.append_only_viewers_have_all_that_is_stored, tools)
def plain_text_lacks_a_piece(page: Page) -> None:
    page.drop(page.all(Received, viewer="text-turn-0")[-3])


@edit(showing.who_waits_gets_what_is_stored, plain)
def who_waits_gets_something_else(page: Page) -> None:
    for waited in page.all(Waited):
        page.change(waited, body=waited.body.replace("w0001", "w0007"))


@edit(showing.everyone_comes_back, plain)
def a_viewer_is_refused_for_ever(page: Page) -> None:
    page.add(Disconnected(viewer=SOCKET, how="lost", at=page.ended), before=page.all(Quiescent)[0])


@edit(showing.everyone_comes_back, plain)
def a_reader_of_plain_text_is_cut_off_for_good(page: Page) -> None:
    page.change(page.all(Disconnected, viewer="text-turn-0")[0], how="lost")


@edit(showing.everyone_comes_back, plain)
def an_answer_has_no_end(page: Page) -> None:
    page.drop(page.frames(CHAT, event="end")[0])


# R7


@edit(showing.what_was_shown_is_stored_or_withdrawn, given_up)
def nobody_tells_a_viewer_to_forget(page: Page) -> None:
    page.drop(page.frames(SOCKET, type="reset")[0])


@edit(showing.what_was_shown_is_stored_or_withdrawn, killed)
def a_withdrawal_is_told_as_another_error(page: Page) -> None:
    page.reframe(page.frames(CHAT, event="error")[0], data={"cause": "interrupted: …"})


# R8


@edit(surviving.hardly_any_draft_is_lost, killed)
def half_a_second_of_a_draft_is_lost(page: Page) -> None:
    kept = page.all(Kept)[0]
    page.change(kept, text=" ".join(kept.text.split()[:2]) + " ")


@edit(surviving.hardly_any_draft_is_lost, killed)
def one_word_is_lost_in_good_order(page: Page) -> None:
    page.change(page.all(Kept)[0], fault="sigterm")


# R9


@edit(storing.every_turn_ends_once, plain)
def a_row_says_something_else(page: Page) -> None:
    page.change(page.all(TurnRow)[0], status="failed")


# R10


@edit(storing.attempts_rise_with_a_restart_only, plain)
def a_row_is_on_an_attempt_nobody_was_told_of(page: Page) -> None:
    page.change(page.all(TurnRow)[0], attempt=2)


@edit(storing.a_fenced_out_attempt_leaves_nothing, killed)
def who_was_fenced_out_leaves_a_batch(page: Page) -> None:
    page.add(BatchRow(turn="turn-0", attempt=1, hop=0, start=0, text="w0001 "))


@edit(showing.nobody_sees_a_fenced_out_attempt, killed)
def who_was_fenced_out_is_still_heard(page: Page) -> None:
    new, old = page.frames(SOCKET, type="delta", attempt=2)[0], page.frames(SOCKET, type="delta", attempt=1)[0]
    page.add(replace(old, at=new.at), before=new)


# R11


@edit(storing.nobody_stops_a_turn_but_who_asks_for_it, stopped)
def who_goes_cancels(page: Page) -> None:
    page.drop(page.all(StopAsked)[0])


@edit(asking.who_asks_is_answered, plain)
def somebody_waits_for_ever(page: Page) -> None:
    page.add(Asking(viewer="json-3-turn-0", turn="turn-0"), before=page.all(Quiescent)[0])


@edit(asking.who_asks_is_answered, plain)
def an_order_is_sent_again_and_again_in_vain(page: Page) -> None:
    order = page.all(Ordered)[0]
    lost = replace(order, viewer="sends-in-vain", request_id="r-vain", turn=None, outcome="refused", code="busy")
    page.add(Asking(viewer="sends-in-vain"), before=order)
    page.add(lost, before=order)


# R14


@edit(showing.signs_of_life_are_timed, given_up)
def nothing_is_heard_for_20_seconds(page: Page) -> None:
    for comment in page.frames(SOCKET, type="comment"):
        page.drop(comment)


@edit(showing.signs_of_life_are_timed, given_up)
def nothing_is_heard_while_the_database_is_away(page: Page) -> None:
    (comment,) = page.frames(SOCKET, type="comment")
    page.drop(comment)
    page.add(Fault(kind="postgres_pause", target="postgres", began=comment.at - 1, ended=comment.at + 1))


# R15


@edit(telling.turns_end_as_they_should, truncated)
def a_fault_gets_the_wrong_error(page: Page) -> None:
    for order in page.all(Ordered):
        page.change(order, ends=("failed/stalled",))


@edit(telling.turns_end_as_they_should, truncated)
def a_sound_answer_fails(page: Page) -> None:
    for order in page.all(Ordered):
        page.change(order, ends=("completed",))


# R18


@edit(showing.what_is_live_comes_in_time, plain)
def text_is_two_seconds_late_and_nothing_has_happened(page: Page) -> None:
    delta = page.frames(SOCKET, type="delta")[-1]
    page.change(delta, at=delta.at + 2)


@edit(showing.what_is_live_comes_in_time, plain)
def text_is_not_even_polled_for_while_redis_is_away(page: Page) -> None:
    delta = page.frames(SOCKET, type="delta")[-1]
    page.add(Fault(kind="redis_pause", target="redis", began=delta.at - 1, ended=delta.at + 9, at=delta.at + 9))
    page.change(delta, at=delta.at + 8)


@edit(showing.what_is_live_comes_in_time, plain)
def text_comes_late(page: Page) -> None:
    delta = page.frames(SOCKET, type="delta")[-1]
    page.change(delta, at=delta.at + 8)


@edit(showing.what_is_live_comes_in_time, plain)
def an_end_comes_late(page: Page) -> None:
    end = page.frames(SOCKET, kind="turn_ended")[0]
    page.change(end, at=end.at + 8)


@edit(showing.what_is_live_comes_in_time, plain)
def text_comes_late_long_after_redis_is_back(page: Page) -> None:
    delta = page.frames(SOCKET, type="delta")[-1]
    page.add(Fault(kind="redis_restart", target="redis", began=delta.at - 12, ended=delta.at - 10))
    page.change(delta, at=delta.at + 8)


# R19


@edit(storing.nothing_is_stored_twice, plain)
def a_batch_is_written_behind_its_message(page: Page) -> None:
    page.add(BatchRow(turn="turn-0", attempt=1, hop=0, start=0, text="w0001 "))


# R20


@edit(surviving.sockets_are_closed_with_a_word, drained)
def a_socket_just_breaks(page: Page) -> None:
    page.change(page.all(Disconnected, code=1012)[0], how="lost", code=1006)


@edit(surviving.who_is_told_to_end_ends, drained)
def a_process_takes_30_seconds_to_end(page: Page) -> None:
    exited = page.all(Exited, code=0)[0]
    page.change(exited, at=exited.at + 30)


@edit(surviving.who_is_told_to_end_ends, drained)
def ctrl_c_takes_three_seconds(page: Page) -> None:
    exited = page.all(Exited, code=0)[0]
    page.change(page.all(Fault)[0], kind="sigint")
    page.change(exited, at=exited.at + 3)


@edit(surviving.who_is_told_to_end_ends_well, drained)
def a_process_crashes_on_its_way_out(page: Page) -> None:
    page.change(page.all(Exited, code=0)[0], code=1)


@edit(surviving.a_hand_over_is_no_loss, drained)
def a_hand_over_is_counted_as_a_loss(page: Page) -> None:
    page.change(page.all(TurnRow)[0], losses=1)


# R21


@edit(asking.a_users_words_are_unchanged, plain)
def a_users_accent_is_dropped(page: Page) -> None:
    for order in page.all(Ordered):
        page.change(order, text=order.text + "\u0301")


# R24, and the log


@edit(telling.errors_are_typed, plain)
def an_order_meets_a_fault_of_ours(page: Page) -> None:
    order = page.all(Ordered)[0]
    page.add(replace(order, request_id="r-fault", turn=None, outcome="refused", code="internal", status=500))


@edit(telling.errors_are_typed, plain)
def who_waits_meets_a_fault_of_ours(page: Page) -> None:
    page.add(replace(page.all(Waited)[0], status=500, body='{"code": "internal"}'), before=page.all(Quiescent)[0])


@edit(telling.nothing_unexpected_is_logged, plain)
def a_viewer_fails(page: Page) -> None:
    page.add(
        Logged(process="a", line="2026-01-01 00:00:00,000 ERROR chat.consumer: a viewer failed", cause="KeyError: 7")
    )
