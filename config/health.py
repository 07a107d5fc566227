"""Two questions of an orchestrator: does the process live, and should it get traffic?"""

import logging

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.middleware import common
from django.views.decorators.http import require_safe

from streaming.engine import is_draining

logger = logging.getLogger(__name__)


@require_safe
async def live(request: HttpRequest) -> HttpResponse:
    """The process answers; nothing else is looked at, so that a database outage restarts nobody."""
    return HttpResponse("alive\n", content_type="text/plain")


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """The process takes new work: its database answers and it is not on its way out. Else 503."""
    if is_draining():
        return HttpResponse("draining\n", status=503, content_type="text/plain")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        logger.exception("Not ready: the database does not answer")
        return HttpResponse("no database\n", status=503, content_type="text/plain")
    return HttpResponse("ready\n", content_type="text/plain")


class CommonMiddleware(common.CommonMiddleware):
    """Django's, which lets nobody in who calls the site by another name than it has; but a load balancer asks a process
    by its address, and so does Prometheus, and no setting knows that."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        return None if request.path_info in ("/live/", "/ready/", "/metrics") else super().process_request(request)
