"""The public client is the control client, and is light enough to live in anybody's program."""

from __future__ import annotations

import subprocess
import sys

from peerd import client as public
from peerd.control import client, schema


def test_it_loads_nothing_heavy_and_nothing_of_the_protocol() -> None:
    refused = {"trio", "cryptography", "protocol", "h11", "OpenSSL", "apsw", "asyncio", "prometheus_client"}
    script = f"import sys, peerd.client; print(*sorted({refused!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_it_gives_what_a_caller_needs() -> None:
    assert set(public.__all__) == {
        *("ApiError", "Client", "ClientError", "DaemonNotRunning"),
        *("authority_schema", "record_schema", "root_schema", "schema"),
    }
    assert public.Client is client.Client
    assert public.schema is schema
    assert issubclass(public.ApiError, public.ClientError)
    assert issubclass(public.DaemonNotRunning, public.ClientError)
