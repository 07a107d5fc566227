"""Node.js, and OpenAI's client for it."""

from __future__ import annotations

from pathlib import Path

import playwright

NODE = str(Path(playwright.__file__).parent / "driver" / "node")
"""The one that comes with Playwright, so that there always is one."""
OPENAI_JS = Path(__file__).parent / "system" / "openai_js" / "openai.min.mjs"
