"""Root: settings, urls and the ASGI application. No logic."""
