"""Four rings: pure, database, sockets in process, whole systems of real processes. Folders mirror the packages. The
Python client, a package of its own, is imported from where it is written."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "client"))
