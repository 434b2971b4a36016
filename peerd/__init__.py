"""The peerd daemon: a trust group without a server."""
