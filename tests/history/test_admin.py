"""The log in the admin: what staff see, and the little that they may do."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from history import conversations
from history.committed import Committed, listeners
from history.events import AssistantMessage, TurnEnded, UserMessage
from history.log import appending
from history.models import Conversation, DeltaBatch, Event, Status, Turn

pytestmark = pytest.mark.django_db

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"
MODELS = ("conversation", "turn", "event", "deltabatch")


def address(model: str, view: str = "changelist", *args: object) -> str:
    """Where the admin shows it."""
    return reverse(f"admin:verbatim_history_{model}_{view}", args=args)


@pytest.fixture
def turn(user: User) -> Turn:
    """A turn that is being answered, two batches into its draft, by somebody who tries to break the page."""
    conversation = conversations.create(user.pk)
    conversations.rename(conversation.pk, title=EVIL)
    turn = Turn.objects.create(
        conversation=conversation, owner=user, status=Status.RUNNING, attempt=1, model=EVIL, options={"system": EVIL}
    )
    with appending(conversation.pk) as log:
        log.append(turn.pk, UserMessage(text=EVIL))
    DeltaBatch.objects.create(
        turn_id=turn.pk, attempt=1, hop=0, start=0, text="Let me seeOnce upon", runs=[["reasoning", 10], ["text", 9]]
    )
    DeltaBatch.objects.create(
        turn_id=turn.pk, attempt=1, hop=0, start=19, text=f" a time {EVIL}", runs=[["text", 8 + len(EVIL)]]
    )
    return turn


def every_page(turn: Turn) -> list[str]:
    """All lists, and the page of each row."""
    rows = [turn.conversation, turn, *Event.objects.all(), *DeltaBatch.objects.all()]
    return [
        *(address(model) for model in MODELS),
        *(address(str(row._meta.model_name), "change", row.pk) for row in rows),
        address("conversation", "delete", turn.conversation_id),
    ]


def staff(client: Client, *permissions: str) -> Client:
    """A member of staff who may do this and nothing else."""
    member = User.objects.create_user("staff", is_staff=True)
    member.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(member)
    return client


def test_nothing_that_was_written_is_markup_on_any_page(admin_client: Client, turn: Turn) -> None:
    shown = {page: admin_client.get(page).content.decode() for page in every_page(turn)}

    assert [page for page, html in shown.items() if "<script>alert" in html or "<img src=x" in html] == []
    assert "&lt;script&gt;alert(1)" in shown[address("event", "change", Event.objects.get().pk)]


def test_nothing_can_be_added_or_changed_not_even_by_a_superuser(admin_client: Client, turn: Turn) -> None:
    before = list(Conversation.objects.values()), list(Turn.objects.values()), list(Event.objects.values())
    rows = {"conversation": turn.conversation_id, "turn": turn.pk, "event": Event.objects.get().pk}

    added = [admin_client.post(address(model, "add"), {"title": "x"}).status_code for model in rows]
    changed = [
        admin_client.post(address(model, "change", pk), {"title": "x", "status": "failed"}).status_code
        for model, pk in rows.items()
    ]
    deleted = [admin_client.post(address(model, "delete", rows[model]), {"post": "yes"}) for model in ("turn", "event")]

    assert added == changed == [403, 403, 403]
    assert [response.status_code for response in deleted] == [403, 403]
    assert (list(Conversation.objects.values()), list(Turn.objects.values()), list(Event.objects.values())) == before


def test_a_conversation_shows_its_newest_events_in_order(admin_client: Client, user: User) -> None:
    conversation = conversations.create(user.pk)
    turn = Turn.objects.create(conversation=conversation, owner=user, status=Status.COMPLETED)
    with appending(conversation.pk) as log:
        for number in range(1, 251):
            log.append(turn.pk, UserMessage(text=f"message {number}."))

    response = admin_client.get(address("conversation", "change", conversation.pk))

    rows = response.context["timeline"].rows
    assert [row.seq for row in rows] == list(range(51, 251))
    assert rows[-1].line == "message 250."
    assert f"{address('event')}?conversation={conversation.pk}" in response.content.decode()


def test_a_running_turn_shows_what_it_has_said_so_far(admin_client: Client, turn: Turn) -> None:
    response = admin_client.get(address("turn", "change", turn.pk))

    assert response.context["draft"].length == 27 + len(EVIL)
    assert ">Let me see</pre>" in response.context["draft_text"]
    assert ">Once upon a time &lt;script&gt;" in response.context["draft_text"]


def test_json_is_indented_and_keeps_its_characters(admin_client: Client, turn: Turn) -> None:
    with appending(turn.conversation_id) as log:
        log.append(turn.pk, AssistantMessage(hop=0, text="שלום \U0001f9ff"))

    html = admin_client.get(address("event", "change", Event.objects.get(seq=2).pk)).content.decode()

    assert "\n  &quot;text&quot;: &quot;שלום \U0001f9ff&quot;" in html


def test_usage_and_cost_are_shown(admin_client: Client, turn: Turn) -> None:
    Turn.objects.update(prompt_tokens=1234, completion_tokens=56, cost="0.00123")

    html = admin_client.get(address("turn")).content.decode()

    assert "1,234 + 56" in html
    assert "$0.001230" in html


@pytest.mark.parametrize("by", ["button", "action"])
def test_staff_can_stop_a_turn_that_runs(
    admin_client: Client, turn: Turn, by: str, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[Committed] = []
    listeners.append(told.append)

    with django_capture_on_commit_callbacks(execute=True):
        stop(admin_client, turn, by=by)
    listeners.remove(told.append)

    turn.refresh_from_db()
    assert turn.status == Status.STOPPING
    assert [(change.turn_id, change.status) for change in told] == [(turn.pk, "stopping")]


@pytest.mark.parametrize("by", ["button", "action"])
def test_a_turn_that_nobody_has_begun_ends_at_once_and_in_the_log(admin_client: Client, turn: Turn, by: str) -> None:
    Turn.objects.update(status=Status.QUEUED, attempt=0)

    stop(admin_client, turn, by=by)

    turn.refresh_from_db()
    assert turn.status == Status.CANCELLED
    assert list(Event.objects.order_by("seq").values_list("kind", flat=True)) == ["user_message", "turn_ended"]


def test_a_turn_that_is_over_is_left_alone(admin_client: Client, turn: Turn) -> None:
    Turn.objects.update(status=Status.COMPLETED)

    said = stop(admin_client, turn, by="button")

    turn.refresh_from_db()
    assert turn.status == Status.COMPLETED
    assert "Nothing to stop." in said.content.decode()
    assert "verbatim-stop" not in said.content.decode()


def stop(client: Client, turn: Turn, *, by: str) -> Any:
    """Stop a turn; the page that follows."""
    if by == "button":
        return client.post(address("turn", "stop", turn.pk), follow=True)
    return client.post(address("turn"), {"action": "stop_turns", "_selected_action": str(turn.pk)}, follow=True)


def test_stopping_takes_a_post_a_permission_and_a_turn(client: Client, turn: Turn) -> None:
    looking = staff(client, "view_turn")
    page = looking.get(address("turn", "change", turn.pk)).content.decode()
    refused = looking.post(address("turn", "stop", turn.pk)).status_code
    action = stop(looking, turn, by="action")
    User.objects.get(username="staff").user_permissions.add(Permission.objects.get(codename="change_turn"))

    assert "verbatim-stop" not in page
    assert (refused, Turn.objects.get().status) == (403, Status.RUNNING)
    assert "stop_turns" not in action.content.decode()
    assert looking.get(address("turn", "stop", turn.pk)).status_code == 405
    assert looking.post(address("turn", "stop", uuid4())).status_code == 404


@pytest.mark.parametrize("by", ["page", "action"])
def test_a_conversation_is_deleted_with_what_runs_in_it(
    admin_client: Client, turn: Turn, by: str, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[Committed] = []
    listeners.append(told.append)

    with django_capture_on_commit_callbacks(execute=True):
        if by == "page":
            admin_client.post(address("conversation", "delete", turn.conversation_id), {"post": "yes"})
        else:
            chosen = {"action": "delete_selected", "_selected_action": str(turn.conversation_id), "post": "yes"}
            admin_client.post(address("conversation"), chosen)
    listeners.remove(told.append)

    assert [model.objects.count() for model in (Conversation, Turn, Event, DeltaBatch)] == [0, 0, 0, 0]
    assert [(change.status, change.gone) for change in told] == [("stopping", False), (None, True)]
    assert LogEntry.objects.count() == 1


def test_deleting_takes_its_permission(client: Client, turn: Turn) -> None:
    looking = staff(client, "view_conversation")

    refused = looking.post(address("conversation", "delete", turn.conversation_id), {"post": "yes"})

    assert refused.status_code == 403
    assert Conversation.objects.exists()


@pytest.mark.parametrize("model", MODELS)
def test_who_is_not_staff_or_may_not_look_sees_nothing(client: Client, user: User, turn: Turn, model: str) -> None:
    client.force_login(user)
    sent_away = client.get(address(model))
    refused = staff(client).get(address(model))

    assert (sent_away.status_code, refused.status_code) == (302, 403)


def test_what_a_newer_version_stored_is_shown_as_it_is(admin_client: Client, turn: Turn) -> None:
    for seq, data in enumerate([["a", 1], "text", 7, {"text": {"not": "text"}}, {}], start=10):
        Event.objects.create(conversation=turn.conversation, seq=seq, kind="from_the_future", data=data)

    pages = [address("event"), address("conversation", "change", turn.conversation_id)]

    assert [admin_client.get(page).status_code for page in pages] == [200, 200]
    assert "from_the_future" in admin_client.get(pages[0]).content.decode()


def test_an_ended_turn_has_its_page_with_its_events(admin_client: Client, turn: Turn) -> None:
    with appending(turn.conversation_id) as log:
        log.append(turn.pk, TurnEnded(status="completed"))
    Turn.objects.update(status=Status.COMPLETED)

    response = admin_client.get(address("turn", "change", turn.pk))

    assert response.context["draft"] is None
    assert [row.kind for row in response.context["timeline"].rows] == ["user_message", "turn_ended"]
