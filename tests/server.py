"""The server processes, which live in `bench.servers`."""

from bench.servers import KINDS as KINDS
from bench.servers import Kind as Kind
from bench.servers import NewSite as NewSite
from bench.servers import ServerProcess as ServerProcess
from bench.servers import Site as Site
