"""The door for lightspeed's clients: their requests, their frames, and a turn told in these."""
