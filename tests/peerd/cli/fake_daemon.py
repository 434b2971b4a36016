"""A daemon that gives the answers it was told to, over a real Unix socket, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any, Self
from urllib.parse import parse_qsl, unquote

import msgspec

from peerd.control import record_schema, schema
from peerd.errors import status_of

ALICE = "aa" * 20 + ".alice"
BOB = "bb" * 20 + ".bob"
PIZZA = "cc" * 20 + ".pizza"
GRANT = "dd" * 32
RECORD = "9a" * 8 + "0123456789abcdef"
SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UNTIL = datetime(2026, 4, 2, 3, 4, 5, tzinfo=UTC)

Answer = msgspec.Struct | bytes | Callable[[], "Answer"]


@dataclass(frozen=True)
class Asked:
    """One request; `segments` is the path taken apart and decoded, without `v1`."""

    method: str
    segments: tuple[str, ...]
    query: dict[str, str]
    body: Any


class FakeDaemon:
    """Answers with what `will_answer` was given, in turn; the last answer repeats."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.asked: list[Asked] = []
        self._answers: dict[tuple[str, str], list[Answer]] = {}
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                daemon.handle(self)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingUnixStreamServer):
            daemon_threads = True

        self._server = Server(str(home / "control.sock"), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def will_answer(self, method: str, path: str, *answers: Answer) -> None:
        self._answers[method, path] = list(answers)

    def will_refuse(self, method: str, path: str, slug: str, *, hint: str = "") -> None:
        problem = schema.Problem(
            slug=slug, title="A title", status=status_of(slug), detail="The detail.", hint=hint
        )
        self.will_answer(method, path, problem)

    @property
    def last(self) -> Asked:
        return self.asked[-1]

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        path, _, query = request.path.partition("?")
        body = _body(request)
        segments = tuple(unquote(segment) for segment in path.removeprefix("/v1/").split("/"))
        octets = request.headers.get("Content-Type") == "application/octet-stream"
        said = body if octets else json.loads(body) if body else None
        self.asked.append(Asked(request.command, segments, dict(parse_qsl(query)), said))
        waiting = self._answers[request.command, "/".join(segments)]
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        while callable(answer):
            answer = answer()
        content = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
        request.send_response(answer.status if isinstance(answer, schema.Problem) else 200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


def _body(request: BaseHTTPRequestHandler) -> bytes:
    """The body of a request, of known length or in chunks."""
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    body = b""
    while length := int(request.rfile.readline(), 16):
        body += request.rfile.read(length)
        request.rfile.readline()
    request.rfile.readline()
    return body


def record(**changes: Any) -> record_schema.Record:
    given = record_schema.Record(
        record_id=RECORD,
        group=PIZZA,
        record_type="note",
        version_id="ab" * 32,
        version=2,
        creator=ALICE,
        modified_by=BOB,
        created=SINCE,
        modified=UNTIL,
        expires=None,
        durable=True,
        auto_refresh=False,
        attributes={"title": "Pizza", "people": [3, 4], "day": record_schema.DateValue(date=SINCE)},
        size=6,
        data_held=True,
        data="RnJpZGF5",
    )
    return msgspec.structs.replace(given, **changes)


def identity(name: str = ALICE, **changes: Any) -> schema.Identity:
    given = schema.Identity(
        peer_name=name, friendly_name="Alice", public_key="A" * 43, created=SINCE, groups=[PIZZA]
    )
    return msgspec.structs.replace(given, **changes)


def credential(**changes: Any) -> schema.Credential:
    given = schema.Credential(
        grant_id=GRANT,
        group=PIZZA,
        subject=BOB,
        friendly_name="Bob",
        issuer=ALICE,
        issuer_friendly_name="Alice",
        roles=["member"],
        level=255,
        issued=SINCE,
        not_before=SINCE,
        not_after=UNTIL,
        serial="0102",
        stored=True,
        held=True,
        live=True,
        current=True,
    )
    return msgspec.structs.replace(given, **changes)


def neighbor(**changes: Any) -> schema.Neighbor:
    given = schema.Neighbor(
        node_id="ee" * 16,
        peer_name=BOB,
        address="127.0.0.1:3587",
        outgoing=True,
        synchronized=True,
        since=SINCE,
    )
    return msgspec.structs.replace(given, **changes)


def group(**changes: Any) -> schema.Group:
    given = schema.Group(
        group=PIZZA,
        gid="cc" * 32,
        classifier="pizza",
        friendly_name="Pizza on Fridays",
        peer_name=ALICE,
        state="open",
        connected=True,
        only=False,
        addresses=["127.0.0.1:3587"],
        node_id="ff" * 16,
        neighbors=[neighbor()],
        synchronized=True,
        members=2,
        acts=5,
        digest="00" * 16,
        records=7,
        synchronizing=None,
        credential=credential(subject=ALICE, roles=["admin"], level=1, not_after=None),
    )
    return msgspec.structs.replace(given, **changes)


def member(**changes: Any) -> schema.Member:
    given = schema.Member(
        peer_name=BOB,
        friendly_name="Bob",
        state="member",
        roles=["member"],
        level=255,
        not_before=SINCE,
        not_after=UNTIL,
        issuer=ALICE,
        grant_id=GRANT,
        public_key="B" * 43,
        own=False,
        neighbor=True,
    )
    return msgspec.structs.replace(given, **changes)
