"""The addresses of the pages and of the REST views; a site includes them under any prefix."""

from django.urls import path, re_path

from chat import pages
from chat.lightspeed.ai_chat import Chat
from chat.lightspeed.views import Interrupt, StreamingChat
from chat.rest import browse
from chat.rest.answers import TurnResponse
from chat.rest.api import Nothing
from chat.rest.browse import Schema
from chat.rest.choices import ModelList
from chat.rest.completion_logs import CompletionLogDetail, CompletionLogs
from chat.rest.conversations import ConversationDetail, ConversationList
from chat.rest.events import ConversationEvents
from chat.rest.feedback import ConversationFeedback, GiveFeedback
from chat.rest.profiles import ProfileDetail, ProfileList
from chat.rest.streams import ConversationStream, TurnStream
from chat.rest.turns import ConversationTurns, TurnDetail, TurnRetry, TurnStop
from web.waiting import awaited

app_name = "verbatim"

urlpatterns = [
    path("", pages.home, name="home"),
    path("c/<uuid:conversation_id>/", pages.conversation, name="conversation_page"),
    path("login/", pages.sign_in, name="login"),
    path("logout/", pages.sign_out, name="logout"),
    path("api/schema/", Schema.as_view(), name="schema"),
    path("api/", browse.page, name="interface"),
    path("api/v1/conversations/", ConversationList.as_view(), name="conversations"),
    path("api/v1/conversations/<uuid:conversation_id>/", ConversationDetail.as_view(), name="conversation"),
    path("api/v1/conversations/<uuid:conversation_id>/events/", ConversationEvents.as_view(), name="events"),
    path("api/v1/conversations/<uuid:conversation_id>/stream/", ConversationStream.as_view(), name="stream"),
    path("api/v1/conversations/<uuid:conversation_id>/turns/", ConversationTurns.as_view(), name="turns"),
    path("api/v1/conversations/<uuid:conversation_id>/feedback/", ConversationFeedback.as_view(), name="feedback"),
    path("api/v1/conversations/<uuid:conversation_id>/completion-logs/", CompletionLogs.as_view(), name="logs"),
    path(
        "api/v1/conversations/<uuid:conversation_id>/completion-logs/<int:seq>/",
        CompletionLogDetail.as_view(),
        name="log",
    ),
    path("api/v1/turns/<uuid:turn_id>/", TurnDetail.as_view(), name="turn"),
    path("api/v1/turns/<uuid:turn_id>/stop/", TurnStop.as_view(), name="turn_stop"),
    path("api/v1/turns/<uuid:turn_id>/retry/", TurnRetry.as_view(), name="turn_retry"),
    path("api/v1/turns/<uuid:turn_id>/response/", awaited(TurnResponse.as_view()), name="response"),
    path("api/v1/turns/<uuid:turn_id>/stream/", TurnStream.as_view(), name="turn_stream"),
    path("api/v1/ai/feedback/", GiveFeedback.as_view(), name="give_feedback"),
    path("api/v1/ai/chat/", awaited(Chat.as_view()), name="chat"),
    path("api/v1/ai/streaming_chat/", StreamingChat.as_view(), name="streaming_chat"),
    path("api/v1/ai/streaming_chat/interrupt/", Interrupt.as_view(), name="interrupt"),
    path("api/v1/models/", ModelList.as_view(), name="models"),
    path("api/v1/profiles/", ProfileList.as_view(), name="profiles"),
    re_path(r"^api/v1/profiles/(?P<name>.+?)/?$", ProfileDetail.as_view(), name="profile"),
    path("api/v1/", Nothing.as_view(), name="api"),
    re_path(r"^api/v1/(?P<rest>[\s\S]+)", Nothing.as_view(), name="nothing"),  # <path:…> stops at a line break
]
