"""What the REST views take and give."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from streaming.view import wire_time

if TYPE_CHECKING:
    Serializer = serializers.Serializer[Any]
    Time = serializers.Field[datetime, Any, str, Any]
else:
    Serializer, Time = serializers.Serializer, serializers.Field

TITLE = 200


class StrictSerializer(Serializer):
    """Refuses fields that it does not know."""

    def to_internal_value(self, data: Any) -> Any:
        """The validated fields of a JSON object."""
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, Mapping) else ()
        if unknown:
            raise serializers.ValidationError({str(unknown[0])[:TITLE]: ["Unknown field."]})
        return super().to_internal_value(data)


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


class NewConversation(StrictSerializer):
    """Nothing can be chosen yet."""


class Rename(StrictSerializer):
    """The new title; NUL and halves of surrogate pairs are refused."""

    title = serializers.CharField(max_length=TITLE)


class EventRange(StrictSerializer):
    """Which events: those after a number in order, or the newest before one (empty: before the end)."""

    after = serializers.IntegerField(min_value=0, max_value=10**18, required=False)
    before = serializers.IntegerField(min_value=1, max_value=10**18, required=False, allow_null=True)
    limit = serializers.IntegerField(min_value=1, max_value=500, default=100)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One direction or the other."""
        if "after" in attrs and "before" in attrs:
            raise serializers.ValidationError("Ask for events after a number or before one.")
        return attrs
