"""What the REST views take and give."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from history.events import Kind, Outcome
from history.models import Feedback, Sentiment, Status, Turn
from streaming.view import wire_time

if TYPE_CHECKING:
    Serializer = serializers.Serializer[Any]
    Time = serializers.Field[datetime, Any, str, Any]
else:
    Serializer, Time = serializers.Serializer, serializers.Field

TITLE = 200
COMMENT = 2_000
MOST = 10**18
"""The highest number of an event that can be asked for."""


class StrictSerializer(Serializer):
    """Refuses fields that it does not know."""

    def to_internal_value(self, data: Any) -> Any:
        """The validated fields of a JSON object."""
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, Mapping) else ()
        if unknown:
            raise serializers.ValidationError({str(unknown[0])[:TITLE]: ["Unknown field."]})
        return super().to_internal_value(data)


class Query(StrictSerializer):
    """What stands behind the question mark: each parameter once, unless it may be one of several."""

    def to_internal_value(self, data: Any) -> Any:
        """The validated parameters of a `QueryDict`."""
        plain: dict[str, Any] = {}
        for name, values in data.lists():
            several = isinstance(self.fields.get(name), serializers.MultipleChoiceField)
            if len(values) > 1 and not several:
                raise serializers.ValidationError({str(name)[:TITLE]: ["Given more than once."]})
            plain[name] = values if several else values[0]
        return super().to_internal_value(plain)


@extend_schema_field(OpenApiTypes.DATETIME)
class WireTime(Time):
    """A time as frames have it: ISO 8601 in UTC with milliseconds."""

    def to_representation(self, value: datetime) -> str:
        """That text."""
        return wire_time(value)


class ConversationOut(Serializer):
    """A conversation in a list or alone; needs `history.conversations.with_active_turn`."""

    id = serializers.UUIDField()
    title = serializers.CharField()
    archived = serializers.BooleanField()
    created_at = WireTime()
    updated_at = WireTime()
    active_turn = serializers.UUIDField(allow_null=True)


class NoFields(StrictSerializer):
    """Nothing can be chosen."""


class ConversationChange(StrictSerializer):
    """The new title, in which NUL and halves of surrogate pairs are refused, or whether it is put away; or both."""

    title = serializers.CharField(max_length=TITLE, required=False)
    archived = serializers.BooleanField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """There is something to change."""
        if not attrs:
            raise serializers.ValidationError({"title": ["This field is required."]})
        return attrs


class PageQuery(Query):
    """Which page of a list; without a cursor the first."""

    cursor = serializers.CharField(allow_blank=True, required=False)


class ConversationQuery(PageQuery):
    """Which conversations: a page of all, or of those whose title has the words; those that are put away, or the
    others."""

    archived = serializers.BooleanField(default=False)
    search = serializers.CharField(max_length=TITLE, allow_blank=True, default="")


class AfterQuery(Query):
    """From where on to follow; from the beginning without it."""

    after = serializers.CharField(allow_blank=True, default="")


class StreamQuery(AfterQuery):
    """From where on to follow a conversation, and whether with the contents of completion logs."""

    logs = serializers.ChoiceField(choices=["content"], required=False)


class CompletionLogQuery(PageQuery):
    """Which calls: in one role, of one model or turn, that ended so; all without any of these."""

    usage_id = serializers.CharField(max_length=100, allow_blank=True, required=False)
    model = serializers.CharField(max_length=200, allow_blank=True, required=False)
    outcome = serializers.ChoiceField(choices=get_args(Outcome), required=False)
    turn = serializers.UUIDField(required=False)


class DownloadQuery(Query):
    """Whether it is to be kept as a file."""

    download = serializers.BooleanField(default=False)


class TokensOut(Serializer):
    """Tokens of a call. `cached` is part of `prompt`, `reasoning` of `completion`."""

    prompt = serializers.IntegerField(default=0)
    completion = serializers.IntegerField(default=0)
    cached = serializers.IntegerField(default=0)
    reasoning = serializers.IntegerField(default=0)


class CallErrorOut(Serializer):
    """Why a call failed."""

    code = serializers.CharField()
    message = serializers.CharField()


class CompletionLogOut(Serializer):
    """A model call; `id` is the number of its event. Times are in milliseconds, `cost` in US dollars."""

    id = serializers.IntegerField()
    turn = serializers.UUIDField(allow_null=True)
    at = WireTime()
    usage_id = serializers.CharField()
    model = serializers.CharField()
    filename = serializers.CharField()
    outcome = serializers.ChoiceField(choices=get_args(Outcome))
    attempt = serializers.IntegerField(allow_null=True)
    hop = serializers.IntegerField(allow_null=True)
    started_at = serializers.CharField(allow_null=True)
    latency_ms = serializers.IntegerField(allow_null=True)
    first_token_ms = serializers.IntegerField(allow_null=True)
    usage = TokensOut()
    estimated = serializers.BooleanField()
    cost = serializers.CharField(allow_null=True)
    retries = serializers.IntegerField()
    finish_reason = serializers.CharField(allow_null=True)
    error = CallErrorOut(allow_null=True)
    has_content = serializers.BooleanField()


class WholeCompletionLogOut(CompletionLogOut):
    """A model call with what was asked and answered: left out for those who may not read it, null if it is not kept."""

    content = serializers.DictField(allow_null=True, required=False)


class EventRange(Query):
    """Which events: those between two numbers, of these kinds (all without any), from the oldest or the newest on."""

    after = serializers.IntegerField(min_value=0, max_value=MOST, default=0)
    before = serializers.IntegerField(min_value=1, max_value=MOST, default=None)
    kind = serializers.MultipleChoiceField(
        choices=[kind.value for kind in Kind],
        default=set,
        error_messages={"invalid_choice": f"There is no such kind. Choose from {', '.join(Kind)}."},
    )
    order = serializers.ChoiceField(
        choices=["asc", "desc"], default="asc", error_messages={"invalid_choice": "Choose from asc, desc."}
    )
    limit = serializers.IntegerField(min_value=1, max_value=500, default=100)


class SentimentField(serializers.ChoiceField):
    """What somebody thinks: the number itself, neither its text nor a truth value."""

    default_error_messages = {"invalid_choice": "0 is like, 1 is dislike, null takes it back."}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> Any:
        """That sentiment."""
        if type(data) is not int or data not in Sentiment.values:
            self.fail("invalid_choice", input=data)
        return Sentiment(data)


class FeedbackIn(StrictSerializer):
    """What somebody thinks of a turn; without sentiment nothing any more."""

    turn = serializers.UUIDField()
    sentiment = SentimentField(choices=Sentiment.choices, allow_null=True)
    comment = serializers.CharField(max_length=COMMENT, allow_blank=True, trim_whitespace=False, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A comment says why somebody likes or dislikes."""
        if attrs["sentiment"] is None and attrs["comment"]:
            raise serializers.ValidationError({"comment": ["A comment goes with a sentiment."]})
        return attrs


