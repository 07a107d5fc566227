"""The process that others are forked from. It has imported libraries and nothing of Verbatim, and runs no loop and no
thread, which a fork would share or lose.
"""

from __future__ import annotations

import gc
import importlib
import os
import runpy
import socket
import sys

import msgspec

from tests.nursery.born import LONGEST, Born

LIBRARIES = (
    "aiohttp", "autobahn.websocket.protocol", "channels.generic.websocket", "channels.routing", "channels_redis.pubsub",
    "dj_database_url", "django.contrib.admin", "django.contrib.postgres.fields", "django.core.management",
    "django.db.backends.postgresql.base", "django.db.backends.sqlite3.base", "django.test.signals", "httptools",
    "psycopg_pool", "pydantic", "rest_framework.serializers", "servestatic.middleware", "twisted.protocols.tls",
    "twisted.web.http", "uvicorn.main", "uvicorn.protocols.websockets.websockets_sansio_impl", "uvloop",
)  # fmt: skip
"""What a server imports and what can be imported without settings or a reactor."""


def main() -> None:
    """Until the one that asks is gone; in a process that was asked for, until that ends."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # no collector of a new process has to look through all that
    with socket.socket(fileno=int(sys.argv[1])) as line:
        while True:
            message, descriptors, _, _ = socket.recv_fds(line, LONGEST, 2)
            if not message:
                return
            if (pid := forked()) == 0:
                break
            for descriptor in descriptors:
                os.close(descriptor)
            line.send(str(pid).encode())
    become(msgspec.json.decode(message, type=Born), *descriptors)


def forked() -> int:
    """0 in the new process, else its id. It is the child of a process that has ended: somebody takes it in."""
    read, write = os.pipe()
    if child := os.fork():
        os.close(write)
        os.waitpid(child, 0)
        with open(read) as told:
            return int(told.read())
    os.close(read)
    if grandchild := os.fork():
        os.write(write, str(grandchild).encode())
        os._exit(0)
    os.close(write)
    return 0


def become(born: Born, stderr: int, stdout: int | None = None) -> None:
    """What `python -m` does, in this process."""
    os.dup2(stderr, 2)
    os.close(stderr)
    stdout = os.open(os.devnull, os.O_WRONLY) if stdout is None else stdout
    os.dup2(stdout, 1)
    os.close(stdout)
    os.chdir(born.folder)
    os.environ.clear()
    os.environ.update(born.env)
    sys.path[0] = born.folder
    sys.argv = born.arguments
    runpy.run_module(born.arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
