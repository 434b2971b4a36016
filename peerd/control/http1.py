"""HTTP/1.1 over one connection: h11 decides what the bytes mean, this file moves them and sets the deadlines.

A connection is in one of these states, each with its bound:

* *idle*, waiting for a request: IDLE_S_MAX; ends at once when the daemon stops
* *head*, from the first byte of a request to the end of its headers: HEADER_S_MAX, HEADER_BYTES_MAX
* *body*: BODY_S_MAX, BODY_BYTES_MAX; one announced by `Expect` is asked for only if it will be taken
* *answering*: the application's time; each write SEND_S_MAX
* *uploading*, answering while the body is taken part by part, whatever its length: BODY_S_MAX for each part
* *streaming*, an answer without a known end: as answering, and ended when the client closes its side
* *lingering*, after a refusal that leaves bytes unread: LINGER_S_MAX, LINGER_BYTES_MAX

What the client does wrong is answered with a problem if an answer can still begin, then the connection
closes. Nothing that a client sends or omits raises out of `serve`. When the daemon stops, what is not idle
has a grace time, which the owner of the connections sets by cancelling them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import h11
import trio
import trio.abc

from peerd.control.limits import (
    BODY_BYTES_MAX,
    BODY_S_MAX,
    HEADER_BYTES_MAX,
    HEADER_S_MAX,
    IDLE_S_MAX,
    LINGER_BYTES_MAX,
    LINGER_S_MAX,
    RECEIVE_BYTES,
    SEND_S_MAX,
)
from peerd.errors import BadRequest

JSON: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"
OCTETS: Final = "application/octet-stream"

Upload = Callable[[], Awaitable[bytes]]  # the next part of a body; empty at its end


class StopSignal:
    """Says that the daemon stops, and ends the waits that nothing depends on."""

    def __init__(self) -> None:
        """Not requested yet."""
        self._requested = False
        self._waits: dict[trio.CancelScope, None] = {}

    @property
    def requested(self) -> bool:
        """Whether it was requested."""
        return self._requested

    def request(self) -> None:
        """Stop; a second time changes nothing."""
        self._requested = True
        for wait in self._waits:
            wait.cancel()

    @contextmanager
    def cuts(self) -> Iterator[None]:
        """Leave the block when the stop is requested, at once if it has been."""
        with trio.CancelScope() as scope:
            self._waits[scope] = None
            try:
                if self._requested:
                    scope.cancel()
                yield
            finally:
                del self._waits[scope]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, complete but for an upload. Header names are lower-case; `target` is as sent.

    With `upload` the body has not been read: it comes part by part as that is called. It raises BadRequest
    when the client breaks HTTP or is too slow, and ClientGone.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    upload: Upload | None = None

    def header(self, name: str) -> str:
        """The values of a header, joined by commas; empty when it was not sent."""
        return ", ".join(value for key, value in self.headers if key == name)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of known length."""

    status: int
    media_type: str
    content: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Streaming:
    """One answer that goes on: `run` is given the function that sends a part of it."""

    media_type: str
    run: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]


Application = Callable[[HttpRequest], Awaitable[Answer | Streaming]]
Refusal = Callable[[BadRequest], Answer]
IsUpload = Callable[[str, str], bool]


class ClientGone(Exception):
    """The client closed, broke off or stopped reading: there is nobody to answer."""


