"""The OpenAPI document is true: requests made from it over the socket are answered as it says.

Valid and invalid requests are drawn for every operation, always the same ones.
"""

from __future__ import annotations

import socket

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from peerd.control import record_schema, schema
from peerd.control.openapi import document
from tests.peerd.control.served import WAIT_S_MAX, served

pytestmark = pytest.mark.slow

EXAMPLES = 20

# What the tool does not expect: a rule may refuse what fits the schema, and a text that is too long for its
# field may be too long for the headers first.
BY_RULE = ["2xx", "403", "404", "409", "410", "413", "422", "503", "504"]
BY_SHAPE = ["400", "404", "405", "413", "415", "422", "431"]
CHECKS = {
    "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503", "504"]},
    "positive_data_acceptance": {"expected-statuses": BY_RULE},
    "negative_data_rejection": {"expected-statuses": BY_SHAPE},
}
CONFIG = schemathesis.Config.from_dict({"checks": CHECKS})

# An event stream has no end that the tool could wait for.
api = schemathesis.openapi.from_dict(document(), config=CONFIG).exclude(operation_id="get_events")


class _Connection(HTTPConnection):
    """urllib3 over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("peerd")
        self._path = path

    def _new_conn(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(WAIT_S_MAX)
        sock.connect(self._path)
        return sock


class _Pool(HTTPConnectionPool):
    def __init__(self, path: str) -> None:
        super().__init__("peerd")
        self._path = path

    def _new_conn(self) -> _Connection:
        return _Connection(self._path)


class _Adapter(HTTPAdapter):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._pool = _Pool(path)

    def get_connection_with_tls_context(self, request, verify, proxies=None, cert=None):
        return self._pool

    def close(self) -> None:
        self._pool.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A session with a daemon that has an identity, a group and credentials, and the names of these."""
    with served(tmp_path_factory.mktemp("world")) as running, running.client() as client:
        own = client.create_identity(schema.IdentityCreate(classifier="own")).peer_name
        token = client.make_recovery_key().recovery_token
        wish = schema.GroupCreate(classifier="g", recovery_token=token, recovery_delivered=True)
        group = client.create_group(wish).group
        issued = client.issue(group, schema.CredentialIssue(subject=own, store=True))
        with requests.Session() as session:
            session.mount("http://peerd", _Adapter(str(running.path)))
            names = {"group": group, "peer_name": own, "grant_id": issued.credential.grant_id}
            record = client.add_record(group, record_schema.RecordAdd(record_type="note", data="YWJj"))
            yield session, names | {"record_id": record.record_id, "act_id": issued.credential.grant_id}


@api.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
def test_answers_are_as_the_document_says(case, world):
    session, names = world
    if case.meta.generation.mode.is_positive and case.method != "DELETE":
        # Drawn names fit nothing, so half of the well-formed requests are given those that do.
        for parameter, drawn in (case.path_parameters or {}).items():
            if len(str(drawn)) % 2:
                case.path_parameters[parameter] = names[parameter]
    case.call_and_validate(session=session, base_url="http://peerd")
