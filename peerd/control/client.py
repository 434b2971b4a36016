"""A client of the control API for programs without an event loop: the standard library over a Unix socket.

One method for each route, with the types of `schema`. What the daemon refuses is raised as `ApiError`, a
daemon that does not answer as `DaemonNotRunning`; both carry a `Problem`, so that callers need only one form
of error.

A client holds one connection and is for one thread. It imports neither trio nor anything of the protocol, so
that a command line answers quickly.
"""

from __future__ import annotations

import http.client
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from peerd.control import record_schema, root_schema, schema
from peerd.control.authority_calls import AuthorityCalls, Method
from peerd.control.limits import (
    CLIENT_EXPORT_BYTES,
    CLIENT_LINE_BYTES_MAX,
    CLIENT_REPLY_BYTES_MAX,
    CLIENT_SILENT_S_MAX,
    CLIENT_TIMEOUT_S,
    PAGE_LIMIT_MAX,
)
from peerd.control.root_calls import RootCalls
from peerd.control.targets import path_of as _path, with_query as _with_query
from peerd.errors import KINDS

R = TypeVar("R", bound=schema.Reply)
Content = bytes | Iterable[bytes] | None

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
OCTETS: Final = "application/octet-stream"
START_HINT: Final = "start it: peerd run"

_decoders: dict[type, msgspec.json.Decoder[Any]] = {}
_making_decoders = threading.Lock()


class ClientError(Exception):
    """The root of what a client raises; never raised itself."""

    def __init__(self, problem: schema.Problem) -> None:
        """`problem` says what happened, why, and what to do."""
        if type(self) is ClientError:
            raise TypeError("raise one of ClientError's children")
        super().__init__(problem.detail)
        self.problem = problem

    @property
    def slug(self) -> str:
        """The stable name that programs match."""
        return self.problem.slug

    @property
    def detail(self) -> str:
        """What happened and why."""
        return self.problem.detail

    @property
    def hint(self) -> str:
        """The next command to type, perhaps empty."""
        return self.problem.hint

    @property
    def status(self) -> int:
        """The HTTP status, or the one that goes with the slug where no answer came."""
        return self.problem.status


class ApiError(ClientError):
    """The daemon refused the request, or its answer could not be used."""


class DaemonNotRunning(ClientError):
    """Nobody answers at the socket, or the daemon stopped before it had answered."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("peerd", timeout=timeout)
        self._path = path
        self._timeout_s = timeout

    def connect(self) -> None:
        """Open the socket in place of a TCP connection."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # With a timeout of Python's, connecting does not wait while the daemon's backlog is full.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(self._timeout_s))
            sock.connect(self._path)
            sock.settimeout(self._timeout_s)
        except BaseException:
            sock.close()
            raise
        self.sock = sock

    def is_stale(self) -> bool:
        """Whether the other side has closed, or sent what nobody asked for, since the last answer."""
        return self.sock is not None and bool(select.select([self.sock], [], [], 0)[0])


