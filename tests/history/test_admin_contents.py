"""Contents of completion logs, in the admin: found from a turn's page, read by those who may, and never unnoticed."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from history.models import CompletionContent, Event
from tests.history.test_contents import kept

pytestmark = pytest.mark.django_db


def address(row: CompletionContent) -> str:
    return reverse("admin:verbatim_history_completioncontent_change", args=[row.pk])


def test_a_turns_page_shows_its_calls_and_leads_to_them(admin_client: Client, user: User) -> None:
    row = kept(user)
    event = Event.objects.get(conversation_id=row.conversation_id, seq=row.seq)

    turn = admin_client.get(reverse("admin:verbatim_history_turn_change", args=[event.turn_id])).content.decode()
    listed = admin_client.get(reverse("admin:verbatim_history_completioncontent_changelist")).content.decode()

    assert f"turn={event.turn_id}&amp;kind=completion_log" in turn
    assert address(row) in listed
    assert "Wie groß" not in turn + listed


def test_whoever_reads_a_content_is_noted(admin_client: Client, admin_user: User, user: User) -> None:
    """S8."""
    row = kept(user)

    shown = admin_client.get(address(row)).content.decode()

    assert "Wie groß ist 北京?" in shown
    assert "sk-canary" not in shown
    [note] = LogEntry.objects.all()
    assert (note.user_id, note.object_id, note.get_change_message()) == (admin_user.pk, str(row.pk), "Read.")


def test_who_may_look_at_turns_may_not_therefore_read_contents(client: Client, user: User) -> None:
    row = kept(user)
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=("view_turn", "view_event")))
    client.force_login(user)

    assert client.get(address(row)).status_code == 403
    assert LogEntry.objects.count() == 0