class FeedbackOut(Serializer):
    """What somebody thinks of a turn."""

    turn = serializers.UUIDField(source="turn_id")
    sentiment = serializers.ChoiceField(choices=Sentiment.choices)
    comment = serializers.CharField()
    at = WireTime()


class Retry(StrictSerializer):
    """How a message is asked again: of another model, or of the same."""

    model = serializers.CharField(max_length=100, required=False)


class UsageOut(Serializer):
    """Tokens of a turn; zero until it has ended."""

    prompt = serializers.IntegerField(source="prompt_tokens")
    completion = serializers.IntegerField(source="completion_tokens")
    cached = serializers.IntegerField(source="cached_tokens")
    reasoning = serializers.IntegerField(source="reasoning_tokens")


class TurnOut(Serializer):
    """How a turn stands; needs `given`, the feedback of whoever asks. `cost` is in US dollars, null without prices."""

    id = serializers.UUIDField()
    conversation = serializers.UUIDField(source="conversation_id")
    parent = serializers.UUIDField(source="parent_id", allow_null=True)  # type: ignore[assignment]  # the turn's
    replaces = serializers.UUIDField(source="replaces_id", allow_null=True)
    request_id = serializers.CharField(allow_null=True)
    model = serializers.CharField(source="profile")
    status = serializers.ChoiceField(choices=Status.choices)
    finish_reason = serializers.SerializerMethodField()
    error_code = serializers.SerializerMethodField()
    usage = UsageOut(source="*")
    cost = serializers.SerializerMethodField()
    created_at = WireTime()
    started_at = WireTime(allow_null=True)
    ended_at = WireTime(allow_null=True)
    feedback = serializers.SerializerMethodField()

    def get_finish_reason(self, turn: Turn) -> str | None:
        """Null until it has ended, or when there was none."""
        return turn.finish_reason or None

    def get_error_code(self, turn: Turn) -> str | None:
        """Null unless it failed."""
        return turn.error_code or None

    def get_cost(self, turn: Turn) -> str | None:
        """Without the zeros that its column adds."""
        return None if turn.cost is None else format(turn.cost.normalize(), "f")

    @extend_schema_field(FeedbackOut(allow_null=True))
    def get_feedback(self, turn: Any) -> dict[str, Any] | None:
        """Null without any."""
        given: list[Feedback] = turn.given
        return FeedbackOut(given[0]).data if given else None
