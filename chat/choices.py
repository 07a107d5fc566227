"""The models a person may choose from."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from access.profiles import profile_for, profiles_for
from chat.api import ApiView


class ModelList(ApiView):
    """`models/`"""

    def get(self, request: Request) -> Response:
        """Name, label and whether it is what a message without a model gets."""
        default = profile_for(self.principal).name
        return Response(
            [
                {"name": profile.name, "label": profile.label or profile.name, "default": profile.name == default}
                for profile in profiles_for(self.principal)
            ]
        )
