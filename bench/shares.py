"""Where a server's Python time goes: what `py-spy record --gil --format raw` wrote in, each owner's share out.

`python -m bench.shares profile.txt`. A sample counts for the innermost frame whose file is known here; what is beneath
it, say the standard library, counts for who called it.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

KNOWN = [
    "llm",
    "tools",
    "history",
    "access",
    "streaming",
    "chat",
    "gateway",
    "web",
    "aiohttp",
    "uvicorn",
    "websockets",
    "daphne",
    "autobahn",
    "twisted",
    "channels",
    "django",
    "asyncio",
]
FILE = re.compile(rf"\((?:{'|'.join(f'(?P<{name}>{name}/)' for name in KNOWN)})")


def owner(stack: str) -> str:
    """Whose sample this is."""
    for frame in reversed(stack.split(";")):
        found = FILE.search(frame)
        if found:
            return str(found.lastgroup)
    return "other"


def shares(lines: Iterable[str]) -> Counter[str]:
    """Samples by owner. Each line is a stack, outermost first, and its count."""
    counted: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rstrip().rpartition(" ")
        counted[owner(stack)] += int(count)
    return counted


def main() -> None:
    """The command line."""
    counted = shares(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
    for name, count in counted.most_common():
        print(f"{100 * count / counted.total():5.1f} % {name}")


if __name__ == "__main__":
    main()
