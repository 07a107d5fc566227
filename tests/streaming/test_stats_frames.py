"""A1.6: what viewers are told of model calls is as small after 500 of them as after one."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User

from history import calls, log
from history.events import Kind
from history.log import appending
from llm.types import Usage
from streaming.cursor import Cursor
from streaming.frames import encode
from streaming.view import event_frame
from tests.history.stage import running
from tests.history.test_calls import call

CALLS = 500
NUMBER = re.compile(r"\d+")


@pytest.mark.django_db
def test_frames_of_stats_differ_in_the_digits_of_their_numbers_and_in_nothing_else(user: User) -> None:
    place = running(user)
    used = Usage(prompt=1_000, completion=1_000, cached=1_000, reasoning=1_000)
    for number in range(CALLS):
        made = call(usage_id="agent" if number else "title", usage=used, latency_ms=2_000, first_token_ms=500)
        with appending(place.conversation_id) as held:
            calls.tell(held, place.turn_id, made)

    entries = log.read(place.conversation_id, after=0, limit=3 * CALLS).entries
    told = [event_frame(entry, cursor=Cursor(entry.seq)) for entry in entries if entry.kind == Kind.STATS]
    frames = [encode(frame) for frame in told]
    first, *others = frames[1:]  # from where both roles are there
    shapes = {NUMBER.sub("0", frame) for frame in (first, *others)}
    assert (len(frames), len(shapes)) == (CALLS, 1)
    assert f'"calls":{CALLS}' in others[-1]
    assert max(map(len, others)) - len(first) <= len(str(CALLS)) * len(NUMBER.findall(first))
