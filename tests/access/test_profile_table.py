"""Profiles of the table: beside those of the settings, for whom they are, and only those that can work."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access import profiles
from access.errors import UnknownModel
from access.models import Profile
from access.principals import Principal
from access.profile_table import profile_of_row
from access.profiles import profile_for, profile_named, profile_of, profiles_for, registry
from llm.prices import Prices
from llm.profiles import BadProfile
from llm.types import Sampling

pytestmark = pytest.mark.django_db

ADA = Principal(user_id=1)
KEYS = {"OPENAI_API_KEY": "sk-1"}
LOCAL = {"name": "local", "base_url": "http://127.0.0.1:9/v1", "model": "tiny"}


def names(principal: Principal = ADA) -> list[str]:
    return [profile.name for profile in profiles_for(principal)]


def test_the_settings_come_first_and_then_the_table_from_the_oldest_on() -> None:
    Profile.objects.create(name="young")
    Profile.objects.create(name="old", created_at=timezone.now() - timedelta(days=9))

    with override_settings(CHAT={"PROFILES": (LOCAL,)}):
        assert names() == ["local", "demo", "old", "young"]


def test_a_row_says_all_that_a_profile_of_the_settings_can_say() -> None:
    Profile.objects.create(
        name="fast",
        label="Fast one",
        model="gpt-4o",
        base_url="https://llm.example.com/v1",
        api_key_name="OPENAI_API_KEY",
        system_prompt="Be brief.",
        tools=["calculator"],
        temperature=0.5,
        stop=["END"],
        max_output_tokens=500,
        context_window=9000,
        input_price=Decimal("1.5"),
        output_price=Decimal(2),
    )

    with override_settings(CHAT={"PROVIDER_KEYS": KEYS}):
        found = profile_for(ADA, "fast")

    assert (found.label, found.model, found.base_url) == ("Fast one", "gpt-4o", "https://llm.example.com/v1")
    assert (found.adapter, found.api_key_name, found.public_only) == ("direct", "OPENAI_API_KEY", True)
    assert (found.system_prompt, found.tools) == ("Be brief.", ("calculator",))
    assert found.sampling == Sampling(temperature=0.5, stop=("END",))
    assert (found.max_output_tokens, found.context_window) == (500, 9000)
    assert found.prices == Prices(input=Decimal("1.5"), output=Decimal(2))


def test_what_a_row_does_not_say_is_as_in_the_settings() -> None:
    Profile.objects.create(name="gpt-4o-mini")

    found = profile_for(ADA, "gpt-4o-mini")

    assert (found.label, found.model, found.tools) == ("gpt-4o-mini", "gpt-4o-mini", None)
    assert found.prices is not None


def test_everything_says_since_when_it_is_there() -> None:
    then = datetime(2026, 1, 31, 12, tzinfo=UTC)
    Profile.objects.create(name="new", created_at=then)

    with override_settings(CHAT={"PROFILES": ({**LOCAL, "created": "2020-02-02T00:00:00Z"},)}):
        created = {profile.name: profile.created for profile in profiles_for(ADA)}

    assert created["new"] == then
    assert created["local"] == datetime(2020, 2, 2, tzinfo=UTC)
    assert created["demo"].year >= 2026


def test_without_a_default_the_table_goes_before_the_demo() -> None:
    Profile.objects.create(name="new")

    assert profile_for(ADA).name == "new"
    with override_settings(CHAT={"DEFAULT_PROFILE": "demo"}):
        assert profile_for(ADA).name == "demo"
    with override_settings(CHAT={"PROFILES": (LOCAL,)}):
        assert profile_for(ADA).name == "local"


@pytest.fixture
def group(user: User) -> Group:
    """One that Ada is in."""
    group = Group.objects.create(name="writers")
    user.groups.add(group)
    return group


def offer_to(audience: str, *groups: Group) -> None:
    Profile.objects.create(name="mine", audience=audience).groups.set(groups)


@pytest.mark.parametrize("is_staff", [True, False])
def test_a_profile_for_staff_is_there_for_staff_alone(user: User, is_staff: bool) -> None:
    offer_to("staff")
    User.objects.update(is_staff=is_staff)

    assert names(Principal(user_id=user.pk)) == (["demo", "mine"] if is_staff else ["demo"])


def test_a_profile_for_groups_is_there_for_their_members_alone(user: User, other_user: User, group: Group) -> None:
    offer_to("groups", Group.objects.create(name="others"), group)
    ada, bob = Principal(user_id=user.pk, key_id=7), Principal(user_id=other_user.pk)

    assert (names(ada), names(bob)) == (["demo", "mine"], ["demo"])
    assert (profile_for(ada, "mine").name, profile_for(ada).name, profile_for(bob).name) == ("mine", "mine", "demo")
    assert profile_named(ada, provider="direct", model="mine").name == "mine"
    with pytest.raises(UnknownModel):
        profile_for(bob, "mine")
    with pytest.raises(UnknownModel):
        profile_named(bob, provider="direct", model="mine")


def test_a_turn_in_progress_finds_its_profile_whoever_may_use_it_now(group: Group) -> None:
    offer_to("groups", group)

    assert profile_of("mine").name == "mine"


def test_a_profile_that_was_deleted_is_unknown() -> None:
    Profile.objects.create(name="gone")
    assert profile_of("gone").name == "gone"

    Profile.objects.all().delete()

    with pytest.raises(UnknownModel):
        profile_of("gone")


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(profiles, "time", clock)
    return clock


def queries(call: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        call()
    return len(captured)


def test_the_table_is_read_once_a_second_in_one_statement(clock: Clock, group: Group) -> None:
    Profile.objects.create(name="a").groups.set([group, Group.objects.create(name="more")])
    Profile.objects.create(name="b")

    first = queries(lambda: names())
    within = queries(lambda: [profile_for(ADA, "a"), profile_for(ADA), names()])
    clock.now += 1.0
    later = queries(lambda: names())

    assert (first, within, later) == (1, 0, 1)


def elsewhere(**fields: Any) -> None:
    """Another process changes the table: nobody tells this one."""
    Profile.objects.filter(name="a").update(**fields)


def test_what_another_process_changed_is_seen_within_a_second(clock: Clock) -> None:
    Profile.objects.create(name="a", label="before")
    assert profile_for(ADA, "a").label == "before"

    elsewhere(label="after")
    clock.now += 1.0

    assert profile_for(ADA, "a").label == "after"


def test_a_new_name_is_known_at_once(clock: Clock) -> None:
    Profile.objects.create(name="a")
    assert names() == ["demo", "a"]

    elsewhere(name="new")

    assert profile_for(ADA, "new").name == "new"


def test_what_this_process_changed_is_seen_at_once(clock: Clock, group: Group) -> None:
    row = Profile.objects.create(name="a", label="before")
    assert profile_for(ADA, "a").label == "before"

    row.label, row.audience = "after", "groups"
    row.save()
    assert names() == ["demo"]
    row.groups.add(group)

    (member,) = group.user_set.all()
    assert profile_for(Principal(user_id=member.pk), "a").label == "after"


def test_who_looked_before_the_commit_looks_again_after_it(
    clock: Clock, django_capture_on_commit_callbacks: Any
) -> None:
    row = Profile.objects.create(name="a", label="before")

    with django_capture_on_commit_callbacks(execute=True):
        row.label = "after"
        row.save()
        elsewhere(label="before")  # which is what all others see until then
        assert profile_for(ADA, "a").label == "before"
        elsewhere(label="after")

    assert profile_for(ADA, "a").label == "after"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "demo"}, "two profiles named 'demo'"),
    ({"name": "a b"}, "a name is"),
    ({"adapter": "demo"}, "the adapter is none of auto, direct, litellm"),
    ({"api_key_name": "SECRET_KEY"}, "SECRET_KEY is not set, or not an allowed variable"),
    ({"base_url": "ftp://example.com"}, "an http or https address"),
    ({"base_url": "http://127.0.0.1:9/v1"}, "a public address"),
    ({"base_url": "http://localhost/v1"}, "a public address"),
    ({"base_url": "https://me:secret@example.com/v1"}, "neither a user nor a query"),
    ({"base_url": "https://example.com/v1?key=secret"}, "neither a user nor a query"),
    ({"input_price": 1}, "missing required field `output`"),
    ({"tools": "calculator"}, "Expected"),
    ({"model": "ollama/llama3", "api_key_name": "OPENAI_API_KEY"}, "the provider is one of anthropic"),
    ({"model": "anthropic/claude"}, "it needs api_key_name"),
    (
        {"adapter": "litellm", "model": "openai/x", "base_url": "https://example.com/v1"},
        "only a profile of the settings may have a base_url",
    ),
]


@pytest.mark.parametrize(("fields", "reason"), WRONG, ids=str)
def test_a_row_that_cannot_work_is_left_out_and_says_why(
    fields: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    row = Profile.objects.create(**{"name": "wrong", **fields})
    Profile.objects.create(name="right")

    with override_settings(CHAT={"PROVIDER_KEYS": {"OPENAI_API_KEY": "sk-1"}}), caplog.at_level(logging.WARNING):
        with pytest.raises(BadProfile, match=reason):
            profile_of_row(row, registry=registry())
        assert names() == ["openai", "demo", "right"]

    assert reason in caplog.text
    assert "secret" not in caplog.text


def test_a_setting_allows_providers_that_are_not_public() -> None:
    Profile.objects.create(name="here", base_url="http://127.0.0.1:9/v1")
    Profile.objects.create(name="llama", model="ollama/llama3")

    with override_settings(CHAT={"PRIVATE_PROVIDERS": True}):
        found = {profile.name: (profile.adapter, profile.public_only) for profile in profiles_for(ADA)}

    assert found == {"demo": ("demo", False), "here": ("direct", False), "llama": ("litellm", False)}
