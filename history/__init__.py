"""Memory: the log of every conversation, its tables and its only writer. No sockets, no HTTP, no model calls."""
