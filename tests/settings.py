"""The settings of the servers of tests: without daphne among the apps, which only `runserver` needs, and which would
have every other process start a third later."""

from bench.settings import *  # noqa: F403
from bench.settings import INSTALLED_APPS

INSTALLED_APPS.remove("daphne")
