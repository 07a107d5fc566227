"""The models of a site by name, each made once from its profile and asked again where that may help."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

from llm.deadlines import Deadlines
from llm.demo import DemoModel
from llm.errors import NotStreaming
from llm.openai import OpenAIModel
from llm.profiles import BadProfile, Profile, profile_from, profiles_from_env
from llm.redaction import redacted
from llm.retries import RetryingModel, with_retries
from llm.through_litellm import LiteLLMModel
from llm.types import ChatModel

__all__ = ["BadProfile", "Profile", "Registry", "UnknownProfile", "profile_from", "profiles_from_env"]

Adapter: TypeAlias = Callable[[Profile, str | None, Deadlines], ChatModel]
"""Makes the model of a profile, given its key."""


class Way(NamedTuple):
    """How a model is asked. Profiles that agree in it share the model, and so its connections."""

    adapter: str
    model: str
    base_url: str
    api_key_name: str
    public_only: bool

    @classmethod
    def of(cls, profile: Profile) -> Way:
        """That of a profile."""
        return cls(*(getattr(profile, name) for name in cls._fields))


class UnknownProfile(LookupError):
    """There is no profile of that name."""


def _direct(profile: Profile, key: str | None, deadlines: Deadlines) -> ChatModel:
    return OpenAIModel(
        profile.base_url, model=profile.model, api_key=key, deadlines=deadlines, public_only=profile.public_only
    )


def _litellm(profile: Profile, key: str | None, deadlines: Deadlines) -> ChatModel:
    return LiteLLMModel(profile.model, base_url=profile.base_url, api_key=key, deadlines=deadlines)


def _demo(profile: Profile, key: str | None, deadlines: Deadlines) -> ChatModel:
    return DemoModel()


ADAPTERS: Mapping[str, Adapter] = {"direct": _direct, "litellm": _litellm, "demo": _demo}


class Registry:
    """Which models there are. Making one raises `BadProfile` for what cannot work, rather than the first turn."""

    def __init__(
        self,
        profiles: Iterable[Profile],
        *,
        keys: Mapping[str, str],
        default: str = "",
        deadlines: Deadlines | None = None,
        adapters: Mapping[str, Adapter] = ADAPTERS,
    ) -> None:
        """`keys` holds the secrets by the name of their variable: the allow-list. `default` is a profile's name or,
        if no profile has it, its model; empty, it is the first that is not the demo."""
        self._profiles: dict[str, Profile] = {}
        self._keys = keys
        self._deadlines = deadlines or Deadlines()
        self._adapters = adapters
        self._models: dict[Way, RetryingModel] = {}
        for profile in profiles:
            self.check(profile)
            self._profiles[profile.name] = profile
        self.default = self._default(default)

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """All of them, in the order given."""
        return tuple(self._profiles.values())

    def profile(self, name: str = "") -> Profile:
        """The profile of that name, or the default. Raises `UnknownProfile`."""
        if not name:
            return self.default
        try:
            return self._profiles[name]
        except KeyError:
            raise UnknownProfile(name) from None

    def check(self, profile: Profile) -> None:
        """Whether one more profile would work here. Raises `BadProfile`."""
        if profile.name in self._profiles:
            raise BadProfile(f"there are two profiles named {profile.name!r}")
        if profile.adapter not in self._adapters:
            known = ", ".join(self._adapters)
            raise BadProfile(f"profile {profile.name!r}: adapter {profile.adapter!r} is none of {known}")
        if profile.api_key_name and not self._keys.get(profile.api_key_name):
            name = redacted(profile.api_key_name)  # which may be the key itself, by mistake
            raise BadProfile(f"profile {profile.name!r}: {name} is not set, or not an allowed variable")

    def model(self, name: str = "") -> ChatModel:
        """The model of that profile, or of the default. Raises `UnknownProfile` or `NotStreaming`."""
        return self.model_of(self.profile(name))

    def model_of(self, profile: Profile) -> ChatModel:
        """The model of a profile that has been checked, whether it is one of these or not; always the same one. Raises
        `NotStreaming` where an adapter made something that cannot stream."""
        way = Way.of(profile)
        if way not in self._models:
            key = self._keys.get(profile.api_key_name) if profile.api_key_name else None
            made = self._adapters[profile.adapter](profile, key, self._deadlines)
            if not callable(getattr(made, "stream", None)):
                raise NotStreaming
            self._models[way] = with_retries(made, total=self._deadlines.total)
        return self._models[way]

    async def aclose(self) -> None:
        """Close the connections that the running loop's calls have left open for the next."""
        for model in self._models.values():
            await model.aclose()

    def _default(self, name: str) -> Profile:
        if not self._profiles:
            raise BadProfile("there is no profile at all")
        if name in self._profiles:
            return self._profiles[name]
        fits = [profile for profile in self.profiles if (profile.model == name if name else profile.adapter != "demo")]
        if name and not fits:
            raise BadProfile(f"the default model {name!r} is none of {', '.join(self._profiles)}")
        return (fits or self.profiles)[0]
