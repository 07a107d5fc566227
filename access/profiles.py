"""Which models there are for whom: the profiles of the settings, and the models made from them."""

from __future__ import annotations

import threading

from access.errors import UnknownModel
from access.principals import Principal
from history.conf import ChatSettings, chat_settings
from llm.deadlines import Deadlines
from llm.registry import Profile, Registry, UnknownProfile, profile_from, profiles_from_env
from llm.types import ChatModel

_lock = threading.Lock()
_made: tuple[ChatSettings, Registry] | None = None


def profiles_for(principal: Principal) -> tuple[Profile, ...]:
    """The models that the principal may choose from, in the order of the settings."""
    return registry().profiles


def profile_for(principal: Principal, name: str | None = None) -> Profile:
    """The profile of that name, if the principal may use it, or the default. Raises `UnknownModel`."""
    return profile_of(name or "")


def profile_named(principal: Principal, *, provider: str, model: str) -> Profile:
    """The profile that is meant by a provider and a model, if the principal may use it. Raises `UnknownModel`.

    The provider is the profile's name, its adapter, or what stands before the first slash of its model; the model is
    the profile's name, or its model, with or without that.
    """
    for profile in profiles_for(principal):
        *prefix, rest = profile.model.split("/", 1)
        if provider in {profile.name, profile.adapter, *prefix} and model in {profile.name, profile.model, rest}:
            return profile
    raise UnknownModel


def profile_of(name: str = "") -> Profile:
    """The profile of that name, whoever asks, or the default. Raises `UnknownModel`."""
    try:
        return registry().profile(name)
    except UnknownProfile:
        raise UnknownModel from None


def model_of(name: str) -> ChatModel:
    """The model of the profile of that name. Raises `UnknownModel`."""
    try:
        return registry().model(name)
    except UnknownProfile:
        raise UnknownModel from None


def registry() -> Registry:
    """The registry for the settings in force, made once. Raises `BadProfile`."""
    global _made
    settings = chat_settings()
    with _lock:
        if _made is None or _made[0] is not settings:
            _made = (settings, _registry(settings))
        return _made[1]


def _registry(settings: ChatSettings) -> Registry:
    own = tuple(profile_from(told) for told in settings.profiles)
    return Registry(
        (*own, *profiles_from_env(settings.provider_keys)),
        keys=settings.provider_keys,
        default=settings.default_profile,
        deadlines=Deadlines(
            connect=settings.connect_timeout,
            first_token=settings.first_token_timeout,
            stall=settings.stall_timeout,
            total=settings.total_timeout,
        ),
    )
