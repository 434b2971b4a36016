"""The peerd daemon: a trust group without a server."""

VERSION = "0.1.0"
