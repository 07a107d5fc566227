"""Voice: what is said to a model and what it answers. No Django, no sockets, no tables."""
