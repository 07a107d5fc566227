"""The site's settings with what a test or a measurement changes about the chat: `CHAT_OVERRIDES`, as JSON."""

import json
import os

from config.settings import *  # noqa: F403
from config.settings import CHAT

CHAT |= json.loads(os.environ.get("CHAT_OVERRIDES", "{}"))
