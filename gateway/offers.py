"""Profiles as OpenAI's clients know models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from access.errors import UnknownModel
from access.principals import Principal
from access.profiles import profile_for, profiles_for
from history.conf import chat_settings
from llm.registry import Profile


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the key may use. `created` is a Unix time."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "verbatim"


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    object: str = "list"
    data: tuple[Model, ...]


def offers(principal: Principal) -> Models:
    """What the principal may choose from."""
    return Models(data=tuple(map(_offer, profiles_for(principal))))


def offer(principal: Principal, *, model: str) -> Model:
    """One of them. Raises `UnknownModel`."""
    with naming(model):
        return _offer(profile_for(principal, profile_in(model)))


def profile_in(model: str) -> str:
    """The name of the profile that is meant by a model's id. Raises `UnknownModel` for what is no id."""
    prefix = chat_settings().gateway_model_prefix
    name = model.removeprefix(prefix)
    if not name or not model.startswith(prefix):  # no name would mean the default
        raise UnknownModel
    return name


@contextmanager
def naming(model: str) -> Iterator[None]:
    """Where this model may turn out to be unknown: then the error says which."""
    try:
        yield
    except UnknownModel:
        raise UnknownModel(f"There is no model {model[:100]!r}. GET /v1/models lists those that there are.") from None


def _offer(profile: Profile) -> Model:
    return Model(id=chat_settings().gateway_model_prefix + profile.name, created=int(profile.created.timestamp()))
