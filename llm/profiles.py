"""Profiles: which models a site offers, and how each is to be asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from yarl import URL

from llm.addresses import may_be_public
from llm.price_list import listed
from llm.prices import Prices
from llm.shapes import ready
from llm.types import Sampling, ToolSpec

OPENAI_HOST = "https://api.openai.com/"
OPENAI = OPENAI_HOST + "v1"
OPENAI_MODEL = "gpt-4o-mini"
CONTEXT_WINDOW = 128_000
"""Tokens of a model that neither its profile nor the list knows. Larger ones are used if a profile says so: each turn
pays for what it sends."""
NAME = re.compile(r"[\w.:/@+-]{1,100}")
NAME_RULE = "a name is 1 to 100 letters, digits and _.:/@+-"
NO_KEYS = frozenset({"OPENAI_BASE_URL", "OPENAI_MODEL"})
"""Variables that are allowed as those of keys are, but hold none."""
LONG_AGO = datetime.fromtimestamp(0, UTC)


class BadProfile(ValueError):
    """A profile that cannot be used; the message says which and why."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the model picker."""

    name: str
    """What clients say to choose it."""
    label: str = ""
    """What people read; the name, if empty."""
    adapter: str = "direct"
    """Who speaks to it: `direct` for providers that speak OpenAI's protocol, `litellm` for others, `demo`, or one the
    site adds. Only `auto` goes by the model's name: it is litellm for a `provider/model` without a base URL."""
    model: str = ""
    """What the provider calls it; the name, if empty. With `litellm` the provider comes first: `anthropic/…`."""
    base_url: str = ""
    """Where the provider is. With `direct` it has the version, `https://host/v1`, and is OpenAI, if empty."""
    api_key_name: str = ""
    """The name of the variable that holds the key, never the key; it must be among the allowed ones."""
    public_only: bool = False
    """The provider must be at a public address: what its name stands for is looked at before each connection."""
    system_prompt: str = ""
    tools: tuple[str, ...] | None = None
    """Which of the site's tools it gets, by name; None: all of them."""
    sampling: Sampling = Sampling()
    max_output_tokens: int | None = None
    """The most that one call's completion may have, whatever the caller asks for."""
    context_window: int = CONTEXT_WINDOW
    """Tokens of prompt and completion together. If it is not said, less where litellm's list of models says less."""
    prices: Prices | None = None
    """If they are not said, those of litellm's list, if the model is there; none at another `base_url` than the
    provider's own: what goes by that name there may cost something else, or nothing."""
    created: datetime = LONG_AGO
    """Since when it has been offered."""

    def __post_init__(self) -> None:
        _require(NAME.fullmatch(self.name), NAME_RULE)
        _require(self.context_window > 0, "context_window must be positive")
        _require(self.max_output_tokens is None or self.max_output_tokens > 0, "max_output_tokens must be positive")
        msgspec.structs.force_setattr(self, "label", self.label or self.name)
        msgspec.structs.force_setattr(self, "model", self.model or self.name)
        if self.adapter == "auto":
            is_foreign = "/" in self.model and not self.base_url
            msgspec.structs.force_setattr(self, "adapter", "litellm" if is_foreign else "direct")
        if self.adapter == "direct":
            msgspec.structs.force_setattr(self, "base_url", self.base_url or OPENAI)
        if self.adapter == "litellm":
            _require("/" in self.model, "with litellm a model is `provider/model`, such as `anthropic/…`")
        if self.base_url:
            _require(_is_http(self.base_url), "base_url must be an http or https address")
            may_be_asked = not self.public_only or may_be_public(URL(self.base_url).raw_host or "")
            _require(may_be_asked, "base_url must be a public address")

    def __repr__(self) -> str:
        # Not the fields: there may be credentials in base_url.
        return f"<Profile {self.name}>"

    def sampled(self, asked: Sampling | None) -> Sampling:
        """How a call of it is sampled: what the caller says, else what the profile says, within its limit."""
        said = msgspec.structs.asdict(asked) if asked is not None else {}
        sampling = msgspec.structs.replace(
            self.sampling, **{name: value for name, value in said.items() if value is not None}
        )
        most = [each for each in (sampling.max_tokens, self.max_output_tokens) if each is not None]
        return msgspec.structs.replace(sampling, max_tokens=min(most, default=None))

    def offered(self, tools: tuple[ToolSpec, ...]) -> tuple[ToolSpec, ...]:
        """Those of the site's tools that it gets."""
        return tools if self.tools is None else tuple(tool for tool in tools if tool.name in self.tools)


ready(Profile)


def profile_from(told: Mapping[str, Any]) -> Profile:
    """A profile from plain data, as in settings, completed from the list of models. Raises `BadProfile`."""
    try:
        return msgspec.convert({**_listed(told), **told}, Profile)
    except msgspec.ValidationError as error:
        raise BadProfile(f"profile {told.get('name', '?')!r}: {error}") from None


def profiles_from_env(variables: Mapping[str, str]) -> tuple[Profile, ...]:
    """The demo, and `openai` if `OPENAI_API_KEY` or `OPENAI_BASE_URL` is there; `OPENAI_MODEL` says which model."""
    key, base_url = variables.get("OPENAI_API_KEY"), variables.get("OPENAI_BASE_URL")
    if not key and not base_url:
        return (DEMO,)
    model = variables.get("OPENAI_MODEL") or OPENAI_MODEL
    provider = profile_from(
        {
            "name": "openai",
            "label": model,
            "model": model,
            "base_url": base_url or OPENAI,
            "api_key_name": "OPENAI_API_KEY" if key else "",
        }
    )
    return (provider, DEMO)


def _listed(told: Mapping[str, Any]) -> dict[str, Any]:
    """What the list of models knows of one that a profile may leave out."""
    model = told.get("model") or told.get("name")
    entry = listed(model) if isinstance(model, str) else None
    if entry is None:
        return {}
    is_elsewhere = not str(told.get("base_url") or OPENAI).startswith(OPENAI_HOST)
    window = min(entry.max_input_tokens or CONTEXT_WINDOW, CONTEXT_WINDOW)
    return {"prices": None if is_elsewhere else entry.prices, "context_window": window}


def _require(condition: object, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def _is_http(address: str) -> bool:
    try:
        url = URL(address)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


DEMO = Profile(name="demo", label="Demo (no key needed)", adapter="demo", context_window=32_000)
