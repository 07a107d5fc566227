"""What people think of answers, while others do the same or delete them."""

from __future__ import annotations

from functools import partial

import pytest
from django.contrib.auth.models import User
from django.db import connection

from history import conversations, feedback
from history.errors import NotFound
from history.models import Conversation, Feedback, Sentiment, Turn
from tests.history.stage import at_once, interrupted, new_conversation, new_turn


def ended_turn(user: User) -> Turn:
    """A turn that is over."""
    return new_turn(new_conversation(user), status="completed")


@pytest.mark.django_db(transaction=True)
def test_of_many_thoughts_at_once_one_remains(user: User) -> None:
    turn = ended_turn(user)

    results = at_once(
        *(
            partial(feedback.give, turn, owner_id=user.pk, sentiment=Sentiment.LIKE, comment=str(number))
            for number in range(8)
        )
    )

    assert [error for error in results if isinstance(error, Exception)] == []
    assert sum(isinstance(result, tuple) and result[1] for result in results) == 1
    assert Feedback.objects.get().comment in map(str, range(8))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", range(7))
def test_feedback_on_a_turn_that_is_being_deleted_is_stored_whole_or_not_at_all(user: User, moment: int) -> None:
    turn = ended_turn(user)

    given, deleted = interrupted(
        partial(feedback.give, turn, owner_id=user.pk, sentiment=Sentiment.LIKE, comment=""),
        by=partial(conversations.delete, turn.conversation_id),
        before=moment,
    )

    if Conversation.objects.exists():  # it was not deleted, or had to wait too long
        assert not isinstance(given, Exception)
        assert Feedback.objects.count() == 1
    else:
        assert deleted is None
        assert isinstance(given, NotFound)
        assert not Feedback.objects.exists()
    connection.check_constraints()
