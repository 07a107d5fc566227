"""Hands: functions that a model may call. No Django, no sockets, no tables."""
