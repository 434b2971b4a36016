"""A member that has turned bad: its link is closed with the reason, and nobody else notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from protocol.authority.acts import Place
from protocol.authority.bundle import Bundle
from protocol.authority.issuers import Issuer
from protocol.authority.issuing import Plan, write_grant
from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import name_of_key
from protocol.credentials.roles import ADMIN, MEMBER, level_for
from protocol.errors import Fault
from protocol.limits import FRAME_BYTES_MAX_MEMBER, LEVEL_INVITING_MEMBER
from protocol.wire.framing import frame
from protocol.wire.messages import (
    Bye,
    Hello,
    KeepAlive,
    Message,
    Namespace,
    News,
    Open,
    Reconcile,
    Want,
    encode_message,
)
from tests.support.builders import NO_DATA, Group
from tests.system.circle import Circle, circle_of
from tests.system.durable import fetch, stranger
from tests.system.raw import admitted, member

pytestmark = [pytest.mark.system, pytest.mark.slow]

GREEDY_FRAMES = 3000


@dataclass(frozen=True)
class Traitor:
    """A plain member's key, and what proves its membership."""

    key: PrivateKey
    bundle: Bundle


@pytest.fixture(scope="module")
def circle() -> Iterator[Circle]:
    with circle_of() as made:
        yield made


@pytest.fixture(scope="module")
def traitor(circle: Circle) -> Traitor:
    key = admitted(circle, 60).key
    bundle = fetch(circle.alice.address, circle.group, key)
    assert bundle is not None
    return Traitor(key, bundle)


def forged_grant(traitor: Traitor, claimed_level: int, role: int, friend: int) -> tuple[bytes, bytes]:
    """A credential for a friend, signed by a plain member who says that it is of another level."""
    leaf, key = traitor.bundle.leaf, stranger(61, friend).key.public
    level = level_for(role, claimed_level)
    plan = Plan(key, name_of_key(key, "friend"), "", level, (role,), leaf.window, 0, True, None)
    issuer = Issuer(traitor.key, claimed_level, leaf.act_id, leaf, leaf.window)
    place = Place(
        gid=traitor.bundle.gid,
        author=traitor.key.public.pid,
        chain=bytes(16),
        seq=1,
        prev=None,
        level=claimed_level,
        cred=leaf.act_id,
        hlc=leaf.hlc + 1,
    )
    act, der = write_grant(plan, issuer, place)
    return act.raw, der.raw


def news(*elements: bytes) -> bytes:
    return frame(encode_message(News(elements)))


def tampered(raw: bytes) -> bytes:
    """The same but for the last bit, which is one of a signature's."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


MISDEEDS: dict[str, tuple[Callable[[Traitor], bytes], Fault]] = {
    "noise": (lambda _: frame(b"\xc1\xc1"), Fault.MALFORMED),
    "a frame too long": (lambda _: (FRAME_BYTES_MAX_MEMBER + 1).to_bytes(4, "big"), Fault.OVER_LIMIT),
    "hello again": (lambda _: frame(encode_message(Hello((1,), bytes(16)))), Fault.OUT_OF_TURN),
    "an element that is none": (lambda _: news(b"\x01\x02\x03"), Fault.MALFORMED),
    "an act with a wrong signature": (
        lambda traitor: news(tampered(forged_grant(traitor, 1, ADMIN, 4)[0])),
        Fault.BAD_PROOF,
    ),
    "an act of another group": (lambda _: news(Group().elements[0].raw), Fault.INVALID_ELEMENT),
    "a grant by one who calls itself inviting": (
        lambda traitor: news(*forged_grant(traitor, LEVEL_INVITING_MEMBER, MEMBER, 1)),
        Fault.INVALID_ELEMENT,
    ),
    "a grant by one who calls itself an administrator": (
        lambda traitor: news(*forged_grant(traitor, 1, ADMIN, 2)),
        Fault.INVALID_ELEMENT,
    ),
    "a reconciliation of noise": (
        lambda _: frame(encode_message(Reconcile(Namespace.AUTH, 0, 2, 0, b"\xff" * 100, False))),
        Fault.MALFORMED,
    ),
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_a_member_that_misbehaves_is_told_why_and_let_go(
    circle: Circle, traitor: Traitor, misdeed: str
) -> None:
    before = circle.alice.group(circle.group)
    say, fault = MISDEEDS[misdeed]
    with member(circle.alice.address, circle.group, traitor.key) as peer:
        assert isinstance(peer.hear(), Open)
        peer.say(Open((), (), before.acts, bytes(16), 0, NO_DATA))
        peer.say_bytes(say(traitor))
        assert reasons(peer.hear_out()) == [fault.value]
    after = circle.alice.group(circle.group)
    assert (after.digest, after.members) == (before.digest, before.members)
    circle.still_serves()


def reasons(messages: list[Message]) -> list[int]:
    return [message.reason for message in messages if isinstance(message, Bye)]


def test_who_asks_for_what_does_not_exist_gets_no_answer_and_stays(circle: Circle, traitor: Traitor) -> None:
    with member(circle.alice.address, circle.group, traitor.key) as peer:
        opened = peer.hear()
        assert isinstance(opened, Open)
        peer.say(Open((), (), opened.count, opened.digest, 0, opened.data))
        peer.say(Want(bytes(32) * 1024))
        circle.still_serves()
        heard = peer.hear()
        # Our clock differs from its own, so it also begins to compare records.
        assert isinstance(heard, (News, KeepAlive, Reconcile))


def test_a_member_that_never_reads_slows_nobody(circle: Circle, traitor: Traitor) -> None:
    with member(circle.alice.address, circle.group, traitor.key) as peer:
        assert isinstance(peer.hear(), Open)
        everything = Want(b"".join(act.id for act in traitor.bundle.acts))
        peer.say(Open((), (), 0, bytes(16), 0, NO_DATA))
        for _ in range(GREEDY_FRAMES):
            peer.say(everything)
        circle.still_serves()
    circle.still_serves()


def test_a_certificate_cannot_be_published_for_somebody_else(circle: Circle, traitor: Traitor) -> None:
    _, der = forged_grant(traitor, 1, ADMIN, 3)
    with member(circle.alice.address, circle.group, traitor.key) as peer:
        peer.hear()
        peer.say(Open((), (), 0, bytes(16), 0, NO_DATA))
        peer.say_bytes(news(der))  # its act is not there: it is held, and its act is asked for
        wanted = next(message for message in iter(peer.hear, None) if isinstance(message, Want))
        assert len(wanted.ids) == 32
    assert fetch(circle.alice.address, circle.group, stranger(61, 3).key) is None
