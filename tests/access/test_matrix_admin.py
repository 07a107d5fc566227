"""Who may do what in the admin: one rule for all its addresses, and a permission for every action."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, reverse
from django.utils.regex_helper import normalize

from access.keys import create_key
from access.models import Profile
from access.principals import Scope
from config.urls import urlpatterns
from history import conversations, feedback
from history.models import CompletionContent, DeltaBatch, Event, Sentiment
from tests.chat.conftest import add_turn

SAMPLES = {"app_label": "auth", "url": "nowhere/"}
"""What stands in an address; everything else is an id."""
FOR_EVERYBODY = {"admin:login", "admin:logout"}
FOR_ALL_STAFF = {"admin:index", "admin:jsi18n", "admin:password_change", "admin:password_change_done"}
"""What staff without any permission may see: nothing of anybody's."""

ACTIONS: Mapping[tuple[str, str], str] = {
    ("auth.user", "delete_selected"): "auth.delete_user",
    ("auth.group", "delete_selected"): "auth.delete_group",
    ("verbatim_access.apikey", "delete_selected"): "verbatim_access.delete_apikey",
    ("verbatim_access.apikey", "revoke_keys"): "verbatim_access.change_apikey",
    ("verbatim_access.profile", "delete_selected"): "verbatim_access.delete_profile",
    ("verbatim_history.conversation", "delete_selected"): "verbatim_history.delete_conversation",
    ("verbatim_history.turn", "stop_turns"): "verbatim_history.change_turn",
}
"""Every action, with the one permission that allows it."""


def addresses(resolver: URLResolver) -> Iterator[tuple[str, str]]:
    """Every address of the admin, by its name."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            prefix = str(pattern.pattern)
            yield from ((name, f"/admin/{prefix}{rest.removeprefix('/admin/')}") for name, rest in addresses(pattern))
        else:
            yield f"admin:{pattern.name}", f"/admin/{sample(pattern)}"


def sample(pattern: URLPattern) -> str:
    """An address that this pattern answers, where {id} is one."""
    form, names = normalize(pattern.pattern.regex.pattern)[0]
    return str(form % {name: SAMPLES.get(name, "{id}") for name in names})


(ADMIN,) = (found for found in urlpatterns if isinstance(found, URLResolver) and found.namespace == "admin")
ADDRESSES = dict(addresses(ADMIN))


@pytest.fixture
def rows(user: User) -> Mapping[str, Any]:
    """The id of something in each table, by the beginning of the names of its addresses."""
    conversation = conversations.create(user.pk)
    turn = add_turn(conversation)
    batch = DeltaBatch.objects.create(turn_id=turn.pk, attempt=1, hop=0, start=0, text="x", runs=[])
    given, _ = feedback.give(turn, owner_id=user.pk, sentiment=Sentiment.LIKE, comment="")
    event = Event.objects.filter(turn=turn).first()
    content = CompletionContent.objects.create(conversation=conversation, seq=1, data=zlib.compress(b"{}"))
    made = [Group.objects.create(name="g"), Profile.objects.create(name="fast"), create_key(user).row]
    there = [*made, user, conversation, turn, batch, given, event, content]
    return {f"admin:{row._meta.app_label}_{row._meta.model_name}_": row.pk for row in there if row is not None}


def address(name: str, rows: Mapping[str, Any]) -> str:
    """The address of that name, about something that exists."""
    ids = [str(pk) for prefix, pk in rows.items() if name.startswith(prefix)]
    return ADDRESSES[name].replace("{id}", ids[0] if ids else "1")


def visitors(user: User) -> Iterator[Client]:
    """Nobody, a user, and the key of a superuser with everything that a key can have."""
    yield Client()
    signed_in = Client()
    signed_in.force_login(user)
    yield signed_in
    root = User.objects.create_user("root", is_staff=True, is_superuser=True)
    yield Client(headers={"X-API-Key": create_key(root, scopes=list(Scope)).text})


@pytest.mark.parametrize("name", sorted(ADDRESSES.keys() - FOR_EVERYBODY))
def test_the_admin_is_for_staff_alone(user: User, rows: Mapping[str, Any], name: str) -> None:
    """S1. No key opens it, whosever it is."""
    for client in visitors(user):
        for method in ("get", "post"):
            answer = client.generic(method, address(name, rows))

            assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, reverse("admin:login"))


@pytest.mark.parametrize("name", sorted(ADDRESSES.keys() - FOR_EVERYBODY))
def test_staff_without_a_permission_see_nothing(client: Client, user: User, rows: Mapping[str, Any], name: str) -> None:
    """S1."""
    User.objects.update(is_staff=True)
    client.force_login(user)

    answer = client.get(address(name, rows))

    assert answer.status_code in ((200,) if name in FOR_ALL_STAFF else (403, 404, 405))


def actions_for(user: User) -> set[tuple[str, str]]:
    """What the admin offers to somebody, over all its lists."""
    request = RequestFactory().get("/")
    request.user = user
    return {
        (model._meta.label_lower, action)
        for model, model_admin in admin.site._registry.items()
        for action in model_admin.get_actions(request)
    }


def test_every_action_has_a_rule(admin_user: User) -> None:
    """S1."""
    assert actions_for(admin_user) == ACTIONS.keys()


def test_a_new_action_is_missed(admin_user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def burn(*_: Any) -> None: ...

    monkeypatch.setitem(admin.site._actions, "burn", burn)

    assert {action for _, action in actions_for(admin_user) - ACTIONS.keys()} == {"burn"}


@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_an_action_needs_its_permission_and_no_other_gives_it(user: User, model: str, action: str) -> None:
    """S1."""
    needed = ACTIONS[model, action]
    app, _, codename = needed.partition(".")
    wanted = Permission.objects.get(content_type__app_label=app, codename=codename)

    user.user_permissions.set(Permission.objects.exclude(pk=wanted.pk))
    without = actions_for(User.objects.get(pk=user.pk))
    user.user_permissions.set([wanted])
    with_it = actions_for(User.objects.get(pk=user.pk))

    assert (model, action) not in without
    assert (model, action) in with_it
