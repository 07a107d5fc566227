"""Doors: who asks, and what they may see. The selectors here are the only way to rows of a person."""
