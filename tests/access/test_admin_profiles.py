"""Model profiles in the admin: those of the settings are shown, those of the table made and changed."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client, override_settings
from django.urls import reverse

from access.models import Profile

LIST = "admin:verbatim_access_profile_changelist"
ADD = "admin:verbatim_access_profile_add"
KEYS = {"OPENAI_API_KEY": "sk-canary-0123456789", "OPENAI_MODEL": "gpt-4o"}


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    """The site allows one key."""
    settings.CHAT = {"PROVIDER_KEYS": KEYS}


def change_page(row: Profile) -> str:
    return reverse("admin:verbatim_access_profile_change", args=[row.pk])


def said(**fields: Any) -> dict[str, Any]:
    """The form of a profile."""
    return {"name": "fast", "adapter": "auto", "audience": "everyone", "all_tools": "on", **fields}


def test_the_list_begins_with_the_settings_and_shows_no_secret(admin_client: Client) -> None:
    own = {
        "name": "house",
        "base_url": "https://me:canary@llm.example.com/v1?key=canary",
        "system_prompt": "<b>Be kind.</b>",
    }
    Profile.objects.create(name="mine")

    with override_settings(CHAT={"PROFILES": (own,), "PROVIDER_KEYS": KEYS}):
        page = admin_client.get(reverse(LIST)).content.decode()

    shown = [page.index(text) for text in ("house", "https://llm.example.com/v1", "demo", "mine")]
    assert shown == sorted(shown)
    assert "&lt;b&gt;Be kind.&lt;/b&gt;" in page
    assert "canary" not in page


def test_a_profile_is_made(admin_client: Client) -> None:
    group = Group.objects.create(name="writers")
    form = said(
        base_url="https://llm.example.com/v1",
        api_key_name="OPENAI_API_KEY",
        audience="groups",
        groups=[group.pk],
        stop="END\r\n\r\n STOP",
        temperature="0.5",
        input_price="1.5",
        output_price="2",
    )

    made = admin_client.post(reverse(ADD), form)

    row = Profile.objects.get()
    assert made.status_code == HTTPStatus.FOUND
    assert (row.name, row.tools, row.stop, row.temperature) == ("fast", None, ["END", " STOP"], 0.5)
    assert list(row.groups.all()) == [group]


@pytest.mark.parametrize(
    ("form", "stored"),
    [
        ({"all_tools": "on", "tools": ["calculator"]}, None),
        ({"all_tools": "", "tools": ["calculator"]}, ["calculator"]),
        ({"all_tools": ""}, []),
    ],
    ids=str,
)
def test_it_gets_all_tools_or_those_that_are_chosen(
    admin_client: Client, form: dict[str, Any], stored: list[str] | None
) -> None:
    row = Profile.objects.create(name="fast", tools=["current_time"])

    admin_client.post(change_page(row), said(**form))

    assert Profile.objects.get().tools == stored


def test_the_form_shows_what_is_stored_and_offers_keys_by_name(admin_client: Client) -> None:
    row = Profile.objects.create(name="fast", tools=["calculator"], stop=["END", "STOP"], api_key_name="GONE")

    page = admin_client.get(change_page(row)).content.decode()

    assert re.findall(r'name="tools" value="(\w+)"[^>]*?( checked)?>', page) == [
        ("current_time", ""),
        ("calculator", " checked"),
    ]
    assert not re.search(r'name="all_tools"[^>]*checked', page)
    assert re.search(r"<textarea[^>]*name=\"stop\"[^>]*>\s*END\nSTOP</textarea>", page)
    assert re.findall(r'<option value="([A-Z_]*)"', page) == ["", "GONE", "OPENAI_API_KEY"]
    assert "not offered: profile &#x27;fast&#x27;: GONE is not set" in page
    assert 'name="name"' not in page
    assert "canary" not in page


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"name": "a b"}, "A name is 1 to 100"),
        ({"name": "demo"}, "two profiles named"),
        ({"name": "there"}, "already exists"),
        ({"base_url": "http://10.0.0.1/v1"}, "base_url must be a public address"),
        ({"base_url": "https://me:canary@example.com/v1"}, "neither a user nor a query"),
        ({"input_price": "1"}, "missing required field"),
        ({"model": "ollama/llama3"}, "the provider is one of"),
        ({"api_key_name": "SECRET_KEY"}, "is not one of the available choices"),
        ({"max_output_tokens": "0"}, "greater than or equal to 1"),
    ],
    ids=str,
)
def test_what_cannot_work_is_not_made(admin_client: Client, wrong: dict[str, Any], reason: str) -> None:
    Profile.objects.create(name="there")

    refused = admin_client.post(reverse(ADD), said(**wrong))

    assert refused.status_code == HTTPStatus.OK
    assert reason in refused.content.decode()
    assert Profile.objects.count() == 1


def test_who_may_only_look_sees_everything_and_changes_nothing(db: None, client: Client) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_profile"))
    client.force_login(clerk)
    row = Profile.objects.create(name="fast", system_prompt="Be brief.")

    seen = [client.get(reverse(LIST)), client.get(change_page(row))]
    refused = [client.post(change_page(row), said(label="x")), client.post(reverse(ADD), said(name="new"))]

    assert [page.status_code for page in seen] == [200, 200]
    assert "Be brief." in seen[1].content.decode()
    assert [page.status_code for page in refused] == [403, 403]
    assert Profile.objects.values_list("name", "label").get() == ("fast", "")
