"""What litellm's list of models completes in a profile, and what it does not touch."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import pytest

from llm import price_list
from llm.price_list import Listed, listed
from llm.prices import Prices
from llm.profiles import CONTEXT_WINDOW, profile_from


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gemini/gemini-2.5-pro", "anthropic/claude-sonnet-4-5"])
def test_a_profile_without_prices_has_those_of_the_list(model: str) -> None:
    entry = listed(model)
    profile = profile_from({"name": model})

    assert entry is not None
    assert entry.input_cost_per_token is not None
    assert entry.output_cost_per_token is not None
    assert profile.prices is not None
    assert profile.prices.input == entry.input_cost_per_token * 1_000_000 > 0
    assert profile.prices.output == entry.output_cost_per_token * 1_000_000 > 0
    assert profile.prices.cached is not None
    assert profile.prices.cached < profile.prices.input


def test_prices_of_the_profile_win() -> None:
    profile = profile_from({"name": "gpt-4o-mini", "prices": {"input": 0, "output": 0}})

    assert profile.prices == Prices(input=Decimal(0), output=Decimal(0))
    assert profile_from({"name": "gpt-4o-mini", "prices": None}).prices is None


@pytest.mark.parametrize("model", ["scripted", "nobody/gpt-4o-mini", "anthropic/gpt-4o-mini", "sample_spec"])
def test_a_model_that_is_not_in_the_list_has_no_prices(model: str) -> None:
    assert profile_from({"name": "a", "model": model}).prices is None


@pytest.mark.parametrize(
    ("profile", "priced"),
    [
        ({"model": "gpt-4o-mini"}, True),
        ({"model": "gpt-4o-mini", "base_url": "https://api.openai.com/v1"}, True),
        ({"model": "gpt-4o-mini", "base_url": "http://127.0.0.1:8000/v1"}, False),
        ({"model": "openai/gpt-4o", "adapter": "litellm"}, True),
        ({"model": "openai/gpt-4o", "adapter": "litellm", "base_url": "http://127.0.0.1:8000/v1"}, False),
    ],
)
def test_a_model_of_the_same_name_elsewhere_has_not_the_prices_of_the_list(
    profile: dict[str, str], *, priced: bool
) -> None:
    assert (profile_from({"name": "a", **profile}).prices is not None) is priced


def test_a_small_context_window_is_known_and_a_large_one_is_for_the_profile_to_choose() -> None:
    small, large = listed("gpt-4"), listed("gemini/gemini-2.5-pro")
    assert small is not None
    assert large is not None
    assert large.max_input_tokens is not None
    assert large.max_input_tokens > CONTEXT_WINDOW

    assert profile_from({"name": "gpt-4"}).context_window == small.max_input_tokens == 8192
    assert profile_from({"name": "gpt-4", "context_window": 4000}).context_window == 4000
    assert profile_from({"name": "gemini/gemini-2.5-pro"}).context_window == CONTEXT_WINDOW


@pytest.mark.parametrize(
    "entry",
    [
        Listed(),
        Listed(input_cost_per_token=Decimal(1)),
        Listed(input_cost_per_token=Decimal(-1), output_cost_per_token=Decimal(1)),
    ],
)
def test_half_a_price_is_none(entry: Listed) -> None:
    assert entry.prices is None


def test_all_entries_but_the_sample_can_be_read() -> None:
    unreadable = [name for name, raw in price_list._entries().items() if price_list._entry(raw) is None]

    assert unreadable == ["sample_spec"]


def test_without_the_package_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    listed.cache_clear()

    assert listed("gpt-4o-mini") is None

    listed.cache_clear()


def test_reading_the_list_does_not_import_litellm() -> None:
    program = """
import sys
from llm.profiles import profile_from
from llm.registry import Registry
profile = profile_from({"name": "claude", "adapter": "litellm", "model": "anthropic/claude-sonnet-4-5"})
Registry([profile], keys={}).model("claude")
print(profile.prices is not None, "litellm" in sys.modules, "httpx" in sys.modules)
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["True", "False", "False"]
