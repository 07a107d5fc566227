"""What the REST views take and give."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from history.events import Kind
from streaming.view import wire_time

if TYPE_CHECKING:
    Serializer = serializers.Serializer[Any]
    Time = serializers.Field[datetime, Any, str, Any]
else:
    Serializer, Time = serializers.Serializer, serializers.Field

TITLE = 200
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


class WireTime(Time):
    """A time as frames have it: ISO 8601 in UTC with milliseconds."""

    def to_representation(self, value: datetime) -> str:
        """That text."""
        return wire_time(value)


class ConversationOut(Serializer):
    """A conversation in a list or alone; needs `history.conversations.with_active_turn`."""

    id = serializers.UUIDField()
    title = serializers.CharField()
    created_at = WireTime()
    updated_at = WireTime()
    active_turn = serializers.UUIDField(allow_null=True)


class NoFields(StrictSerializer):
    """Nothing can be chosen."""


class Rename(StrictSerializer):
    """The new title; NUL and halves of surrogate pairs are refused."""

    title = serializers.CharField(max_length=TITLE)


class ConversationQuery(Query):
    """Which conversations: a page of all, or of those whose title has the words."""

    search = serializers.CharField(max_length=TITLE, allow_blank=True, default="")
    cursor = serializers.CharField(allow_blank=True, required=False)


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
