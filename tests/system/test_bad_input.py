"""Bad input over a daemon's socket and by hand gets a clear word, and changes nothing."""

from __future__ import annotations

import base64
import json
import random
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from peerd.control import schema
from peerd.control.client import ApiError
from peerd.errors import KINDS, RULE_STATUS
from tests.system.circle import Circle, circle_of
from tests.system.durable import stranger

pytestmark = [pytest.mark.system, pytest.mark.slow]

MUTANTS = 60  # of each document
PATIENCE_S = 20


@pytest.fixture(scope="module")
def circle() -> Iterator[Circle]:
    with circle_of() as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_has_changed(circle: Circle) -> Iterator[None]:
    def state() -> tuple[object, ...]:
        with circle.alice.client() as client:
            group = client.group(circle.group)
            groups, identities = client.groups().groups, client.identities()
        return group.digest, group.members, [one.group for one in groups], identities

    before = state()
    yield
    assert state() == before
    circle.still_serves()


# --- HTTP -----------------------------------------------------------------------------------------------


def exchange(circle: Circle, request: bytes) -> list[tuple[int, bytes]]:
    """What comes back for bytes sent to the control socket: status and body of each answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(str(circle.alice.home / "control.sock"))
        try:
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass  # it has heard enough
        answer = b""
        while part := sock.recv(65_536):
            answer += part
    return list(split_answers(answer))


def split_answers(answer: bytes) -> Iterator[tuple[int, bytes]]:
    while answer:
        head, _, rest = answer.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.1 (\d{3})", head)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert status is not None
        assert length is not None, head
        yield int(status[1]), rest[: int(length[1])]
        answer = rest[int(length[1]) :]


def post(path: str, body: bytes, headers: str = "Content-Type: application/json\r\n") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: peerd\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


ISSUE = "/v1/groups/pizza/credentials"
DEEP = b'{"subject":' + b"[" * 10_000
REQUESTS: dict[str, tuple[bytes, int]] = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00" + bytes(100), 400),
    "another version": (b"GET /v1 HTTP/9.9\r\nHost: peerd\r\n\r\n", 400),
    "no host": (b"GET /v1 HTTP/1.1\r\n\r\n", 400),
    "two lengths": (post(ISSUE, b"{}", "Content-Length: 1\r\n"), 400),
    "length and chunks": (post(ISSUE, b"{}", "Transfer-Encoding: chunked\r\n"), 400),
    "headers without end": (b"GET /v1 HTTP/1.1\r\nHost: peerd\r\nX: " + b"x" * 100_000, 431),
    "an unknown path": (b"GET /v1/passwords HTTP/1.1\r\nHost: peerd\r\n\r\n", 404),
    "a path that climbs": (b"GET /v1/groups/../../etc/passwd HTTP/1.1\r\nHost: peerd\r\n\r\n", 404),
    "a path that is no UTF-8": (b"GET /v1/groups/%ff HTTP/1.1\r\nHost: peerd\r\n\r\n", 400),
    "another method": (b"PUT /v1/groups HTTP/1.1\r\nHost: peerd\r\nContent-Length: 0\r\n\r\n", 405),
    "no JSON": (post(ISSUE, b"subject=bob"), 400),
    "JSON that is cut off": (post(ISSUE, b'{"subject":"bo'), 400),
    "JSON that is too deep": (post(ISSUE, DEEP), 400),
    "JSON of the wrong type": (post(ISSUE, b'{"subject":"bob","store":"yes"}'), 400),
    "an unknown field": (post(ISSUE, b'{"subject":"bob","stored":true}'), 400),
    "not UTF-8": (post(ISSUE, b'{"subject":"\xff\xfe"}'), 400),
    "a body too large": (post(ISSUE, b" " * (2 * 1024 * 1024)), 413),
    "a form": (post(ISSUE, b"subject=bob", "Content-Type: application/x-www-form-urlencoded\r\n"), 415),
    "a rule broken": (post(ISSUE, b'{"subject":"bob","store":true,"role":"king"}'), 422),
    "a cursor of nobody": (b"GET /v1/events?since=AAAA&follow=false HTTP/1.1\r\nHost: peerd\r\n\r\n", 422),
}  # fmt: skip


@pytest.mark.parametrize("sort", REQUESTS)
def test_a_bad_request_gets_a_problem(circle: Circle, sort: str) -> None:
    request, status = REQUESTS[sort]
    answers = exchange(circle, request)
    assert [found for found, _ in answers] == [status], answers
    problem = json.loads(answers[0][1])
    assert problem["type"] in KINDS | RULE_STATUS
    assert problem["status"] == status
    assert problem["detail"]
    assert "Traceback" not in problem["detail"]


# --- documents ------------------------------------------------------------------------------------------


def mutants(text: str, chance: random.Random) -> Iterator[str]:
    """A document with one thing wrong: in its text, or in the bytes that its base64 holds."""
    for _ in range(MUTANTS):
        place = chance.randrange(len(text))
        match chance.randrange(5):
            case 0:
                yield text[:place] + chance.choice("<>&\"'\0\u202ex/") + text[place + 1 :]
            case 1:
                yield text[:place] + text[place + chance.randrange(1, 50) :]
            case 2:
                yield text[:place]
            case 3:
                yield text[:place] + text[place : place + 60] + text[place:]
            case _:
                yield with_other_bytes(text, chance)


def with_other_bytes(text: str, chance: random.Random) -> str:
    """The same XML around a certificate or bundle with one byte changed."""
    found = chance.choice(list(re.finditer(r">\s*([A-Za-z0-9+/=\s]{100,})<", text)))
    data = bytearray(base64.b64decode(found[1]))
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return text[: found.start(1)] + base64.b64encode(data).decode() + text[found.end(1) :]


def refused(work: Callable[[], object]) -> str | None:
    """The slug of a refusal; None when there was none."""
    try:
        work()
    except ApiError as error:
        return error.slug if error.problem.detail else "a refusal without a reason"
    return None


@pytest.fixture(scope="module")
def invitation(circle: Circle) -> str:
    issued = circle.alice.issue(circle.group, document=stranger(70).document, invitation=True)
    assert issued.invitation is not None
    return issued.invitation


def test_no_mutant_of_an_invitation_is_believed(circle: Circle, invitation: str) -> None:
    with circle.alice.client() as client:
        assert client.parse_invitation(schema.InvitationParse(invitation=invitation)).group == circle.group
        believed = []
        for mutant in mutants(invitation, random.Random(0)):
            slug = refused(lambda: client.parse_invitation(schema.InvitationParse(invitation=mutant)))  # noqa: B023
            if slug is None:
                believed.append(mutant)
            assert slug in (None, "invitation-not-trusted")
        assert all(mutant_says_the_same(invitation, mutant) for mutant in believed), believed
        assert len(believed) < MUTANTS / 4


def mutant_says_the_same(text: str, mutant: str) -> bool:
    """Whether only what no signature covers differs: space between elements, names for people, addresses."""

    def signed(document: str) -> list[str]:
        unsigned = r"<(\w+:)?(GROUPFRIENDLYNAME|ADDRESS)\b.*?</(\w+:)?\2>"
        return re.sub(unsigned, "", document, flags=re.DOTALL).split()

    return signed(text) == signed(mutant)


def test_no_mutant_of_an_identity_document_gets_a_credential(circle: Circle) -> None:
    document = stranger(71).document
    with circle.alice.client() as client:
        for mutant in mutants(document, random.Random(1)):
            wish = schema.CredentialIssue(document=mutant)  # refused for another reason when it is believed
            slug = refused(lambda: client.issue(circle.group, wish))  # noqa: B023
            assert slug == "invitation-not-trusted" or mutant.split() == document.split(), mutant


LAUGHS = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]>'
XML: dict[str, Callable[[str], str]] = {
    "nothing": lambda text: "",
    "no XML": lambda text: "invitation",
    "another document": lambda text: "<html><body/></html>",
    "a document type": lambda text: LAUGHS + text,
    "a million laughs": lambda text: LAUGHS + text.replace(">", ">&c;", 1),
    "a file from here": lambda text: '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + text,
    "another encoding": lambda text: '<?xml version="1.0" encoding="utf-7"?>' + text,
    "deep nesting": lambda text: "<a>" * 30_000,
    "many attributes": lambda text: "<a " + " ".join(f'b{n}="c"' for n in range(20_000)) + "/>",
    "too much": lambda text: text + " " * 200_000,
    "twice": lambda text: text + text,
}


@pytest.mark.parametrize("sort", XML)
def test_strange_xml_is_not_trusted(circle: Circle, sort: str) -> None:
    document = XML[sort](stranger(72).document)
    with circle.alice.client() as client:
        parse = schema.InvitationParse(invitation=document)
        issue = schema.CredentialIssue(document=document, store=True)
        join = schema.GroupJoin(invitation=document)
        for work in (
            lambda: client.parse_invitation(parse),
            lambda: client.issue(circle.group, issue),
            lambda: client.join_group(join),
        ):
            assert refused(work) == "invitation-not-trusted"


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe\x00", "not text in UTF-8"), (b" " * 200_000, "larger than"), (None, "cannot be read")],
)
def test_a_file_that_is_no_document_is_a_usage_error(
    circle: Circle, tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "document.xml"
    if content is not None:
        file.write_bytes(content)
    for words in (
        ("credential", "issue", "pizza", "--store", "--document"),
        ("invitation", "show"),
        ("group", "join", "--invitation"),
    ):
        code, problem = circle.alice.refusal(*words, str(file))
        assert (code, problem["type"]) == (2, "usage")
        assert said in problem["detail"]
