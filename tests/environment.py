"""The environment of the tests: fixed before the settings are read, so that nobody's own keys or `.env` leak in.

Loaded with `-p tests.environment`, before pytest-django imports the settings.
"""

import os
import signal

MINE = ("SECRET_KEY", "ALLOWED_HOSTS", "ALLOWED_ORIGINS", "REDIS_URL", "DATABASE_URL", "CHAT_MODEL", "LOG_LEVEL")

for name in list(os.environ):
    if name in MINE or name.startswith(("OPENAI_", "PROVIDER_", "DATABASE_")):
        del os.environ[name]

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell did this for the background; servers would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.update(ENV_FILE=os.devnull, DEBUG="0", HTTPS="0", SECRET_KEY="only-for-tests")
