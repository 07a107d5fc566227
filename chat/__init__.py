"""Faces: the pages, the REST views and the WebSocket of the chat. No tables, no generators."""
