"""The ASGI application: HTTP and WebSocket, in front of them whatever starts the engine of this process."""

from __future__ import annotations

import gc
import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
http = get_asgi_application()  # sets Django up, which the imports below need
_ = settings.SECRET_KEY  # an empty one raises: now, not at the first cookie

from chat.routing import elsewhere, websocket_urlpatterns  # noqa: E402
from streaming.asgi import with_engine  # noqa: E402
from streaming.log_lines import have_servers_write_so  # noqa: E402

have_servers_write_so()
sockets = URLRouter([*websocket_urlpatterns, elsewhere])
application = with_engine(ProtocolTypeRouter({"http": http, "websocket": sockets}))

# What is here now stays: not to look through it again and again keeps the collector's pauses short.
gc.collect()
gc.freeze()
gc.set_threshold(10_000, 20, 100)
