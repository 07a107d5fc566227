"""A real PostgreSQL as a process, which lives in `bench.daemons`."""

from bench.daemons import PostgresProcess as PostgresProcess
