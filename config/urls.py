"""What this site answers: the chat at its root, the admin, and two questions of an orchestrator."""

from django.contrib import admin
from django.urls import include, path

from config import health

urlpatterns = [
    path("live/", health.live, name="live"),
    path("ready/", health.ready, name="ready"),
    path("admin/", admin.site.urls),
    path("", include("chat.urls")),
]
