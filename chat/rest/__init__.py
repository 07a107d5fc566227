"""The REST interface: its views, and what they have in common."""
