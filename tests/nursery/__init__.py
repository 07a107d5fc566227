"""Where server processes of the tests come from."""
