"""The socket lets in whom it should, tells everybody what is wrong, and stops when it is told to."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, strategies as st

from peerd.clock import steady_s
from peerd.control import schema, server as server_module
from peerd.control.access import AccessPolicy, Caller
from peerd.control.limits import BODY_BYTES_MAX, SUBSCRIBERS_MAX
from peerd.control.routes import ROUTES
from peerd.control.server import ControlServer, listening_socket
from peerd.errors import ConfigError, Conflict, NotReady, StoreError
from protocol.errors import RuleError
from tests.peerd.control.fake import FakeOperations
from tests.peerd.control.served import read_all, served

HANGS_S = 30.0  # far more than a stop or an answer takes on a busy machine: whoever needs it hangs


@pytest.fixture
def running(tmp_path):
    with served(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server for many hostile requests: what one of them breaks, the next ones notice."""
    with served(tmp_path_factory.mktemp("shared")) as running:
        yield running


def request(
    target: str, *lines: str, method: str = "GET", host: str = "peerd", body: bytes | None = None
) -> bytes:
    head = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *lines]
    if body is not None:
        head.append(f"Content-Length: {len(body)}")
        if not any(line.lower().startswith("content-type") for line in lines):
            head.append("Content-Type: application/json")
    return "\r\n".join([*head, "", ""]).encode() + (body or b"")


def ask(running, *arguments, **options) -> tuple[int, dict]:
    """The status and the JSON of the answer to one request."""
    answer = running.exchange(request(*arguments, **options))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 "), answer
    return int(head.split()[1]), json.loads(body)


# --- what is asked ------------------------------------------------------------------------------------------


def test_a_reply_is_json(running):
    assert ask(running, "/v1") == (
        200,
        {"version": "0.1.0", "api_extensions": [], "pid": 1, "started": "2026-09-21T14:13:20Z"},
    )


def test_a_refusal_is_a_problem(running):
    answer = running.exchange(request("/v1/groups/none"))
    assert b"\r\nContent-Type: application/problem+json\r\n" in answer
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert set(problem) == {"type", "title", "status", "detail", "hint", "instance", "windows_code"}


@pytest.mark.parametrize(
    "target,options,status,slug",
    [
        ("/", {}, 404, "not-found"),
        ("/v1/", {}, 404, "not-found"),
        ("*", {}, 400, "invalid-request"),
        ("http://peerd/v1", {}, 400, "invalid-request"),
        ("/v1/groups/%ff", {}, 400, "invalid-request"),
        ("/v1?x=1", {}, 400, "invalid-request"),
        ("/v1", {"body": b"{}"}, 400, "invalid-request"),
        ("/v1/events?x=1", {}, 400, "invalid-request"),
        ("/v1/events?since=nonsense", {}, 422, "invalid-argument"),
        ("/v1/events?group=none", {}, 404, "group-not-found"),
        ("/v1/identities", {"method": "POST", "body": b"{"}, 400, "invalid-request"),
        ("/v1/identities", {"method": "POST", "body": b'{"clasifier":""}'}, 400, "invalid-request"),
        ("/v1/identities/none", {"method": "DELETE", "body": b"{}"}, 400, "invalid-request"),
        ("/v1/groups", {"method": "POST"}, 400, "invalid-request"),
    ],
)
def test_what_cannot_be_considered_is_refused_by_name(shared, target, options, status, slug):
    found, problem = ask(shared, target, **options)
    assert (found, problem["type"], problem["status"]) == (status, slug, status)
    assert problem["detail"]


def test_an_unknown_method_is_told_the_known_ones(running):
    answer = running.exchange(request("/v1/identities", method="PUT"))
    assert answer.startswith(b"HTTP/1.1 405")
    assert b"\r\nAllow: GET, POST\r\n" in answer


def test_a_head_request_is_answered_without_a_body(running):
    assert running.exchange(request("/v1", method="HEAD")).endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Type: text/plain",),
        ("Content-Type: application/x-www-form-urlencoded",),
        ("Content-Type: application/json; charset=latin-1",),
        ("Content-Type: application/json", "Content-Encoding: gzip"),
        ("Content-Type: application/json", "Content-Type: application/json"),
        ("Content-Type:",),
    ],
)
def test_a_body_that_is_not_plain_json_is_refused(shared, lines):
    status, problem = ask(shared, "/v1/identities", *lines, method="POST", body=b"{}")
    assert (status, problem["type"]) == (415, "unsupported-media-type")


