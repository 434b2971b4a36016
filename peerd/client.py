"""The public client: what other programs import to speak to a local daemon.

    from peerd.client import Client
    with Client("/path/to/home/control.sock") as client:
        print(client.status().groups)

Nothing of the protocol is imported with it.
"""

from __future__ import annotations

from peerd.control import authority_schema, record_schema, root_schema, schema
from peerd.control.client import ApiError, Client, ClientError, DaemonNotRunning

__all__ = [
    "ApiError",
    "Client",
    "ClientError",
    "DaemonNotRunning",
    "authority_schema",
    "record_schema",
    "root_schema",
    "schema",
]
