"""The environment of the tests: fixed before the settings are read, so that nobody's own keys or `.env` leak in.

Loaded with `-p tests.environment`, before pytest-django imports the settings.
"""

import os

from bench.environment import FIXED, heed_interrupts, is_somebodys

for name in list(os.environ):
    if is_somebodys(name):
        del os.environ[name]

os.environ.update(FIXED)
heed_interrupts()
