"""What people think of answers, in the admin."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from history import feedback
from history.models import Feedback, Sentiment
from tests.history.stage import new_conversation, new_turn

pytestmark = pytest.mark.django_db

LIST = "admin:verbatim_history_feedback_changelist"
EVIL = "<script>alert(1)</script>"


def judged(user: User, *, sentiment: Sentiment = Sentiment.LIKE, comment: str = "", **fields: str) -> Feedback:
    """A turn that is over, and what was said of it."""
    turn = new_turn(new_conversation(user), status="completed", **fields)
    return feedback.give(turn, owner_id=user.pk, sentiment=sentiment, comment=comment)[0]


def found(client: Client, **query: str) -> list[Feedback]:
    """What the list shows."""
    return list(client.get(reverse(LIST), query).context["cl"].result_list)


def test_a_turn_shows_what_was_said_of_it_and_nothing_of_it_is_markup(admin_client: Client, user: User) -> None:
    given = judged(user, sentiment=Sentiment.NOT_LIKE, comment=EVIL)

    pages = [
        admin_client.get(reverse("admin:verbatim_history_turn_change", args=[given.turn_id])),
        admin_client.get(reverse("admin:verbatim_history_feedback_change", args=[given.pk])),
        admin_client.get(reverse(LIST)),
    ]

    for html in (page.content.decode() for page in pages):
        assert "&lt;script&gt;alert(1)" in html
        assert "Not Like" in html
        assert EVIL not in html


def test_the_list_is_narrowed_by_sentiment_and_age_and_searched(
    admin_client: Client, user: User, other_user: User
) -> None:
    good = judged(user, comment="Clear as day", request_id="r-1")
    bad = judged(other_user, sentiment=Sentiment.NOT_LIKE)
    Feedback.objects.filter(pk=bad.pk).update(at=timezone.now() - timedelta(days=2))

    assert found(admin_client) == [good, bad]
    assert found(admin_client, sentiment__exact="1") == [bad]
    assert found(admin_client, age="24") == [good]
    assert found(admin_client, q="CLEAR AS") == [good]
    assert found(admin_client, q="bob") == [bad]
    assert found(admin_client, q="r-1") == [good]
    assert found(admin_client, q=str(bad.turn_id)) == [bad]
    assert found(admin_client, q=str(good.conversation_id)) == [good]
    assert found(admin_client, q="nobody") == []


def test_nothing_that_was_said_can_be_changed(admin_client: Client, user: User) -> None:
    given = judged(user, comment="Mine")
    turn = reverse("admin:verbatim_history_turn_change", args=[given.turn_id])
    inline = {"feedback-TOTAL_FORMS": "1", "feedback-INITIAL_FORMS": "1", "feedback-0-id": given.pk}

    refused = [
        admin_client.post(reverse("admin:verbatim_history_feedback_add"), {"sentiment": 1}),
        admin_client.post(reverse("admin:verbatim_history_feedback_change", args=[given.pk]), {"sentiment": 1}),
        admin_client.post(reverse("admin:verbatim_history_feedback_delete", args=[given.pk]), {"post": "yes"}),
        admin_client.post(turn, inline | {"feedback-0-sentiment": 1, "feedback-0-DELETE": "on"}),
    ]

    assert [response.status_code for response in refused] == [403] * 4
    assert Feedback.objects.values_list("sentiment", "comment").get() == (0, "Mine")


def test_whoever_may_look_at_turns_only_does_not_read_what_was_said(client: Client, user: User) -> None:
    given = judged(user, comment="Between us")
    member = User.objects.create_user("staff", is_staff=True)
    member.user_permissions.set(Permission.objects.filter(codename="view_turn"))
    client.force_login(member)

    page = client.get(reverse("admin:verbatim_history_turn_change", args=[given.turn_id]))

    assert page.status_code == 200
    assert "Between us" not in page.content.decode()
    assert client.get(reverse(LIST)).status_code == 403


def test_the_list_costs_as_many_queries_for_twenty_as_for_one(admin_client: Client, user: User) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            admin_client.get(reverse(LIST))
        return len(captured)

    judged(user)
    for_one = queries()
    for _ in range(19):
        judged(user)

    assert queries() == for_one