class HttpConnection:
    """Serves one connection from its first byte to its last."""

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        app: Application,
        refusal: Refusal,
        stop: StopSignal,
        is_upload: IsUpload = lambda _method, _target: False,
    ) -> None:
        """`refusal` words what h11 or a limit refuses before the application sees a request; `is_upload` says
        by method and target whether a body is handed over part by part.
        """
        self._stream = stream
        self._app = app
        self._refusal = refusal
        self._stop = stop
        self._is_upload = is_upload
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES_MAX)
        self._head_only = False

    async def serve(self) -> None:
        """Answer request after request, then close."""
        try:
            while await self._serve_one():
                self._h11.start_next_cycle()
        except ClientGone:
            pass
        finally:
            await trio.aclose_forcefully(self._stream)

    async def refuse(self, error: BadRequest) -> None:
        """Answer with a refusal without looking at any request, then close."""
        try:
            await self._send_refusal(error)
        except ClientGone:
            pass
        finally:
            await trio.aclose_forcefully(self._stream)

    async def _serve_one(self) -> bool:
        """Serve one request; whether another may follow."""
        try:
            request = await self._read_request()
        except BadRequest as error:
            await self._send_refusal(error)
            return False
        if request is None:
            return False
        answer = await self._app(request)
        if isinstance(answer, Streaming):
            await self._stream_answer(answer)
            return False
        unread = self._h11.their_state in (h11.SEND_BODY, h11.ERROR)  # of an upload that was refused
        await self._send_answer(answer, last=self._stop.requested or unread)
        if unread:
            await self._linger()
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    # --- reading ---

    async def _read_request(self) -> HttpRequest | None:
        """The next request; None when there will be none. Raises: BadRequest, ClientGone."""
        try:
            if not await self._wait_for_bytes():
                return None
            with _deadline(HEADER_S_MAX, "headers"):
                head = await self._next_event()
            if not isinstance(head, h11.Request):
                return None
            self._head_only = head.method == b"HEAD"
            _check_head(head)
            method, target = head.method.decode("ascii"), head.target.decode("ascii")
            upload = self._read_part if self._is_upload(method, target) else None
            with _deadline(BODY_S_MAX, "body"):
                body = b"" if upload else await self._read_body(head)
        except h11.RemoteProtocolError as error:
            raise _refused_by_h11(error) from None
        headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
        return HttpRequest(method, target, headers, body, upload)

    async def _wait_for_bytes(self) -> bool:
        """Wait in idleness for the first bytes of a request; False when none came."""
        if self._h11.trailing_data[0]:
            return True
        with self._stop.cuts(), trio.move_on_after(IDLE_S_MAX):
            data = await self._receive()
            self._h11.receive_data(data)
            return bool(data)
        return False

    async def _read_body(self, head: h11.Request) -> bytes:
        if _announced_length(head) > BODY_BYTES_MAX:
            raise _too_large()
        body = bytearray()
        while part := await self._next_part():
            body += part
            if len(body) > BODY_BYTES_MAX:
                raise _too_large()
        return bytes(body)

    async def _read_part(self) -> bytes:
        """The next part of an upload, empty at its end. Raises: BadRequest, ClientGone."""
        if self._h11.their_state is not h11.SEND_BODY:
            return b""
        try:
            with _deadline(BODY_S_MAX, "next part of the body"):
                return await self._next_part()
        except h11.RemoteProtocolError as error:
            raise _refused_by_h11(error) from None

    async def _next_part(self) -> bytes:
        """What comes next of a body, empty at its end. Raises: h11.RemoteProtocolError, ClientGone."""
        if self._h11.they_are_waiting_for_100_continue:
            status = HTTPStatus.CONTINUE
            await self._send(
                h11.InformationalResponse(status_code=status, headers=[], reason=_phrase(status))
            )
        event = await self._next_event()
        if isinstance(event, h11.Data):
            assert event.data
            return bytes(event.data)
        assert isinstance(event, h11.EndOfMessage), event
        return b""

    async def _next_event(self) -> h11.Event | type[h11.PAUSED]:
        """What h11 reads next, fed as it asks."""
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(await self._receive())
        assert not isinstance(event, type) or event is h11.PAUSED
        return event

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ClientGone from None

    # --- writing ---

    async def _send_refusal(self, error: BadRequest) -> None:
        """Refuse and be done with this connection. Raises: ClientGone."""
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            raise ClientGone
        await self._send_answer(self._refusal(error), last=True)
        await self._linger()

    async def _send_answer(self, answer: Answer, *, last: bool) -> None:
        """Send a whole answer; after the `last` one the connection closes. Raises: ClientGone."""
        headers = [*_common_headers(answer.media_type), *answer.headers]
        headers.append(("Content-Length", str(len(answer.content))))
        if last:
            headers.append(("Connection", "close"))
        content = b"" if self._head_only else answer.content
        await self._send(
            h11.Response(status_code=answer.status, headers=headers, reason=_phrase(answer.status)),
            h11.Data(data=content),
            h11.EndOfMessage(),
        )

    async def _stream_answer(self, answer: Streaming) -> None:
        headers = [*_common_headers(answer.media_type), ("Connection", "close")]
        await self._send(
            h11.Response(status_code=HTTPStatus.OK, headers=headers, reason=_phrase(HTTPStatus.OK))
        )
        finished = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_for_end, nursery.cancel_scope)
            try:
                await answer.run(self._send_part)
                finished = True
            except ClientGone:
                pass
            nursery.cancel_scope.cancel()
        if not finished:
            raise ClientGone
        await self._send(h11.EndOfMessage())

    async def _send_part(self, part: bytes) -> None:
        await self._send(h11.Data(data=part))

    async def _watch_for_end(self, scope: trio.CancelScope) -> None:
        """Leave the stream when the client closes; what it sends meanwhile belongs to no request of ours."""
        try:
            while await self._receive():
                pass
        except ClientGone:
            pass
        scope.cancel()

    async def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._h11.send(event) or b"" for event in events)
        try:
            with trio.fail_after(SEND_S_MAX):
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            raise ClientGone from None

    async def _linger(self) -> None:
        """Read on for a moment, so that closing does not overtake the answer on its way to the client."""
        left = LINGER_BYTES_MAX
        try:
            with trio.move_on_after(LINGER_S_MAX), self._stop.cuts():
                await self._stream.send_eof()
                while left > 0 and (data := await self._receive()):
                    left -= len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ClientGone from None


@contextmanager
def _deadline(seconds: float, what: str) -> Iterator[None]:
    """Refuse a request whose `what` does not arrive in time."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise BadRequest(f"The {what} did not arrive within {seconds:g} s.", code="timed-out") from None


def _common_headers(media_type: str) -> list[tuple[str, str]]:
    # Answers hold keys and names: no cache may keep them.
    return [("Content-Type", media_type), ("Cache-Control", "no-store")]


def _phrase(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode("ascii")


def _check_head(head: h11.Request) -> None:
    """Refuse what h11 lets pass: other versions, and long headers that came whole in one read."""
    if head.http_version not in (b"1.0", b"1.1"):
        raise BadRequest("HTTP is spoken here in versions 1.0 and 1.1.")
    length = len(head.target) + sum(len(name) + len(value) + len(": \r\n") for name, value in head.headers)
    if length > HEADER_BYTES_MAX:
        raise _headers_too_large()


def _headers_too_large() -> BadRequest:
    return BadRequest(f"Headers have at most {HEADER_BYTES_MAX} bytes.", code="headers-too-large")


def _announced_length(head: h11.Request) -> int:
    return max((int(value) for name, value in head.headers if name == b"content-length"), default=0)


def _too_large() -> BadRequest:
    return BadRequest(f"A body has at most {BODY_BYTES_MAX} bytes.", code="request-too-large")


def _refused_by_h11(error: h11.RemoteProtocolError) -> BadRequest:
    """What h11 found, under our slugs; it hints at no status but 400, 431 and 501."""
    if error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        return _headers_too_large()
    return BadRequest(f"This is no HTTP request: {error}.")