def test_an_offer_to_speak_something_else_is_not_taken_up(running):
    assert ask(running, "/v1", "Upgrade: websocket", "Connection: upgrade")[0] == 200


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_a_body_in_json_is_taken(running, kind):
    status, _ = ask(running, "/v1/identities", f"Content-Type: {kind}", method="POST", body=b"{}")
    assert status == 201


# --- who asks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["peerd", "localhost", "unix", "PEERD", "localhost:80", "peerd:3587"])
def test_our_own_names_are_hosts(shared, host):
    assert ask(shared, "/v1", host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["", "example.org", "peerd.example.org", "localhost.", "[::1]", "127.0.0.1", ":"]
)
def test_a_foreign_host_is_refused(shared, host):
    status, problem = ask(shared, "/v1", host=host)
    assert (status, problem["type"]) == (403, "access-denied")


@pytest.mark.parametrize("line", ["Origin: http://peerd", "Origin: null", "Referer: http://peerd/v1"])
def test_what_a_web_page_sends_is_refused(shared, line):
    status, problem = ask(shared, "/v1", line)
    assert (status, problem["type"]) == (403, "access-denied")


OWNER = os.geteuid() + 1  # somebody else, so that the policy decides and not ownership


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
@pytest.mark.parametrize("access", ["none", "read", "operate"])
def test_each_route_is_closed_to_callers_below_its_level(tmp_path, monkeypatch, route, access):
    caller = Caller(pid=1, uid=7, gid=7)
    monkeypatch.setattr(server_module, "caller_of", lambda _sock: caller)
    level = {"none": 0, "read": 1, "operate": 2}[access]
    uids = frozenset({caller.uid})
    policy = AccessPolicy(OWNER, uids if level == 2 else frozenset(), uids if level == 1 else frozenset())
    target = route.path.replace("{", "").replace("}", "") + (
        "?follow=false" if route.name == "get_events" else ""
    )
    with served(tmp_path, policy=policy) as running:
        answer = running.exchange(request(target, method=route.method))
    assert answer.startswith(b"HTTP/1.1 403") == (level < route.access)


# --- what fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error,status,slug",
    [
        (RuleError("clock-not-trusted", "why"), 503, "clock-not-trusted"),
        (NotReady("why"), 503, "not-ready"),
        (StoreError("why"), 500, "store-failed"),
        (ZeroDivisionError("a secret"), 500, "internal"),
    ],
)
def test_an_error_behind_the_border_becomes_its_problem(running, error, status, slug):
    running.operations.fail_with = error
    found, problem = ask(running, "/v1")
    assert (found, problem["type"]) == (status, slug)
    assert "secret" not in json.dumps(problem)


def test_a_mistake_is_logged_under_the_number_that_the_caller_gets(running, caplog):
    running.operations.fail_with = ZeroDivisionError("the cause")
    _, problem = ask(running, "/v1")
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert str(record.__dict__["request"]) == problem["instance"]
    assert "the cause" in str(record.exc_info)


def test_a_refusal_that_json_cannot_say_is_said_escaped(running):
    running.operations.fail_with = RuleError("invalid-argument", "no file \udcff")
    assert ask(running, "/v1")[1]["detail"] == "no file \\udcff"


def test_a_reply_that_json_cannot_say_is_a_mistake_and_no_crash(running, monkeypatch):
    unsayable = schema.Api(version="\ud800", api_extensions=[], pid=1, started=schema.time_at(0))
    monkeypatch.setattr(running.operations, "api", lambda: unsayable)
    assert ask(running, "/v1")[1]["type"] == "internal"
    monkeypatch.undo()
    assert ask(running, "/v1")[0] == 200


def test_a_stream_that_fails_breaks_off_and_is_not_taken_for_complete(running, monkeypatch):
    with running.connect() as sock:
        sock.sendall(request("/v1/events"))
        while b"alive" not in sock.recv(65536):
            pass
        monkeypatch.setattr(running.operations.log, "after", lambda *_: 1 / 0)
        running.do(running.operations.bell.ring)
        assert not read_all(sock).endswith(b"0\r\n\r\n")
    monkeypatch.undo()
    assert ask(running, "/v1")[0] == 200


# --- hostile bytes ------------------------------------------------------------------------------------------

fragments = st.sampled_from(
    [
        b"GET /v1/status HTTP/1.1\r\n",
        b"POST /v1/identities HTTP/1.1\r\n",
        b"GET /v1/groups/%00/members?limit=1 HTTP/1.1\r\n",
        b"Host: peerd\r\n",
        b"Content-Type: application/json\r\n",
        b"Content-Length: 2\r\n",
        b"Content-Length: 99999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Upgrade: websocket\r\nConnection: upgrade\r\n",
        b"\r\n",
        b"{}",
        b"2\r\n{}\r\n0\r\n\r\n",
        b'{"classifier":"',
        b"\x00",
        b"\xff" * 30,
    ]
)


