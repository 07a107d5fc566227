"""Profiles, the registry, and prices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

import pytest

from llm.errors import NotStreaming
from llm.prices import Prices, cost
from llm.profiles import DEMO, OPENAI, BadProfile, Profile, profile_from, profiles_from_env
from llm.registry import Registry, UnknownProfile
from llm.scripted import ScriptedModel, says
from llm.types import ChatModel, Sampling, Usage
from tests.llm.conftest import REQUEST, ask
from tests.provider import ProviderProcess

KEY = "sk-canary-0123456789"


def test_without_anything_there_is_the_demo() -> None:
    registry = Registry(profiles_from_env({}), keys={})

    assert [profile.name for profile in registry.profiles] == ["demo"]
    assert registry.default == DEMO


@pytest.mark.parametrize(
    ("variables", "base_url", "model"),
    [
        ({"OPENAI_API_KEY": KEY}, OPENAI, "gpt-4o-mini"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, "http://127.0.0.1:9/v1", "gpt-4o-mini"),
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://h/v1", "OPENAI_MODEL": "big"}, "https://h/v1", "big"),
    ],
)
def test_a_key_or_an_address_alone_make_a_real_provider(variables: dict[str, str], base_url: str, model: str) -> None:
    registry = Registry(profiles_from_env(variables), keys=variables)

    assert registry.default.name == "openai"
    assert (registry.default.base_url, registry.default.model) == (base_url, model)
    assert registry.profile("demo") == DEMO


@pytest.mark.parametrize("name", ["demo", "openai", "big"])
def test_the_default_is_chosen_by_name_or_model(name: str) -> None:
    profiles = profiles_from_env({"OPENAI_BASE_URL": "https://h/v1", "OPENAI_MODEL": "big"})

    registry = Registry(profiles, keys={}, default=name)

    assert name in (registry.default.name, registry.default.model)
    assert registry.profile() == registry.default


def test_a_default_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(BadProfile, match=r"'nope' is none of demo"):
        Registry((DEMO,), keys={}, default="nope")


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({}, "missing required field `name`"),
        ({"name": ""}, "a name is"),
        ({"name": "a", "colour": "red"}, "unknown field `colour`"),
        ({"name": "a", "context_window": "big"}, "Expected `int`"),
        ({"name": "a", "context_window": 0}, "must be positive"),
        ({"name": "a", "base_url": "ftp://x"}, "base_url"),
        ({"name": "a", "adapter": "litellm"}, "a model is `provider/model`"),
        ({"name": "a", "prices": {"input": -1, "output": 1}}, "price"),
        ({"name": "a", "sampling": {"temperature": "hot"}}, "Expected `float"),
    ],
)
def test_a_bad_profile_says_what_is_wrong_with_it(told: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadProfile, match=reason):
        profile_from(told)


@pytest.mark.parametrize(
    ("profiles", "reason"),
    [
        ([{"name": "a"}, {"name": "a"}], "two profiles named 'a'"),
        ([{"name": "a", "adapter": "carrier pigeon"}], "is none of direct, litellm, demo"),
        ([{"name": "a", "api_key_name": "SECRET_KEY"}], "SECRET_KEY is not set, or not an allowed variable"),
        ([], "no profile"),
    ],
)
def test_profiles_that_cannot_work_are_refused_together(profiles: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(BadProfile, match=reason):
        Registry([profile_from(profile) for profile in profiles], keys={"OPENAI_API_KEY": KEY})


def test_an_unknown_name_is_a_lookup_error() -> None:
    with pytest.raises(UnknownProfile):
        Registry((DEMO,), keys={}).model("nope")


def test_a_model_is_made_once() -> None:
    registry = Registry((DEMO,), keys={})

    assert registry.model("demo") is registry.model()


def test_a_model_that_cannot_stream_is_refused_before_anything_else() -> None:
    """A2.1."""
    mute = cast(ChatModel, object())
    registry = Registry((Profile(name="m", adapter="mute"),), keys={}, adapters={"mute": lambda *_: mute})

    with pytest.raises(NotStreaming, match="cannot stream"):
        registry.model()


async def test_a_site_can_bring_its_own_adapter() -> None:
    model = ScriptedModel([says("mine")])
    registry = Registry((Profile(name="m", adapter="mine"),), keys={}, adapters={"mine": lambda *_: model})

    assert (await ask(registry.model("m"))).text == "mine"
    await registry.aclose()


async def test_a_profile_with_a_key_speaks_to_its_provider(provider: ProviderProcess) -> None:
    provider.script(queue=[[{"status": 503, "body": {}}], [{"text": "hello"}]])
    variables = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": provider.base_url, "OPENAI_MODEL": "big"}
    registry = Registry(profiles_from_env(variables), keys=variables)

    reply = await ask(registry.model(), REQUEST)
    await registry.aclose()

    log = provider.log()
    assert reply.text == "hello"
    assert [entry["headers"]["X-Client-Request-Id"] for entry in log] == ["turn:1:0:1", "turn:1:0:2"]
    assert log[0]["body"]["model"] == "big"
    assert log[0]["authorized"]


def test_a_profile_says_by_itself_that_litellm_speaks_to_it() -> None:
    told = {"name": "claude", "model": "anthropic/claude-sonnet-4-5"}
    profiles = [profile_from({**told, "adapter": "litellm"}), profile_from({**told, "name": "gateway"})]
    registry = Registry(profiles, keys={})

    assert repr(registry.model("claude")) == "<RetryingModel <LiteLLMModel anthropic/claude-sonnet-4-5>>"
    assert repr(registry.model("gateway")) == "<RetryingModel <OpenAIModel anthropic/claude-sonnet-4-5>>"


def test_no_secret_shows_in_any_repr() -> None:
    variables = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://ada:canary@host/v1?key=canary"}
    registry = Registry(profiles_from_env(variables), keys=variables)

    shown = repr([registry, registry.profiles, registry.model(), vars(registry.model())])

    assert "canary" not in shown


def test_cost_counts_cached_tokens_at_their_own_price() -> None:
    usage = Usage(prompt=1_000_000, cached=400_000, completion=500_000, reasoning=100_000)
    prices = Prices(input=Decimal("2"), output=Decimal("8"), cached=Decimal("0.5"))

    assert cost(usage, prices=prices) == Decimal("5.4")


def test_without_a_cached_price_all_of_the_prompt_costs_the_same() -> None:
    prices = Prices(input=Decimal("2"), output=Decimal("8"))

    assert cost(Usage(prompt=1_000_000, cached=400_000), prices=prices) == 2
    assert cost(Usage(prompt=1), prices=prices) == Decimal("0.000002")


def test_without_prices_the_cost_is_not_known() -> None:
    assert cost(Usage(prompt=5), prices=None) is None


def test_prices_are_read_from_plain_numbers_exactly() -> None:
    profile = profile_from({"name": "a", "prices": {"input": 0.15, "output": "0.6"}})

    assert profile.prices == Prices(input=Decimal("0.15"), output=Decimal("0.6"))


@pytest.mark.parametrize(
    ("told", "adapter"),
    [
        ({"name": "gpt-4o"}, "direct"),
        ({"name": "a", "model": "anthropic/claude"}, "litellm"),
        ({"name": "a", "model": "anthropic/claude", "base_url": "https://h/v1"}, "direct"),
    ],
    ids=str,
)
def test_auto_is_litellm_for_a_provider_without_an_address(told: dict[str, Any], adapter: str) -> None:
    assert profile_from({**told, "adapter": "auto"}).adapter == adapter


def test_profiles_that_are_asked_in_the_same_way_share_a_model() -> None:
    registry = Registry([DEMO], keys={})
    told: dict[str, Any] = {"name": "a", "model": "m", "base_url": "https://h.example/v1"}
    model = registry.model_of(profile_from(told))

    same = [{**told, "name": "b", "system_prompt": "Be brief."}, {**told, "prices": {"input": 1, "output": 1}}]
    others = [{**told, "model": "n"}, {**told, "base_url": "https://g.example/v1"}, {**told, "public_only": True}]

    assert {id(registry.model_of(profile_from(each))) for each in same} == {id(model)}
    assert id(model) not in {id(registry.model_of(profile_from(each))) for each in others}


@pytest.mark.parametrize(
    ("asked", "sampling"),
    [
        (None, Sampling(temperature=0.5, max_tokens=90)),
        (Sampling(top_p=0.1), Sampling(temperature=0.5, top_p=0.1, max_tokens=90)),
        (Sampling(temperature=0.0, max_tokens=50), Sampling(temperature=0.0, max_tokens=50)),
        (Sampling(max_tokens=5000), Sampling(temperature=0.5, max_tokens=90)),
    ],
    ids=str,
)
def test_the_caller_chooses_value_by_value_and_within_the_limit(asked: Sampling | None, sampling: Sampling) -> None:
    profile = profile_from({"name": "a", "sampling": {"temperature": 0.5}, "max_output_tokens": 90})

    assert profile.sampled(asked) == sampling


def test_without_a_limit_the_caller_may_ask_for_any_length() -> None:
    profile = profile_from({"name": "a", "sampling": {"max_tokens": 10}})

    assert profile.sampled(None).max_tokens == 10
    assert profile.sampled(Sampling(max_tokens=5000)).max_tokens == 5000
    assert profile_from({"name": "a"}).sampled(None) == Sampling()
