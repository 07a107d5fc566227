"""What a profile is over HTTP."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Group
from rest_framework import serializers

from access.models import Adapter, Audience
from chat.rest.serializers import Serializer, StrictSerializer, WireTime

MOST_TOKENS = 2**31 - 1
MOST_SEED = 2**63 - 1
PRICE: dict[str, Any] = {"max_digits": 12, "decimal_places": 6, "min_value": Decimal(0)}


class SamplingIn(StrictSerializer):
    """How the model chooses its words; null leaves it to the provider."""

    temperature = serializers.FloatField(min_value=0, max_value=2, allow_null=True, required=False)
    top_p = serializers.FloatField(min_value=0, max_value=1, allow_null=True, required=False)
    seed = serializers.IntegerField(min_value=-MOST_SEED, max_value=MOST_SEED, allow_null=True, required=False)
    stop = serializers.ListField(
        child=serializers.CharField(max_length=100, trim_whitespace=False),
        max_length=4,
        allow_null=True,
        required=False,
    )


class PricesIn(StrictSerializer):
    """US dollars for a million tokens; `cached`, for prompt tokens read from the provider's cache, is as `input`
    without."""

    input = serializers.DecimalField(**PRICE)
    output = serializers.DecimalField(**PRICE)
    cached = serializers.DecimalField(**PRICE, allow_null=True, required=False)


class ProfileIn(StrictSerializer):
    """A profile: what is left out is empty in a new one and stays as it is in an old one. `sampling` and `prices` are
    replaced as a whole. `api_key_name` is the name of a variable that the site allows, never a key."""

    label = serializers.CharField(max_length=100, allow_blank=True, required=False)  # type: ignore[assignment]
    adapter = serializers.ChoiceField(choices=Adapter.values, required=False)
    model = serializers.CharField(max_length=200, allow_blank=True, required=False)
    base_url = serializers.CharField(max_length=500, allow_blank=True, required=False)
    api_key_name = serializers.CharField(max_length=100, allow_blank=True, required=False)
    system_prompt = serializers.CharField(allow_blank=True, trim_whitespace=False, required=False)
    tools = serializers.ListField(child=serializers.CharField(max_length=100), allow_null=True, required=False)
    sampling = SamplingIn(allow_null=True, required=False)
    max_output_tokens = serializers.IntegerField(min_value=1, max_value=MOST_TOKENS, allow_null=True, required=False)
    context_window = serializers.IntegerField(min_value=1, max_value=MOST_TOKENS, allow_null=True, required=False)
    prices = PricesIn(allow_null=True, required=False)
    audience = serializers.ChoiceField(choices=Audience.values, required=False)
    groups = serializers.ListField(child=serializers.CharField(max_length=150), required=False)

    def validate_groups(self, names: list[str]) -> list[Group]:
        """The groups of these names."""
        found = {group.name: group for group in Group.objects.filter(name__in=names)}
        missing = sorted(set(names) - found.keys())
        if missing:
            raise serializers.ValidationError(f"There is no group {missing[0]!r}.")
        return list(found.values())


class SamplingOut(Serializer):
    """How the model chooses its words; null leaves it to the provider."""

    temperature = serializers.FloatField(allow_null=True)
    top_p = serializers.FloatField(allow_null=True)
    seed = serializers.IntegerField(allow_null=True)
    stop = serializers.ListField(child=serializers.CharField(), allow_null=True)


class PricesOut(Serializer):
    """US dollars for a million tokens."""

    input = serializers.CharField(allow_null=True)
    output = serializers.CharField(allow_null=True)
    cached = serializers.CharField(allow_null=True)


class ProfileOut(Serializer):
    """A profile. `read_only`: it is one of the settings, and shown as it is in force. `problem` says why it is not
    offered, if it is not; null in other fields is what is left to the list of models or to the provider."""

    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a name that every field has
    adapter = serializers.CharField()
    model = serializers.CharField()
    base_url = serializers.CharField()
    api_key_name = serializers.CharField()
    system_prompt = serializers.CharField()
    tools = serializers.ListField(child=serializers.CharField(), allow_null=True)
    sampling = SamplingOut()
    max_output_tokens = serializers.IntegerField(allow_null=True)
    context_window = serializers.IntegerField(allow_null=True)
    prices = PricesOut(allow_null=True)
    audience = serializers.ChoiceField(choices=Audience.values)
    groups = serializers.ListField(child=serializers.CharField())
    created = WireTime()
    read_only = serializers.BooleanField()  # type: ignore[assignment]  # a name that every field has
    problem = serializers.CharField(allow_null=True)
