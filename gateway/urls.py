"""The addresses of the gateway; a site includes them under any prefix, and that is the `base_url` of its clients."""

from django.urls import path, re_path

from gateway.views import ChatCompletions, GatewayModel, GatewayModels, Nothing
from web.waiting import awaited

app_name = "gateway"

urlpatterns = [
    path("models", GatewayModels.as_view(), name="models"),
    path("models/<path:model>", GatewayModel.as_view(), name="model"),
    path("chat/completions", awaited(ChatCompletions.as_view()), name="chat_completions"),
    path("", Nothing.as_view(), name="gateway"),
    re_path(r"^(?P<rest>[\s\S]+)", Nothing.as_view(), name="nothing"),  # <path:…> stops at a line break
]
