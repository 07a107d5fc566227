"""The native face: socket, REST views and the pages. No tables, no generators."""