class Client(AuthorityCalls, RootCalls):
    """The control API of the daemon that listens at one socket."""

    def __init__(self, socket_path: str, *, timeout_s: float = CLIENT_TIMEOUT_S) -> None:
        """Nothing is opened before the first call; `timeout_s` bounds each wait for the daemon."""
        self._path = socket_path
        self._timeout_s = timeout_s
        self._connection = _UnixConnection(socket_path, timeout_s)

    def __enter__(self) -> Self:
        """Use it in a `with` statement to have it closed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    # --- the daemon ---

    def api(self) -> schema.Api:
        """Which daemon answers."""
        return self._get("/v1", schema.Api)

    def status(self) -> schema.Status:
        """The daemon at a glance."""
        return self._get("/v1/status", schema.Status)

    def health(self) -> schema.Health:
        """Whether all is well."""
        return self._get("/v1/health", schema.Health)

    def metrics(self) -> str:
        """The daemon's figures in Prometheus' text format."""
        return self._exchange("GET", "/v1/metrics").decode()

    def openapi(self) -> bytes:
        """The OpenAPI document, as JSON."""
        return self._exchange("GET", "/v1/openapi.json")

    def events(
        self,
        *,
        since: str | None = None,
        kinds: str | None = None,
        group: str | None = None,
        record_type: str | None = None,
        follow: bool = True,
        on_open: Callable[[], object] | None = None,
    ) -> Iterator[schema.Event]:
        """Events as they come, over a connection of their own; the arguments are those of
        `schema.EventsQuery`.

        `on_open` is called once the daemon has taken the subscription: no event from then on is missed. Ends
        after `bye`, and without `follow` when there are no more.
        """
        query = schema.EventsQuery(
            since=since, kinds=kinds, group=group, record_type=record_type, follow=follow
        )
        connection = _UnixConnection(self._path, max(self._timeout_s, CLIENT_SILENT_S_MAX))
        try:
            response = self._open(connection, "GET", _with_query("/v1/events", query), None, NDJSON)
            if on_open is not None:
                on_open()
            yield from self._read_events(response)
        finally:
            connection.close()

    # --- identities ---

    def identities(self) -> schema.Identities:
        """All identities."""
        return self._get("/v1/identities", schema.Identities)

    def identity(self, name: str) -> schema.Identity:
        """One identity."""
        return self._get(_path("identities", name), schema.Identity)

    def identity_document(self, name: str) -> schema.IdentityDocument:
        """One identity's document."""
        return self._get(_path("identities", name, "document"), schema.IdentityDocument)

    def create_identity(self, wish: schema.IdentityCreate) -> schema.Identity:
        """Make a key pair."""
        return self._send("POST", "/v1/identities", schema.Identity, wish)

    def change_identity(self, name: str, wish: schema.IdentityChange) -> schema.Identity:
        """Rename an identity for the eyes of people."""
        return self._send("PATCH", _path("identities", name), schema.Identity, wish)

    def delete_identity(self, name: str) -> schema.Identity:
        """Delete a private key for good."""
        return self._send("DELETE", _path("identities", name), schema.Identity)

    # --- groups ---

    def groups(self) -> schema.Groups:
        """All groups."""
        return self._get("/v1/groups", schema.Groups)

    def group(self, name: str) -> schema.Group:
        """One group."""
        return self._get(_path("groups", name), schema.Group)

    def make_recovery_key(self, wish: root_schema.RecoveryDraw | None = None) -> schema.RecoveryKey:
        """Draw the recovery keys that the next group, or the next root of one, will be committed to."""
        return self._send("POST", "/v1/groups/recovery", schema.RecoveryKey, wish)

    def create_group(self, wish: schema.GroupCreate) -> schema.Group:
        """Make a group."""
        return self._send("POST", "/v1/groups", schema.Group, wish)

    def join_group(self, wish: schema.GroupJoin) -> schema.Group:
        """Start to take part in a group."""
        return self._send("POST", "/v1/groups/join", schema.Group, wish)

    def connect_group(self, name: str, wish: schema.GroupConnect) -> schema.Group:
        """Let the group have links."""
        return self._send("POST", _path("groups", name, "connect"), schema.Group, wish)

    def disconnect_group(self, name: str) -> schema.Group:
        """Close the group's links and make none."""
        return self._send("POST", _path("groups", name, "disconnect"), schema.Group)

    def delete_group(self, name: str) -> schema.GroupDeleted:
        """Forget a group and its data here."""
        return self._send("DELETE", _path("groups", name), schema.GroupDeleted)

    def properties(self, group: str) -> schema.Properties:
        """The group's properties."""
        return self._get(_path("groups", group, "properties"), schema.Properties)

    def change_properties(self, group: str, wish: schema.PropertiesChange) -> schema.Properties:
        """Publish changed properties."""
        return self._send("PATCH", _path("groups", group, "properties"), schema.Properties, wish)

    # --- credentials ---

    def credentials(self, group: str, query: schema.CredentialsQuery) -> schema.Credentials:
        """One page of credentials."""
        return self._get(_path("groups", group, "credentials"), schema.Credentials, query)

    def all_credentials(self, group: str, subject: str | None = None) -> Iterator[schema.Credential]:
        """The credentials of one subject, or all."""
        cursor: str | None = None
        while True:
            query = schema.CredentialsQuery(cursor=cursor, limit=PAGE_LIMIT_MAX, subject=subject)
            page = self.credentials(group, query)
            yield from page.credentials
            if (cursor := page.next) is None:
                return

    def credential(self, group: str, grant_id: str) -> schema.CredentialChain:
        """One credential with its certificates."""
        return self._get(_path("groups", group, "credentials", grant_id), schema.CredentialChain)

    def issue(self, group: str, wish: schema.CredentialIssue) -> schema.CredentialIssued:
        """Issue one credential."""
        return self._send("POST", _path("groups", group, "credentials"), schema.CredentialIssued, wish)

    def issue_batch(self, group: str, wish: schema.CredentialBatch) -> schema.CredentialsIssued:
        """Issue several credentials in one transaction."""
        path = _path("groups", group, "credentials", "batch")
        return self._send("POST", path, schema.CredentialsIssued, wish)

    def create_invitation(self, group: str, wish: schema.InvitationCreate) -> schema.CredentialIssued:
        """Issue one credential that is not stored, as an invitation."""
        return self._send("POST", _path("groups", group, "invitations"), schema.CredentialIssued, wish)

    def parse_invitation(self, wish: schema.InvitationParse) -> schema.InvitationContents:
        """Look into an invitation."""
        return self._send("POST", "/v1/invitations/parse", schema.InvitationContents, wish)

    # --- members and acts ---

    def members(self, group: str, query: schema.Page) -> schema.Members:
        """One page of members."""
        return self._get(_path("groups", group, "members"), schema.Members, query)

    def all_members(self, group: str) -> Iterator[schema.Member]:
        """All members."""
        cursor: str | None = None
        while True:
            page = self.members(group, schema.Page(cursor=cursor, limit=PAGE_LIMIT_MAX))
            yield from page.members
            if (cursor := page.next) is None:
                return

    def member(self, group: str, name: str) -> schema.MemberCredentials:
        """One member and its credentials."""
        return self._get(_path("groups", group, "members", name), schema.MemberCredentials)

    def acts(self, group: str, query: schema.Page) -> schema.Acts:
        """One page of acts."""
        return self._get(_path("groups", group, "acts"), schema.Acts, query)

    def all_acts(self, group: str) -> Iterator[schema.Act]:
        """All acts, in the order of their arrival."""
        cursor: str | None = None
        while True:
            page = self.acts(group, schema.Page(cursor=cursor, limit=PAGE_LIMIT_MAX))
            yield from page.acts
            if (cursor := page.next) is None:
                return

    # --- records ---

    def records(self, group: str, query: record_schema.RecordsQuery) -> record_schema.Records:
        """One page of records."""
        return self._get(_path("groups", group, "records"), record_schema.Records, query)

    def all_records(
        self, group: str, record_type: str | None = None, creator: str | None = None
    ) -> Iterator[record_schema.Record]:
        """The records of one type, of one creator, or all; each page is asked for when it is needed."""
        cursor: str | None = None
        while True:
            query = record_schema.RecordsQuery(
                cursor=cursor, limit=PAGE_LIMIT_MAX, record_type=record_type, creator=creator
            )
            page = self.records(group, query)
            yield from page.records
            if (cursor := page.next) is None:
                return

    def search_records(self, group: str, wish: record_schema.RecordSearch) -> record_schema.Records:
        """One page of what a search finds."""
        return self._send("POST", _path("groups", group, "records", "search"), record_schema.Records, wish)

    def record(self, group: str, record_id: str, *, data: bool | None = None) -> record_schema.Record:
        """One record; `data` as in `RecordQuery`."""
        query = record_schema.RecordQuery(data=data)
        return self._get(_path("groups", group, "records", record_id), record_schema.Record, query)

    def record_data(self, group: str, record_id: str) -> bytes:
        """The data of a record."""
        return self._exchange("GET", _path("groups", group, "records", record_id, "data"), accept=OCTETS)

    def add_record(self, group: str, wish: record_schema.RecordAdd) -> record_schema.Record:
        """Write a new record."""
        return self._write("POST", _path("groups", group, "records"), wish)

    def change_record(
        self, group: str, record_id: str, wish: record_schema.RecordChange
    ) -> record_schema.Record:
        """Write a new version of a record."""
        return self._write("PATCH", _path("groups", group, "records", record_id), wish)

    def set_record_data(
        self, group: str, record_id: str, data: bytes, query: record_schema.WriteQuery | None = None
    ) -> record_schema.Record:
        """Write a new version of a record with other data."""
        query = query or record_schema.WriteQuery()
        target = _with_query(_path("groups", group, "records", record_id, "data"), query)
        with self._patience(query.timeout_s if query.wait_replicated else 0):
            return _decoded(self._exchange("PUT", target, data, OCTETS), record_schema.Record)

    def delete_record(
        self, group: str, record_id: str, query: record_schema.WriteQuery | None = None
    ) -> record_schema.RecordDeleted:
        """Write that a record is deleted."""
        query = query or record_schema.WriteQuery()
        target = _with_query(_path("groups", group, "records", record_id), query)
        with self._patience(query.timeout_s if query.wait_replicated else 0):
            return _decoded(self._exchange("DELETE", target), record_schema.RecordDeleted)

    def export_group(self, group: str) -> Iterator[bytes]:
        """All acts and records of a group, part by part, over a connection of its own."""
        connection = _UnixConnection(self._path, self._timeout_s)
        try:
            response = self._open(connection, "GET", _path("groups", group, "export"), None, OCTETS)
            while part := self._read_part(response):
                yield part
        finally:
            connection.close()

    def import_group(self, group: str, parts: Iterable[bytes]) -> record_schema.Imported:
        """Take in what `export_group` gave; the parts are sent as they come. Raises also what reading them
        raises.
        """
        failures: list[OSError] = []

        def reading() -> Iterator[bytes]:
            try:
                yield from parts
            except OSError as error:
                failures.append(error)
                raise

        try:
            content = self._exchange("POST", _path("groups", group, "import"), reading(), OCTETS)
        except DaemonNotRunning:
            if failures:  # it was not the daemon that failed
                raise failures[0] from None
            raise
        return _decoded(content, record_schema.Imported)

    # --- exchange ---

    def _get(self, path: str, reply: type[R], query: schema.Request | None = None) -> R:
        return _decoded(self._exchange("GET", _with_query(path, query)), reply)

    def _send(self, method: Method, path: str, reply: type[R], wish: schema.Request | None = None) -> R:
        body = None if wish is None else msgspec.json.encode(wish)
        return _decoded(self._exchange(method, path, body), reply)

    def _write(
        self, method: Method, path: str, wish: record_schema.RecordAdd | record_schema.RecordChange
    ) -> record_schema.Record:
        """Write a record, and have as much patience as the wish."""
        with self._patience(wish.timeout_s if wish.wait_replicated else 0):
            return self._send(method, path, record_schema.Record, wish)

    @contextmanager
    def _patience(self, more_s: float) -> Iterator[None]:
        """For one request, wait so much longer: the daemon waits itself before it answers."""
        if not more_s:
            yield
            return
        usual = self._connection
        self._connection = _UnixConnection(self._path, self._timeout_s + more_s)
        try:
            yield
        finally:
            self._connection.close()
            self._connection = usual

    def _exchange(
        self,
        method: Method,
        target: str,
        body: Content = None,
        media_type: str = JSON,
        accept: str = f"{JSON}, text/plain",
    ) -> bytes:
        if self._connection.is_stale():
            self._connection.close()
        try:
            response = self._open(self._connection, method, target, body, accept, media_type)
            return self._read(response)
        except BaseException:
            self._connection.close()
            raise

    def _open(
        self,
        connection: _UnixConnection,
        method: Method,
        target: str,
        body: Content,
        accept: str,
        media_type: str = JSON,
    ) -> http.client.HTTPResponse:
        """Send a request and read the answer's head; a refusal is read to its end and raised."""
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = media_type
        in_parts = not (body is None or isinstance(body, bytes))
        if in_parts:
            headers["Transfer-Encoding"] = "chunked"
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body, headers, encode_chunked=in_parts)
            response = connection.getresponse()  # a refusal may be there before all was sent
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        if response.status >= 400:
            raise ApiError(_problem(response.status, self._read(response)))
        return response

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            content = response.read(CLIENT_REPLY_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        if len(content) > CLIENT_REPLY_BYTES_MAX:
            raise ApiError(_local("internal", f"The answer is longer than {CLIENT_REPLY_BYTES_MAX} bytes."))
        if response.length:  # what is missing: the standard library leaves it to us to notice
            raise self._unreachable(http.client.IncompleteRead(content))
        return content

    def _read_part(self, response: http.client.HTTPResponse) -> bytes:
        """The next part of an answer that is too large to be held; empty at its end."""
        try:
            return response.read(CLIENT_EXPORT_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _read_events(self, response: http.client.HTTPResponse) -> Iterator[schema.Event]:
        while True:
            try:
                line = response.readline(CLIENT_LINE_BYTES_MAX)
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
            if not line:
                return
            if not line.strip():
                continue
            event = _decoded(line, schema.Event)
            yield event
            if event.kind == "bye":
                return

    def _unreachable(self, error: Exception) -> ClientError:
        """The error that a failed exchange is to a person."""
        match error:
            case TimeoutError() | BlockingIOError():
                return ApiError(_local("timed-out", f"The daemon at {self._path} did not answer in time."))
            case FileNotFoundError() | ConnectionRefusedError():
                return DaemonNotRunning(_local("daemon-not-running", f"No daemon answers at {self._path}."))
            case PermissionError():
                detail = f"This user may not open {self._path}."
                return ApiError(_local("access-denied", detail, "use the account that peerd runs under"))
            case OSError() if "path too long" in str(error):
                return ApiError(_local("path-too-long", f"A socket cannot lie at {self._path}."))
            case OSError() | http.client.IncompleteRead():
                detail = "The daemon went away before it had answered; what was asked for may be done or not."
                return DaemonNotRunning(_local("daemon-not-running", detail))
            case _:
                return ApiError(_local("internal", f"What answers at {self._path} is no peerd."))


def _timeval(seconds: float) -> bytes:
    """A `struct timeval`; zero would mean to wait for ever."""
    whole = int(seconds)
    return struct.pack("@ll", whole, max(int((seconds - whole) * 1e6), 1))


def _local(slug: str, detail: str, hint: str = "") -> schema.Problem:
    """A problem found on this side of the socket."""
    kind = KINDS[slug]
    hint = START_HINT if slug == "daemon-not-running" else hint
    return schema.Problem(slug=slug, title=kind.title, status=kind.status, detail=detail, hint=hint)


def _problem(status: int, content: bytes) -> schema.Problem:
    try:
        return _decoder(schema.Problem).decode(content)
    except msgspec.DecodeError:
        return _local("internal", f"What answers with status {status} at the socket is no peerd.")


def _decoded(content: bytes, reply: type[R]) -> R:
    try:
        return _decoder(reply).decode(content)
    except msgspec.DecodeError as error:
        detail = f"The answer is not what this version of peerd understands: {error}."
        raise ApiError(_local("internal", detail, "use the same version as the daemon's")) from error


def _decoder(kind: type[R]) -> msgspec.json.Decoder[R]:
    """The decoder of a kind of answer, made once.

    Guards: two clients in two threads that decode the first of a kind at once: msgspec shows the unfinished
    fields of one to the other, which ends the program.
    """
    with _making_decoders:
        if kind not in _decoders:
            _decoders[kind] = msgspec.json.Decoder(kind)
    return _decoders[kind]
