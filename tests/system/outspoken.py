"""The settings of servers whose words are looked through: what goes to the standard output comes with the rest."""

import io
import os
import sys

from tests.settings import *  # noqa: F403

os.dup2(2, 1)
assert isinstance(sys.stdout, io.TextIOWrapper)
sys.stdout.reconfigure(line_buffering=True)
