"""What strangers, relays and impostors get from a real daemon: the same for all, and nothing of use."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import pytest

from peerd.clock import calendar_ms, pause
from peerd.control import schema
from protocol.credentials.keys import PrivateKey
from protocol.limits import FRAME_BYTES_MAX_MEMBER
from protocol.machines.proofs import Direction, caller_statement
from protocol.wire.messages import Hello, Message, Nothing, Prove, Welcome, decode_untrusted_message
from tests.system.circle import Circle, circle_of
from tests.system.durable import fetch, stranger
from tests.system.people import people
from tests.system.raw import RawPeer, admitted, answer, authority_of, call, hello

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture(scope="module")
def circle() -> Iterator[Circle]:
    with circle_of() as made:
        yield made


@pytest.fixture(autouse=True)
def members_are_served_all_the_while(circle: Circle) -> Iterator[None]:
    yield
    circle.still_serves()


# --- what strangers learn -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """What a stranger shows of itself."""

    group: str | None
    key: PrivateKey
    bundle: bytes = b""
    lies: bool = False


def turned_away(address: str, shown: Shown) -> tuple[list[tuple[str, int]], list[type[Message]]]:
    """Directions and, of what the daemon sent, bytes on the wire; and the messages that came."""
    with call(address) as peer:
        group = shown.group or "00" * 20
        ours = hello(group, peer.exporter) if shown.group else Hello((1,), bytes(range(16)))
        peer.say(ours)
        heard: list[Message] = [peer.hear()]
        statement = caller_statement(authority_of(group), shown.key.public.pid, bytes(16), peer.exporter)
        signature = shown.key.sign(b"a lie" if shown.lies else statement)
        peer.say(Prove(shown.key.public.raw, bytes(16), signature, shown.bundle))
        heard += peer.hear_out()
        sizes = [(direction, size if direction == "in" else 0) for direction, size in peer.capture]
        return sizes, [type(message) for message in heard]


@pytest.fixture(scope="module")
def shown(circle: Circle) -> dict[str, Shown]:
    """Strangers of every sort."""
    by_hand = schema.PropertiesChange(renew_auto=False)
    circle.alice.ask(lambda client: client.change_properties(circle.group, by_hand))
    brief, known = admitted(circle, 10, valid_s=2), admitted(circle, 11)
    ended = fetch(circle.alice.address, circle.group, brief.key)
    theirs = fetch(circle.alice.address, circle.group, known.key)
    assert ended is not None
    assert theirs is not None
    while calendar_ms() / 1000 < ended.leaf.window.end + 1:
        pause(0.1)
    nobody, name = stranger(12).key, circle.group
    return {
        "no name": Shown(None, nobody),
        "unknown group": Shown("ab" * 20 + ".pizza", nobody),
        "name, unknown key": Shown(name, nobody),
        "name, a member's bundle, another key": Shown(name, nobody, theirs.raw),
        "name, a member's key and bundle, no proof": Shown(name, known.key, theirs.raw, lies=True),
        "name, ended credential": Shown(name, brief.key, ended.raw),
        "name, ended credential, no bundle": Shown(name, brief.key),
        "name, something that is no bundle": Shown(name, nobody, b"bundle" * 1000),
        "no name, something that is no bundle": Shown(None, nobody, b"bundle" * 1000),
    }


def test_all_strangers_see_the_same(circle: Circle, shown: dict[str, Shown]) -> None:
    seen = {sort: turned_away(circle.alice.address, one) for sort, one in shown.items()}
    first, *others = seen.values()
    assert first[1] == [Hello, Nothing]
    assert all(other == first for other in others), seen


def test_strangers_of_another_version_see_the_same_whether_the_group_is_served(circle: Circle) -> None:
    seen = []
    for group in (circle.group, "ab" * 20 + ".pizza"):
        with call(circle.alice.address) as peer:
            peer.say(Hello((9,), hello(group, peer.exporter).selector))
            assert [type(message) for message in peer.hear_out()] == [Hello]
            seen.append(peer.capture)
    assert seen[0] == seen[1]


def test_who_has_no_name_gets_another_selector_each_time(circle: Circle) -> None:
    heard = []
    for _ in range(3):
        with call(circle.alice.address) as peer:
            peer.say(Hello((1,), bytes(16)))
            heard.append(peer.hear())
    assert len(set(heard)) == 3


def test_who_has_the_name_learns_only_that_the_group_is_served(circle: Circle) -> None:
    with call(circle.alice.address) as peer:
        peer.say(hello(circle.group, peer.exporter))
        assert peer.hear() == hello(circle.group, peer.exporter, Direction.ANSWERER)


# --- replay and relay -----------------------------------------------------------------------------------


def test_a_proof_is_worth_nothing_on_a_second_connection(circle: Circle) -> None:
    subject = admitted(circle, 20)
    with call(circle.alice.address) as first:
        first.say(hello(circle.group, first.exporter))
        first.hear()
        authority, key = authority_of(circle.group), subject.key
        statement = caller_statement(authority, key.public.pid, bytes(16), first.exporter)
        proof = Prove(key.public.raw, bytes(16), key.sign(statement), b"")
        first.say(proof)
        assert isinstance(first.hear(), Welcome)
        with call(circle.alice.address) as second:
            second.say(hello(circle.group, second.exporter))
            second.hear()
            second.say(proof)
            assert [type(message) for message in second.hear_out()] == [Nothing]


class Relay:
    """Somebody in the middle: a TLS session to each side, and every message passed on."""

    def __init__(self, to: str, group: str | None) -> None:
        self._to = to
        self._group = group  # the name of the group, if the relay knows it
        self.seen: list[Message] = []
        self.over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _run(self) -> None:
        with answer(self._listener) as caller, call(self._to) as answerer:
            ends = [(caller, answerer, Direction.CALLER), (answerer, caller, Direction.ANSWERER)]
            while (payload := self._pass_on(*ends[0])) is not None:
                ends.reverse()
                self.seen.append(payload)
        self.over.set()

    def _pass_on(self, source: RawPeer, sink: RawPeer, direction: Direction) -> Message | None:
        if (payload := source.hear_bytes()) is None:
            return None
        message = decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_MEMBER)
        if isinstance(message, Hello) and self._group is not None:
            message = hello(self._group, sink.exporter, direction)
        sink.say(message)
        return message


@pytest.mark.parametrize(
    ("knows_the_name", "seen"), [(False, [Hello, Hello]), (True, [Hello, Hello, Prove, Nothing])]
)
def test_somebody_in_the_middle_gets_nothing_through(
    circle: Circle, knows_the_name: bool, seen: Sequence[type[Message]]
) -> None:
    with people("carol") as (carol,):
        _, document = carol.identify("carol")
        circle.alice.issue(circle.group, document=document, store=True)
        with closing(Relay(circle.alice.address, circle.group if knows_the_name else None)) as relay:
            carol.join(group=circle.group, addresses=[relay.address])
            assert relay.over.wait(30)
            assert [type(message) for message in relay.seen] == list(seen)
            assert carol.group(circle.group).credential is None
            assert carol.type("health").code == 8
        joined = carol.json(
            "group", "join", "--group", circle.group, "--address", circle.alice.address, "--wait"
        )
        assert joined["credential"] is not None
        carol.json("wait", "synchronized", circle.group)
        expected = circle.alice.group(circle.group)
        assert carol.group(circle.group).digest == expected.digest


def test_an_impostor_that_knows_the_name_is_not_believed(circle: Circle) -> None:
    impostor = stranger(30).key
    with people("erin") as (erin,), closing(socket.create_server(("127.0.0.1", 0))) as listener:
        erin.identify("erin")
        erin.join(group=circle.group, addresses=[f"127.0.0.1:{listener.getsockname()[1]}"])
        with answer(listener) as peer:
            peer.hear()
            peer.say(hello(circle.group, peer.exporter, Direction.ANSWERER))
            assert isinstance(peer.hear(), Prove)
            peer.say(Welcome(impostor.public.raw, bytes(16), impostor.sign(b"trust me"), b"", b""))
            assert peer.hear_out() == []
        assert erin.group(circle.group).state == "joining"
