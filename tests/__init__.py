"""Four rings: pure, database, sockets in process, whole systems of real processes. Folders mirror the packages."""
