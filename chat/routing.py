"""The socket's address, to be included in a site's own routing."""

from django.urls import path

from chat.consumer import ConversationConsumer

websocket_urlpatterns = [
    path("ws/conversations/<uuid:conversation_id>/", ConversationConsumer.as_asgi(), name="conversation_socket")
]
