"""Model profiles over HTTP: for whom, what can be said of one, and what cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client, override_settings

from access.keys import create_key
from access.models import Profile
from access.principals import Scope

JSON = "application/json"
PROFILES = "/api/v1/profiles/"
KEYS = {"OPENAI_API_KEY": "sk-canary-0123456789"}
WHOLE: dict[str, Any] = {
    "label": "Fast one",
    "adapter": "direct",
    "model": "gpt-4o",
    "base_url": "https://llm.example.com/v1",
    "api_key_name": "OPENAI_API_KEY",
    "system_prompt": "Be brief.\n",
    "tools": ["calculator"],
    "sampling": {"temperature": 0.5, "top_p": 1.0, "seed": -1, "stop": [" END"]},
    "max_output_tokens": 500,
    "context_window": 9000,
    "prices": {"input": "1.5", "output": "20", "cached": None},
    "audience": "groups",
    "groups": ["writers"],
}
EMPTY: dict[str, Any] = {
    **dict.fromkeys(("label", "model", "base_url", "api_key_name", "system_prompt"), ""),
    **dict.fromkeys(("tools", "max_output_tokens", "context_window", "prices", "problem"), None),
    "sampling": dict.fromkeys(("temperature", "top_p", "seed", "stop")),
    "adapter": "auto",
    "audience": "everyone",
    "groups": [],
    "read_only": False,
}


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    """The site allows one variable."""
    settings.CHAT = {"PROVIDER_KEYS": KEYS}


@pytest.fixture
def manager(user: User) -> Client:
    """Ada, who may do everything with profiles."""
    user.user_permissions.set(Permission.objects.filter(codename__endswith="_profile"))
    return Client(headers={"X-API-Key": create_key(user, scopes=list(Scope)).text})


def test_a_profile_is_made_and_shown_as_it_was_said(manager: Client) -> None:
    Group.objects.create(name="writers")

    made = manager.post(f"{PROFILES}fast", WHOLE, JSON)

    assert made.status_code == 201
    assert made["Location"] == f"{PROFILES}fast"
    assert made.json() == {
        "name": "fast", **WHOLE, "created": made.json()["created"], "read_only": False, "problem": None
    }  # fmt: skip
    assert manager.get(f"{PROFILES}fast/").json() == made.json()
    assert manager.get(PROFILES).json()[-1] == made.json()


def test_nothing_need_be_said(manager: Client) -> None:
    made = manager.post(f"{PROFILES}model-1.5:latest", {}, JSON)

    assert made.status_code == 201
    assert made.json() == {"name": "model-1.5:latest", **EMPTY, "created": made.json()["created"]}


def test_a_name_may_have_slashes(manager: Client) -> None:
    made = manager.post(f"{PROFILES}some/model/", {"adapter": "direct"}, JSON)

    assert (made.status_code, made["Location"]) == (201, f"{PROFILES}some/model")
    assert manager.get(made["Location"]).json()["name"] == "some/model"


def test_only_what_is_given_is_changed(manager: Client) -> None:
    Group.objects.create(name="writers")
    before = manager.post(f"{PROFILES}fast", WHOLE, JSON).json()
    change = {"label": "", "sampling": {"seed": 7}, "prices": None, "tools": None}

    changed = manager.patch(f"{PROFILES}fast", change, JSON)

    assert changed.status_code == 200
    assert changed.json() == {**before, **change, "sampling": {**EMPTY["sampling"], "seed": 7}}
    assert manager.patch(f"{PROFILES}fast", {"groups": []}, JSON).json()["groups"] == []


def test_what_is_deleted_is_gone(manager: Client) -> None:
    Profile.objects.create(name="fast")

    assert manager.delete(f"{PROFILES}fast").status_code == 204
    assert [manager.get(f"{PROFILES}fast").status_code, manager.delete(f"{PROFILES}fast").status_code] == [404, 404]


def test_a_new_profile_can_be_asked_at_once(manager: Client) -> None:
    assert [model["name"] for model in manager.get("/api/v1/models/").json()] == ["openai", "demo"]

    manager.post(f"{PROFILES}fast", {"label": "Fast one"}, JSON)

    assert manager.get("/api/v1/models/").json()[2] == {"name": "fast", "label": "Fast one", "default": False}


def test_profiles_of_the_settings_are_shown_without_credentials_and_cannot_be_changed(manager: Client) -> None:
    address = "https://me:canary@llm.example.com/v1?key=canary#canary"
    own = {"name": "own", "base_url": address, "sampling": {"max_tokens": 9}}

    with override_settings(CHAT={"PROFILES": (own,), "PROVIDER_KEYS": KEYS}):
        listed = manager.get(PROFILES)
        shown = manager.get(f"{PROFILES}own")
        refused = [manager.patch(f"{PROFILES}own", {}, JSON), manager.delete(f"{PROFILES}own")]
        taken = manager.post(f"{PROFILES}own", {}, JSON)

    assert [profile["name"] for profile in listed.json()] == ["own", "openai", "demo"]
    assert all(profile["read_only"] for profile in listed.json())
    assert "canary" not in listed.content.decode()
    assert (shown.json()["base_url"], shown.json()["max_output_tokens"]) == ("https://llm.example.com/v1", 9)
    assert [(each.status_code, each.json()["code"]) for each in refused] == [(409, "profile_read_only")] * 2
    assert (taken.status_code, taken.json()["code"]) == (409, "profile_exists")


def test_a_name_is_given_once(manager: Client) -> None:
    manager.post(f"{PROFILES}fast", {"label": "first"}, JSON)

    again = manager.post(f"{PROFILES}fast", {"label": "second"}, JSON)

    assert (again.status_code, again.json()["code"]) == (409, "profile_exists")
    assert Profile.objects.get().label == "first"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"api_key": "sk-1"}, "api_key: Unknown field."),
    ({"api_key_name": "SECRET_KEY"}, "SECRET_KEY is not set, or not an allowed variable"),
    ({"api_key_name": "sk-the-key-itself"}, "[hidden] is not set, or not an allowed variable"),
    ({"base_url": "http://169.254.169.254/v1"}, "base_url must be a public address"),
    ({"base_url": "http://localhost:8000/v1"}, "base_url must be a public address"),
    ({"tools": ["rm"]}, "there is no tool 'rm'"),
    ({"groups": ["nobody"]}, "groups: There is no group 'nobody'."),
    ({"sampling": {"temperature": 3}}, "sampling: temperature: "),
    ({"prices": {"input": 1}}, "output"),
    ({"prices": {"input": -1, "output": 1}}, "prices: input: "),
    ({"context_window": 0}, "context_window: "),
    ({"adapter": "demo"}, "adapter: "),
    ({"audience": "me"}, "audience: "),
    ({"label": "\x00"}, "label: "),
]


@pytest.mark.parametrize(("fields", "reason"), WRONG, ids=str)
@pytest.mark.parametrize("method", ["post", "patch"])
def test_what_cannot_work_is_refused_with_the_reason(
    manager: Client, method: str, fields: dict[str, Any], reason: str
) -> None:
    if method == "patch":
        Profile.objects.create(name="fast")
    before = list(Profile.objects.values())

    refused = manager.generic(method, f"{PROFILES}fast", json.dumps(fields), JSON)

    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert reason in refused.json()["detail"]
    assert list(Profile.objects.values()) == before


@pytest.mark.parametrize("name", ["a b", "a%00b", "x" * 101, "%F0%9F%A7%BF"])
def test_a_name_that_cannot_be_one_is_refused(manager: Client, name: str) -> None:
    for method in ("get", "post", "patch", "delete"):
        refused = manager.generic(method, f"{PROFILES}{name}")

        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
        assert "A name is 1 to 100" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("codename", "allowed"),
    [
        ("view_profile", {"get"}),
        ("add_profile", {"post"}),
        ("change_profile", {"get", "patch"}),
        ("delete_profile", {"delete"}),
        ("change_apikey", set[str]()),
    ],
)
def test_each_permission_opens_its_own_door(user: User, codename: str, allowed: set[str]) -> None:
    user.user_permissions.set(Permission.objects.filter(codename=codename))
    client = Client(headers={"X-API-Key": create_key(user, scopes=list(Scope)).text})
    Profile.objects.create(name="old")
    names = {"get": "old", "patch": "old", "delete": "old", "post": "new"}

    answers = {method: client.generic(method, f"{PROFILES}{name}") for method, name in names.items()}

    assert {method for method, answer in answers.items() if answer.status_code < 300} == allowed
    refused = [answer.json() for answer in answers.values() if answer.status_code >= 300]
    assert {answer["code"] for answer in refused} == {"forbidden"}
    assert all("permission verbatim_access." in answer["detail"] for answer in refused)


def test_a_session_of_staff_manages_and_another_one_does_not(user: User) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__endswith="_profile"))
    client = Client()
    client.force_login(user)

    as_somebody = client.post(f"{PROFILES}fast", {}, JSON).status_code
    User.objects.update(is_staff=True)
    as_staff = client.post(f"{PROFILES}fast", {}, JSON).status_code

    assert (as_somebody, as_staff) == (403, 201)


def test_a_row_that_does_not_work_any_more_says_why(manager: Client) -> None:
    manager.post(f"{PROFILES}fast", {"api_key_name": "OPENAI_API_KEY"}, JSON)

    with override_settings(CHAT={}):
        shown = manager.get(f"{PROFILES}fast").json()
        models = manager.get("/api/v1/models/").json()

    assert "OPENAI_API_KEY is not set" in shown["problem"]
    assert [model["name"] for model in models] == ["demo"]
