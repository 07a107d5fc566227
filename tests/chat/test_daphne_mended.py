"""What daphne does otherwise than it should, and here does as it should."""

from __future__ import annotations

import pytest
from daphne.ws_protocol import WebSocketProtocol

from chat import daphne_mended


@pytest.mark.parametrize("state", [WebSocketProtocol.STATE_CLOSING, WebSocketProtocol.STATE_CLOSED])
def test_what_is_sent_to_a_client_that_has_gone_is_an_os_error_as_asgi_has_it(state: int) -> None:
    mended = type("Mended", (WebSocketProtocol,), {})
    daphne_mended._tell_that_nobody_is_there(mended)
    protocol = mended()
    protocol.state = state

    with pytest.raises(OSError, match="gone"):
        protocol.serverSend("Hello.")