@given(st.lists(fragments | st.binary(max_size=30), max_size=12).map(b"".join))
def test_no_bytes_are_answered_with_a_failure_or_hang(shared, sent):
    answer = shared.exchange(sent)
    assert b"HTTP/1.1 5" not in answer
    assert ask(shared, "/v1")[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT peerd:80 HTTP/1.1\r\nHost: peerd\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: peerd\r\n\r\n",
        b"TRACE /v1 HTTP/1.1\r\nHost: peerd\r\n\r\n",
        request("/v1/" + "a" * 20_000),
        request("/v1", *[f"X-{number}: y" for number in range(5_000)]),
        request("/v1/identities", method="POST", body=b"[" * 100_000),
        request("/v1/identities", method="POST", body=b"x" * (BODY_BYTES_MAX + 1)),
        request("/v1/identities", method="POST", body=b'{"classifier":"' + b"\xc3\xa4" * 500_000 + b'"}'),
        request("/v1/identities", method="POST", body=b'{"classifier":"\\u0000"}'),
        request("/v1/groups/" + "%f0%9f%92%a9" * 200),
        request("/v1/groups/" + "../" * 100 + "etc/passwd"),
        request("/v1/events?kinds=" + "," * 1000),
        request("/v1/groups/x/acts?limit=99999999999999999999"),
    ],
)
def test_hostile_requests_are_refused_and_the_next_one_is_answered(shared, sent):
    answer = shared.exchange(sent)
    assert answer.startswith(b"HTTP/1.1 4")
    assert ask(shared, "/v1")[0] == 200


# --- many connections ---------------------------------------------------------------------------------------


def test_one_user_cannot_have_all_connections(running, monkeypatch):
    monkeypatch.setattr(server_module, "CONNECTIONS_PER_USER_MAX", 3)
    with ExitStack() as stack:
        socks = [stack.enter_context(running.connect()) for _ in range(3)]
        for sock in socks:  # answered, so the server has them all
            sock.sendall(b"GET /v1 HTTP/1.1\r\nHost: peerd\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        status, problem = ask(running, "/v1")
        assert (status, problem["type"]) == (429, "too-many-connections")
        socks[0].close()
        assert wait_for(lambda: ask(running, "/v1")[0] == 200)


def wait_for(holds) -> bool:
    """Ask again until it holds; each question is a round trip, so nothing spins."""
    end = steady_s() + HANGS_S
    while steady_s() < end:
        if holds():
            return True
    return False


def test_far_too_many_connections_are_closed_unheard(running, monkeypatch):
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 0)
    monkeypatch.setattr(server_module, "BACKLOG", 0)
    assert running.exchange(request("/v1")) == b""


def test_subscribers_are_counted_for_as_long_as_they_are_connected(running):
    with ExitStack() as stack:
        for _ in range(SUBSCRIBERS_MAX):
            sock = stack.enter_context(running.connect())
            sock.sendall(request("/v1/events"))
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        status, problem = ask(running, "/v1/events")
        assert (status, problem["type"]) == (429, "too-many-connections")
        assert ask(running, "/v1")[0] == 200

    def free() -> bool:
        return running.exchange(request("/v1/events?follow=false")).startswith(b"HTTP/1.1 200")

    assert wait_for(free)


# --- events over the socket ---------------------------------------------------------------------------------


def test_events_come_as_server_sent_events(running):
    with running.connect() as sock:
        sock.sendall(request("/v1/events"))
        received = b""
        while b"alive" not in received:
            received += sock.recv(65536)
        assert b"\r\nContent-Type: text/event-stream\r\n" in received
        running.do(running.operations.log.add, "greeting")
        while b"event: greeting\n" not in received:
            received += sock.recv(65536)
        running.do(running.server.stop)
        received += read_all(sock)
    assert b"id: 1\nevent: greeting\ndata: {" in received
    assert b"event: bye\n" in received
    assert received.endswith(b"0\r\n\r\n")


def test_events_can_be_resumed_as_browsers_do(running):
    for _ in range(3):
        running.do(running.operations.log.add, "greeting")
    answer = running.exchange(request("/v1/events?since=start&follow=false", "Last-Event-ID: 2"))
    assert answer.count(b"event: greeting") == 1
    assert b"\nid: 3\n" in answer


