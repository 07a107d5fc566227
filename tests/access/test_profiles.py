"""Which models there are for whom, and what is said about settings that cannot work."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from access.errors import UnknownModel
from access.principals import Principal
from access.profiles import model_of, profile_for, profile_named, profile_of, profiles_for, registry

pytestmark = pytest.mark.django_db

ADA = Principal(user_id=1)
LOCAL = {"name": "local", "base_url": "http://127.0.0.1:9/v1", "model": "tiny"}


def test_out_of_the_box_there_is_the_demo() -> None:
    assert [profile.name for profile in profiles_for(ADA)] == ["demo"]
    assert profile_for(ADA).name == profile_for(ADA, None).name == "demo"


def test_profiles_of_the_settings_come_first_and_are_the_default() -> None:
    with override_settings(CHAT={"PROFILES": (LOCAL,)}):
        assert [profile.name for profile in profiles_for(ADA)] == ["local", "demo"]
        assert profile_for(ADA).model == "tiny"
        assert profile_for(ADA, "demo").name == "demo"


def test_a_provider_in_the_environment_is_a_profile() -> None:
    with override_settings(CHAT={"PROVIDER_KEYS": {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}}):
        assert profile_for(ADA).base_url == "http://127.0.0.1:9/v1"


def test_the_default_can_be_chosen() -> None:
    with override_settings(CHAT={"PROFILES": (LOCAL,), "DEFAULT_PROFILE": "demo"}):
        assert profile_for(ADA).name == "demo"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownModel) as refused:
        profile_for(ADA, "nope")
    with pytest.raises(UnknownModel):
        profile_of("nope")

    assert refused.value.code == "unknown_model"


def test_models_are_made_once_for_the_settings_in_force() -> None:
    demo = profile_of("demo")
    model = model_of(demo)

    with override_settings(CHAT={"PROFILES": (LOCAL,)}):
        assert model_of(profile_of("local")) is model_of(profile_of("local"))
        assert registry() is registry()
        assert model_of(demo) is not model
    assert [profile.name for profile in profiles_for(ADA)] == ["demo"]


@pytest.mark.parametrize(
    ("chat", "check_id", "complaint"),
    [
        ({"PROFILE": ()}, "verbatim.E001", "unknown keys: PROFILE"),
        ({"LEASE": 6.0, "LEASE_RENEWAL": 3.0}, "verbatim.E001", "LEASE must be three times LEASE_RENEWAL"),
        ({"PROFILES": ({"name": "x", "api_key_name": "NOT_SET"},)}, "verbatim.E002", "NOT_SET is not set"),
        ({"DEFAULT_PROFILE": "nope"}, "verbatim.E002", "nope"),
        ({"TOOLS": ("tools.builtin.nope",)}, "verbatim.E003", "There is no tool at 'tools.builtin.nope'"),
    ],
)
def test_a_check_names_what_cannot_work(chat: dict[str, Any], check_id: str, complaint: str) -> None:
    with override_settings(CHAT=chat):
        (found,) = run_checks(tags=["verbatim"])

    assert found.id == check_id
    assert complaint in str(found.msg)


def test_the_settings_of_this_site_work() -> None:
    assert run_checks(tags=["verbatim"]) == []


@pytest.mark.parametrize(
    ("provider", "model", "found"),
    [
        ("local", "tiny", "local"),
        ("local", "local", "local"),
        ("direct", "tiny", "local"),
        ("direct", "some/large", "large"),
        ("some", "large", "large"),
        ("some", "some/large", "large"),
        ("demo", "demo", "demo"),
    ],
)
def test_a_provider_and_a_model_name_a_profile(provider: str, model: str, found: str) -> None:
    large = {**LOCAL, "name": "large", "model": "some/large"}

    with override_settings(CHAT={"PROFILES": (LOCAL, large)}):
        assert profile_named(ADA, provider=provider, model=model).name == found


@pytest.mark.parametrize(("provider", "model"), [("local", "large"), ("tiny", "tiny"), ("demo", "tiny"), ("", "tiny")])
def test_a_model_of_another_provider_is_unknown(provider: str, model: str) -> None:
    with override_settings(CHAT={"PROFILES": (LOCAL,)}), pytest.raises(UnknownModel):
        profile_named(ADA, provider=provider, model=model)
