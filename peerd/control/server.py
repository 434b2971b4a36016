"""The control socket: who may connect, which handler answers, and what is told when one fails.

The socket lies in a directory that only its owner can enter, is created closed to others, and is never taken
over from a daemon that still answers. Each connection's user is known from the kernel. Requests that come
from a web page (they carry Origin or Referer, or a Host that is not ours) are refused, although no browser
can open a Unix socket by itself: something may have been put in front of it.

`_guarded` is the one place that catches everything: a mistake in one request is logged and told as
`internal`, and neither ends the daemon nor shows its text to the caller.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from peerd.control import schema
from peerd.control.access import Access, AccessPolicy, Caller, caller_of
from peerd.control.decoding import decode_body, decode_query
from peerd.control.events import EventBell
from peerd.control.handlers import Call, Context
from peerd.control.http1 import (
    JSON,
    OCTETS,
    PROBLEM_JSON,
    Answer,
    ClientGone,
    HttpConnection,
    HttpRequest,
    StopSignal,
    Streaming,
)
from peerd.control.limits import (
    BACKLOG,
    CONNECTIONS_MAX,
    CONNECTIONS_PER_USER_MAX,
    STOP_GRACE_S,
    SUBSCRIBERS_MAX,
)
from peerd.control.openapi import document_json
from peerd.control.operations import Operations
from peerd.control.problems import problem_of
from peerd.control.route import Route
from peerd.control.routes import Match, is_upload, match_path
from peerd.errors import BadRequest, ConfigError, Conflict, Denied, NotFound
from peerd.paths import check_private_directory, check_socket_path

T = TypeVar("T")

HOSTS: Final = frozenset({"peerd", "localhost", "unix"})  # what people write after http:// for a Unix socket
_UMASK: Final = 0o177  # the socket is born 0600

_log = logging.getLogger("peerd.control")


class _Client:
    """One connection, told apart from others by being itself."""

    def __init__(self, caller: Caller | None) -> None:
        self.caller = caller
        self.uid = None if caller is None else caller.uid


class ControlServer:
    """Serves the control API at one socket."""

    def __init__(self, operations: Operations, bell: EventBell, policy: AccessPolicy | None = None) -> None:
        """`bell` is rung by whoever commits events; by default only the daemon's own user and root get in."""
        self._policy = AccessPolicy() if policy is None else policy
        self._stop = StopSignal()
        self._context = Context(operations, bell, self._stop, document_json)
        self._numbers = count(1)
        self._connections: Counter[int | None] = Counter()
        self._subscribers: dict[_Client, None] = {}
        self._ended = trio.Event()

    def stop(self) -> None:
        """Take no more connections, say `bye` on event streams, and let `serve` end within STOP_GRACE_S."""
        self._stop.request()

    async def ended(self) -> None:
        """Wait until `serve` has ended, so that whoever cancels it cuts no goodbye off."""
        await self._ended.wait()

    async def serve(self, sock: socket.socket) -> None:
        """Serve a socket from `listening_socket` until `stop`, and close it.

        Connections made before this is called wait in the socket's backlog, so that the daemon may say that
        it is ready as soon as the socket is there.
        """
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        async with trio.open_nursery() as connections:
            async with listener:
                await self._accept(listener, connections)
            connections.cancel_scope.deadline = trio.current_time() + STOP_GRACE_S
        self._ended.set()

    async def _accept(self, listener: trio.SocketListener, connections: trio.Nursery) -> None:
        """Take connections until the stop."""
        with self._stop.cuts():
            await trio.serve_listeners(self._serve_stream, [listener], handler_nursery=connections)

    async def _serve_stream(self, stream: trio.SocketStream) -> None:
        client = _Client(caller_of(stream.socket))
        total = self._connections.total()
        if total >= CONNECTIONS_MAX + BACKLOG:
            await trio.aclose_forcefully(stream)
            return
        answer = partial(self._answer, client)
        connection = HttpConnection(stream, answer, self._refusal, self._stop, is_upload)
        self._connections[client.uid] += 1
        try:
            if total >= CONNECTIONS_MAX or self._connections[client.uid] > CONNECTIONS_PER_USER_MAX:
                await self._guarded(next(self._numbers), connection.refuse(_too_many("connections")))
            else:
                await self._guarded(next(self._numbers), connection.serve())
        finally:
            self._connections[client.uid] -= 1
            self._subscribers.pop(client, None)

    async def _guarded(self, number: int, work: Awaitable[T]) -> T | Answer:
        """The outcome of a piece of work on request `number`, or the answer that tells of its failure."""
        try:
            return await work
        except ClientGone:
            raise
        except Exception as error:
            return self._failure(error, number)

    async def _answer(self, client: _Client, request: HttpRequest) -> Answer | Streaming:
        """Answer one request."""
        number = next(self._numbers)
        answer = await self._guarded(number, self._dispatch(client, request, number))
        if isinstance(answer, Streaming):
            return Streaming(answer.media_type, partial(self._run_stream, number, answer))
        _log.debug("request answered", extra={"request": number, "status": answer.status})
        return answer

    async def _dispatch(self, client: _Client, request: HttpRequest, number: int) -> Answer | Streaming:
        """Check a request, and have its handler answer it."""
        access = self._policy.access_of(client.caller)
        if access is Access.NONE:
            raise Denied("This user may not use the daemon.", hint="use the account that peerd runs under")
        _refuse_foreign(request)
        path, _, query = request.target.partition("?")
        match = _matched(path)
        route = match.routes.get(request.method)
        if route is None:
            return self._method_refusal(request, match, number)
        if access < route.access:
            needed, had = route.access.name.lower(), access.name.lower()
            raise Denied(f"This takes {needed} access; the caller has {had} access.")
        reply = route.handler(self._context, _checked(route, match, query, request))
        if isinstance(reply, Awaitable):
            reply = await reply
        if isinstance(reply, schema.Reply):
            return Answer(route.status, JSON, msgspec.json.encode(reply))
        if isinstance(reply, Streaming):
            self._enlist(client)
        return reply

    def _enlist(self, client: _Client) -> None:
        """Count a subscriber for as long as its connection lasts. Raises: BadRequest, there are too many."""
        if len(self._subscribers) >= SUBSCRIBERS_MAX:
            raise _too_many("event streams")
        self._subscribers[client] = None

    async def _run_stream(
        self, number: int, stream: Streaming, send: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Run a stream; one that fails breaks off, so that it is not taken for complete."""
        if await self._guarded(number, stream.run(send)) is not None:
            raise ClientGone

    def _method_refusal(self, request: HttpRequest, match: Match, number: int) -> Answer:
        allowed = ", ".join(match.routes)
        error = BadRequest(f"{request.method} is not offered here.", code="method-not-allowed", hint=allowed)
        return self._problem_answer(problem_of(error, str(number)), (("Allow", allowed),))

    def _refusal(self, error: BadRequest) -> Answer:
        """The answer to what never became a request."""
        return self._problem_answer(problem_of(error, str(next(self._numbers))))

    def _failure(self, error: Exception, number: int) -> Answer:
        """The answer to a request that failed; what is not its own fault is logged."""
        problem = problem_of(error, str(number))
        facts = {"request": number, "code": problem.slug, "detail": problem.detail}
        if problem.slug == "internal":
            _log.error("request met a mistake", exc_info=error, extra=facts)
        elif problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.warning("request failed", extra=facts)
        else:
            _log.debug("request refused", extra=facts)
        return self._problem_answer(problem)

    @staticmethod
    def _problem_answer(problem: schema.Problem, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
        return Answer(problem.status, PROBLEM_JSON, msgspec.json.encode(problem), headers)


# --- requests -----------------------------------------------------------------------------------------------


def _refuse_foreign(request: HttpRequest) -> None:
    """Refuse what a web page could have sent. Raises: Denied."""
    host = request.header("host").rpartition(":")
    name = (host[0] if host[1] and host[2].isdigit() else request.header("host")).lower()
    if name not in HOSTS:
        raise Denied("The request is for another host.", hint="use http://peerd/v1/…")
    for header in ("origin", "referer"):
        if request.header(header):
            raise Denied(f"Requests with the header {header.title()} are refused: web pages send it.")


def _matched(path: str) -> Match:
    if not path.startswith("/"):
        raise BadRequest("The target of a request is a path that begins with /.")
    match = match_path(path)
    if match is None:
        raise NotFound("No route has this path.", hint="see GET /v1/openapi.json")
    return match


def _checked(route: Route, match: Match, query: str, request: HttpRequest) -> Call:
    """The call that a request makes of a route. Raises: BadRequest."""
    if route.query is None and query:
        raise BadRequest("This route takes no query.")
    if route.body is None and route.octets is None and request.body:
        raise BadRequest("This route takes no body.")
    if route.octets is not None:
        _check_octets(request)
    elif request.body:
        _check_json(request)
    return Call(
        path=match.names,
        query=None if route.query is None else decode_query(query, route.query),
        body=None if route.body is None else decode_body(request.body, route.body),
        headers=dict(request.headers),
        octets=request.body,
        upload=request.upload,
    )


def _check_json(request: HttpRequest) -> None:
    """Refuse a body that is not plain JSON. Raises: BadRequest("unsupported-media-type")."""
    media_type, _, parameters = request.header("content-type").lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    if media_type.strip() != JSON or charset not in ("", "utf-8") or not _is_plain(request):
        raise _other_media_type(f"{JSON} in UTF-8", JSON)


def _check_octets(request: HttpRequest) -> None:
    """Refuse bytes that are said to mean something. Raises: BadRequest("unsupported-media-type")."""
    media_type = request.header("content-type").lower().partition(";")[0].strip()
    if media_type not in ("", OCTETS) or not _is_plain(request):
        raise _other_media_type(OCTETS, OCTETS)


def _is_plain(request: HttpRequest) -> bool:
    return request.header("content-encoding").lower() in ("", "identity")


def _other_media_type(wanted: str, media_type: str) -> BadRequest:
    return BadRequest(
        f"A body is {wanted} here, not encoded otherwise.",
        code="unsupported-media-type",
        hint=f"curl -H 'Content-Type: {media_type}' …",
    )


def _too_many(what: str) -> BadRequest:
    return BadRequest(
        f"As many {what} are open as may be.", code="too-many-connections", hint="close one, then try again"
    )


# --- the socket ---------------------------------------------------------------------------------------------


@contextmanager
def listening_socket(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at `path`, closed to other users from the start; removed afterwards.

    What a daemon that died has left there is replaced. Of two that start at the same moment the home's lock
    must have stopped one before. Raises: ConfigError, Conflict.
    """
    check_socket_path(path)
    check_private_directory(path.parent)
    _clear_stale(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        _bind_private(sock, path)
        sock.setblocking(False)
        sock.listen(BACKLOG)
        made = path.stat()
        try:
            yield sock
        finally:
            _remove_own(path, made)


def _bind_private(sock: socket.socket, path: Path) -> None:
    before = os.umask(_UMASK)
    try:
        sock.bind(os.fspath(path))
    finally:
        os.umask(before)


def _clear_stale(path: Path) -> None:
    """Remove a socket at which nobody answers. Raises: ConfigError, Conflict("home-in-use")."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
        raise ConfigError(f"{path} is not a socket of this user's.", hint=f"move it away: mv {path} …")
    if _answers(path):
        raise Conflict(
            f"A daemon answers at {path}.", code="home-in-use", hint="see what runs there: peerd status"
        )
    path.unlink()


def _answers(path: Path) -> bool:
    """Whether somebody listens; a listener too busy to take the connection is one too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        refused = probe.connect_ex(os.fspath(path)) in (errno.ECONNREFUSED, errno.ENOENT)
    return not refused


def _remove_own(path: Path, made: os.stat_result) -> None:
    """Remove the socket unless another stands in its place by now."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if (found.st_dev, found.st_ino) == (made.st_dev, made.st_ino):
        path.unlink()
