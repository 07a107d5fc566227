"""A real Redis as a process, which lives in `bench.daemons`."""

from bench.daemons import RedisProcess as RedisProcess
