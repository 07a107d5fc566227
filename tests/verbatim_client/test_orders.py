"""What was ordered is asked until it is answered, and each answer goes to whoever asked."""

from __future__ import annotations

import json

import pytest

from verbatim_client import orders
from verbatim_client.errors import Busy, InvalidRequest, RateLimited, Unreachable
from verbatim_client.frames import Accepted, Error, Pong
from verbatim_client.orders import Order, Orders

TURN = "0b6c6f0e-6a43-4a0e-9d3c-1f6f0d9e2a51"


def send(text: str, *, request_id: str) -> Order:
    return orders.send(text, model=None, replaces=None, request_id=request_id)


def waiting(*some: Order) -> Orders:
    them = Orders()
    for order in some:
        them.add(order)
    return them


async def test_all_that_is_unanswered_is_sent_again_word_for_word_and_in_order() -> None:
    first, stop, last = send("one", request_id="1"), orders.stop(TURN), send("two", request_id="2")
    them = waiting(first, stop, last)
    before = them.again()

    them.take(Accepted(request_id="1", turn=TURN, cursor="0.0"))
    last.answer.cancel()

    assert before == [*first.texts, *stop.texts, *last.texts]
    assert [json.loads(text)["type"] for text in them.again()] == ["stop", "ping"]
    assert first.answer.result() == TURN


async def test_a_request_id_is_made_once() -> None:
    one, other = (orders.send("x", model=None, replaces=None, request_id=None) for _ in range(2))

    assert json.loads(one.texts[0])["request_id"] == one.request_id != other.request_id


async def test_a_refusal_without_a_request_id_is_that_of_the_oldest() -> None:
    first, second = send("x" * 9, request_id="1"), send("y", request_id="2")
    them = waiting(first, second)

    them.take(Error(code="invalid_frame", message="A frame may have 8 bytes."))
    them.take(Error(code="rate_limited", message="Later.", request_id="2"))

    assert isinstance(first.answer.exception(), InvalidRequest)
    assert isinstance(second.answer.exception(), RateLimited)


async def test_a_stop_is_over_when_the_server_answers_what_was_sent_behind_it() -> None:
    refused, obeyed = orders.stop(TURN), orders.stop(TURN)
    them = waiting(refused)

    them.take(Error(code="internal", message="Something went wrong."))
    them.add(obeyed)
    them.take(Pong())

    assert refused.answer.exception() is not None
    assert obeyed.answer.result() == ""


async def test_a_server_that_is_about_to_restart_is_asked_again_somewhere_else() -> None:
    order = send("x", request_id="1")
    them = waiting(order)

    with pytest.raises(Busy):
        them.take(Error(code="draining", message="Restarting.", request_id="1"))
    them.take(Error(code="draining", message="Restarting."))  # the line itself, before it is closed

    assert not order.answer.done()
    assert them.again() == list(order.texts)


async def test_when_nothing_will_be_answered_all_hear_why() -> None:
    waits, gone = send("x", request_id="1"), send("y", request_id="2")
    them = waiting(waits, gone)
    gone.answer.cancel()

    them.fail(Unreachable("Nobody."))

    assert isinstance(waits.answer.exception(), Unreachable)
    assert them.again() == []
