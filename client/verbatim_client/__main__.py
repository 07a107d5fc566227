"""`python -m verbatim_client URL`: a chat in the terminal."""

from __future__ import annotations

import argparse
import os
import sys
from getpass import getpass
from pathlib import Path

from verbatim_client.errors import VerbatimError
from verbatim_client.screen import Screen
from verbatim_client.sync import RemoteConversation
from verbatim_client.terminal import Chat

KEY = "VERBATIM_API_KEY"
"""The variable that the API key is in; a key on the command line would be seen by everybody on the machine."""


def main() -> int:
    """The exit status."""
    options = _parser().parse_args()
    screen = Screen(sys.stdout, has_colours=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    try:
        with RemoteConversation(
            options.url,
            key=_key(options.key_file),
            conversation=options.conversation,
            log_folders=dict(options.logs) or None,
        ) as remote:
            screen.note("conversation", remote.id)
            Chat(remote, screen=screen, ask=lambda: input("> "), model=options.model).run()
    except VerbatimError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m verbatim_client",
        description="Chat with a Verbatim site. Ctrl-C stops an answer; twice, or Ctrl-D, leaves.",
        epilog=f"The API key is in the variable {KEY} or in a file, or is asked for.",
    )
    parser.add_argument("url", help="the site's address, such as http://127.0.0.1:8000")
    parser.add_argument("--conversation", metavar="ID", help="go on with this conversation; a new one without")
    parser.add_argument("--model", metavar="NAME", help="the profile that answers; the site's choice without")
    parser.add_argument("--key-file", metavar="FILE", type=Path, help="a file with the API key")
    parser.add_argument(
        "--logs", metavar="USAGE=FOLDER", type=_folder, action="append", default=[],
        help="write the completion logs of this usage id, such as agent or title, to this folder; may be repeated",
    )  # fmt: skip
    return parser


def _folder(text: str) -> tuple[str, Path]:
    usage_id, said, folder = text.partition("=")
    if not said:
        raise argparse.ArgumentTypeError(f"{text!r} is not USAGE=FOLDER")
    return usage_id, Path(folder)


def _key(file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").strip()
    return os.environ.get(KEY) or getpass("API key: ")


if __name__ == "__main__":
    sys.exit(main())
