"""People, and a stage, as the faces have them."""

from tests.chat.conftest import ada as ada
from tests.streaming.conftest import stage as stage
