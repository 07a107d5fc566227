"""The settings of all rooms, typed, with defaults with which the demo runs; read from `settings.CHAT` at call time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

COMPLETION_LOGS = ("off", "metadata", "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """One field per key of `CHAT`; the key is the field's name in capitals. Times are in seconds unless named."""

    profiles: tuple[Mapping[str, Any], ...] = ()
    """Model profiles beside the demo and what the environment names; see `llm.registry.Profile`."""
    default_profile: str = ""
    """The profile of a turn that names none; empty: the first profile that is not the demo, else the demo."""
    provider_keys: Mapping[str, str] = field(default_factory=dict)
    """Provider keys by the name of their variable: the allow-list, filled by the settings module."""
    private_providers: bool = False
    """Let profiles of the table name addresses that are not public, and all that litellm knows, as settings may."""
    tools: tuple[str, ...] = ("tools.builtin.current_time", "tools.builtin.calculator")
    """Dotted paths of the tools that models may call."""
    max_tool_hops: int = 8
    """Rounds of tools in one turn; then the model is asked once more, without tools."""
    max_text: int = 100_000
    """Code points of one user message."""
    max_message_bytes: int = 262_144
    """Bytes of one client message, before it is parsed."""
    max_depth: int = 32
    """Nesting of one client message, before it is parsed."""
    join_repeated_posts: bool = True
    """Let a browser that posts the same message again join the answer in progress, though it sends no request id."""
    lightspeed_roles: Mapping[str, str] = field(default_factory=dict)
    """`streaming_chat`: the `role` in the data of an event, by the event's name; none, unless it is named."""
    lightspeed_tools: bool = True
    """`streaming_chat`: show calls of tools and their results. If not, an empty token stands for each."""
    lightspeed_heartbeat_events: bool = False
    """`streaming_chat`: make heartbeats events, for clients that know them; they are comments."""
    gateway_model_prefix: str = ""
    """OpenAI's protocol: what the ids of models begin with, before the profile's name."""
    gateway_conversation_header: str = "X-Verbatim-Conversation-ID"
    """OpenAI's protocol: the header that names a conversation, in answers, and in requests that go on with it."""
    gateway_patience: float = 5.0
    """OpenAI's protocol: how long a stream waits for a first word, so that until then a failure has its HTTP status."""
    gateway_message_bytes: int = 8_388_608
    """OpenAI's protocol: bytes of one request, which brings everything that was said before, and images."""
    titles: bool = False
    """Have the model of a conversation's first answer be asked for a title too, in a small call of its own."""
    completion_logs: str = "metadata"
    """What the log tells of each model call: `off`, `metadata`, or `full`, with what was asked and answered."""
    completion_log_retention: float = 2_592_000.0
    """How long what was asked and answered is kept by `purge_completion_logs`; the rest of the log stays."""
    ephemeral_retention: float = 86_400.0
    """How long a conversation that was made for one request, and not gone on with, is kept by `purge_ephemeral`."""
    answer_timeout: float = 600.0
    """How long a caller of the JSON interface waits for an answer before it is told to come back for it."""
    max_turns: int = 1_000
    """Running turns of one process; more are refused with `busy`."""
    max_turns_per_user: int = 8
    """Running turns of one user; more are refused with `rate_limited`."""
    max_turns_per_key: int | None = None
    """Running turns asked for with one API key. None, here and below: no limit; a key's own limit comes first."""
    turns_per_minute_per_user: int | None = None
    """Turns that one user may start within any 60 seconds; more are refused with `rate_limited`."""
    turns_per_minute_per_key: int | None = None
    """Turns that may be started with one API key within any 60 seconds."""
    tokens_per_day_per_user: int | None = None
    """Tokens, prompts and answers together, that one user may use from midnight to midnight UTC."""
    tokens_per_day_per_key: int | None = None
    """Tokens that may be used with one API key in that time."""
    cost_per_day_per_user: Decimal | str | None = None
    """US dollars, such as `"2.50"`, that one user's model calls may cost in that time; their profiles need prices."""
    cost_per_day_per_key: Decimal | str | None = None
    """US dollars that model calls with one API key may cost in that time."""
    batch_interval: float = 0.15
    """How often new text of all drafts is written to the database, in one transaction."""
    batch_chars: int = 1_024
    """Unwritten code points of one draft that bring the next write forward."""
    lease: float = 10.0
    """How long a turn belongs to a process that no longer renews it."""
    lease_renewal: float = 3.0
    """How often leases are renewed, stops polled and lapsed turns looked for; at most a third of `LEASE`."""
    max_losses: int = 2
    """Processes that a turn may be lost with; with the last of them it fails, and what was said is kept."""
    doorbell_layer: str = "default"
    """The channel layer over which processes tell each other that there is something to read. In memory: none."""
    position_poll: float = 3.0
    """How often one query compares the position of all followed conversations."""
    heartbeat: float = 15.0
    """How often a viewer hears a heartbeat."""
    send_timeout: float = 60.0
    """How long a client may take nothing of what waits for it, before its connection is broken off."""
    recheck: float = 60.0
    """How often the rights of all open streams are checked again."""
    missing_draft: float = 2.0
    """How long a viewer that is ahead of the stored draft waits before what it saw is withdrawn."""
    drain: float = 15.0
    """How long running turns may go on after SIGTERM."""
    connect_timeout: float = 10.0
    """Upstream: until the connection to the provider stands."""
    first_token_timeout: float = 60.0
    """Upstream: until the first content."""
    stall_timeout: float = 30.0
    """Upstream: between two signs of life."""
    total_timeout: float = 600.0
    """Upstream: one model call in all."""
    allowed_origins: tuple[str, ...] = ()
    """Origins beside the site's own from which a browser session may open a socket."""
    socket_prefix: str = ""
    """Path under which a site includes `chat.routing`, such as `/live/`; empty: where it includes `chat.urls`."""
    metrics_token: str = ""
    """What Prometheus has to say to read `/metrics`, as a bearer token. Empty: nobody may, but with DEBUG everybody."""
    metrics_folder: str = ""
    """The folder that `PROMETHEUS_MULTIPROC_DIR` names, where processes that share a machine put their figures."""
    guests: bool = False
    """Sign every anonymous visitor in as a guest of their own; only ever with DEBUG."""

    def __post_init__(self) -> None:
        if self.lease < 3 * self.lease_renewal:
            raise ImproperlyConfigured(
                "CHAT: LEASE must be three times LEASE_RENEWAL or more, or no turn is taken over."
            )
        if self.completion_logs not in COMPLETION_LOGS:
            raise ImproperlyConfigured(f"CHAT: COMPLETION_LOGS is one of {', '.join(COMPLETION_LOGS)}.")


def chat_settings() -> ChatSettings:
    """The settings in force; `override_settings(CHAT=...)` works. Raises `ImproperlyConfigured` for unknown keys
    and for times that do not go together."""
    global _seen
    given: Mapping[str, Any] = getattr(settings, "CHAT", {})
    if _seen[0] is not given:
        unknown = sorted(set(given) - KEYS)
        if unknown:
            raise ImproperlyConfigured(f"CHAT has unknown keys: {', '.join(unknown)}")
        _seen = (given, ChatSettings(**{key.lower(): value for key, value in given.items()}))
    return _seen[1]


KEYS = frozenset(item.name.upper() for item in fields(ChatSettings))
_seen: tuple[Mapping[str, Any], ChatSettings] = ({}, ChatSettings())