# --- the stop -----------------------------------------------------------------------------------------------


def stops_in_time(running) -> None:
    begin = steady_s()
    running.stop()
    assert steady_s() - begin < HANGS_S
    assert not running.path.exists()


def test_a_client_that_never_reads_does_not_stop_the_stop(running):
    for _ in range(900):
        running.do(lambda: running.operations.log.add("greeting", text="x" * 10_000))
    with running.connect() as sock:
        sock.sendall(request("/v1/events?since=start"))
        sock.recv(1)
        stops_in_time(running)


def test_idle_and_half_sent_connections_do_not_stop_the_stop(running):
    with running.connect() as idle, running.connect() as half, running.connect() as body:
        half.sendall(b"GET /v1 HT")
        body.sendall(request("/v1/identities", method="POST", body=b"{}")[:-1])
        assert ask(running, "/v1")[0] == 200
        stops_in_time(running)
        assert read_all(idle) == b""


async def test_the_end_of_serving_can_be_waited_for(home, nursery):
    operations = FakeOperations()
    server = ControlServer(operations, operations.bell)
    with listening_socket(home / "control.sock") as sock:
        nursery.start_soon(server.serve, sock)
        await trio.testing.wait_all_tasks_blocked()
        server.stop()
        await server.ended()


def test_after_the_stop_nobody_answers(running):
    running.stop()
    with pytest.raises(FileNotFoundError):
        running.connect()


# --- the socket's place -------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path):
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    return path


def test_the_socket_is_closed_to_others_from_the_start(home, monkeypatch):
    modes = []
    original = socket.socket.listen

    def noted(sock, backlog):
        modes.append(stat.S_IMODE((home / "control.sock").stat().st_mode))
        original(sock, backlog)

    monkeypatch.setattr(socket.socket, "listen", noted)
    before = os.umask(0)
    try:
        with listening_socket(home / "control.sock"):
            assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_the_socket_is_removed_afterwards(home):
    with listening_socket(home / "control.sock"):
        assert (home / "control.sock").is_socket()
    assert not (home / "control.sock").exists()


def test_somebody_elses_socket_is_not_removed(home):
    with listening_socket(home / "control.sock"):
        (home / "control.sock").unlink()
        bind(home / "control.sock").close()
    assert (home / "control.sock").is_socket()


def test_a_socket_already_removed_is_no_error(home):
    with listening_socket(home / "control.sock"):
        (home / "control.sock").unlink()


def bind(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    return sock


def test_what_a_dead_daemon_left_is_replaced(home):
    bind(home / "control.sock").close()
    with listening_socket(home / "control.sock"):
        assert (home / "control.sock").is_socket()


def test_a_second_daemon_on_a_live_socket_refuses(running):
    inode = running.path.stat().st_ino
    with pytest.raises(Conflict) as caught, listening_socket(running.path):
        pass
    assert caught.value.code == "home-in-use"
    assert running.path.stat().st_ino == inode
    assert ask(running, "/v1")[0] == 200


def test_a_daemon_too_busy_to_answer_is_alive(home):
    with bind(home / "control.sock") as busy, ExitStack() as stack:
        busy.listen(0)
        for _ in range(2):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.setblocking(False)
            sock.connect_ex(str(home / "control.sock"))
        with pytest.raises(Conflict), listening_socket(home / "control.sock"):
            pass


def test_a_file_that_is_no_socket_is_left_alone(home):
    (home / "control.sock").write_text("notes")
    with pytest.raises(ConfigError), listening_socket(home / "control.sock"):
        pass
    assert (home / "control.sock").read_text() == "notes"


def test_a_symbolic_link_is_not_followed(home):
    (home / "control.sock").symlink_to(home / "elsewhere")
    with pytest.raises(ConfigError), listening_socket(home / "control.sock"):
        pass


def test_a_directory_open_to_others_is_refused(home):
    home.chmod(0o755)
    with pytest.raises(ConfigError) as caught, listening_socket(home / "control.sock"):
        pass
    assert caught.value.code == "home-not-private"
    assert not (home / "control.sock").exists()


def test_a_path_too_long_is_refused(home):
    with pytest.raises(ConfigError) as caught, listening_socket(home / ("x" * 120)):
        pass
    assert caught.value.code == "path-too-long"


def test_many_clients_at_once_are_all_answered(running):
    statuses: list[int] = []

    def client() -> None:
        with running.client() as client:
            for _ in range(10):
                client.status()
                statuses.append(200)

    threads = [threading.Thread(target=client) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 200
