"""The models a person may choose from."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from access.profiles import profile_for, profiles_for
from chat.rest.api import ApiView
from chat.rest.serializers import Serializer
from web.schema import describes


class ModelOut(Serializer):
    """A model to choose; `default` is the one that a message without a model gets."""

    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a name that every field has
    default = serializers.BooleanField()


class ModelList(ApiView):
    """`models/`"""

    @describes({200: ModelOut(many=True)})
    def get(self, request: Request) -> Response:
        """Name, label and whether it is what a message without a model gets."""
        default = profile_for(self.principal).name
        return Response(
            [
                {"name": profile.name, "label": profile.label or profile.name, "default": profile.name == default}
                for profile in profiles_for(self.principal)
            ]
        )
