"""The environment of the tests: fixed before the settings are read, so that nobody's own keys or `.env` leak in.

Loaded with `-p tests.environment`, before pytest-django imports the settings.
"""

import os
import signal

from bench.environment import FIXED, is_somebodys

for name in list(os.environ):
    if is_somebodys(name):
        del os.environ[name]

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell did this for the background; servers would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.update(FIXED)
