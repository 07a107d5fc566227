"""What this site answers: the chat at its root, OpenAI's protocol, the admin, and what operators ask."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from config import health
from web.metrics import metrics

urlpatterns = [
    path("live/", health.live, name="live"),
    path("ready/", health.ready, name="ready"),
    path("metrics", metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path("favicon.ico", RedirectView.as_view(url=static("verbatim/icon.svg"))),  # the admin's pages name none
    path("v1/", include("gateway.urls")),
    path("", include("chat.urls")),
]
