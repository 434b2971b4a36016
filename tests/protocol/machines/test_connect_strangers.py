"""What a stranger sees: the same bytes in the same order, whatever it tries, served or not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from protocol.codec import encode
from protocol.errors import Fault
from protocol.limits import NOTHING_FRAME_BYTES
from protocol.machines.connect import Answerer, Ending, Finished, SendHandshake, State
from protocol.machines.proofs import Direction
from protocol.peer_time import Window
from protocol.wire.framing import frame
from protocol.wire.messages import (
    NOTHING,
    Hello,
    Nothing,
    Prove,
    Welcome,
    decode_untrusted_message,
    encode_message,
)
from tests.protocol.machines.handshakes import (
    DAY_S,
    ENDED,
    EXPORTER,
    NOW_S,
    RANDOM_SELECTOR,
    Node,
    Realm,
    arrive,
    hello_of,
    key_of,
    prove_of,
    talk,
)

CLUB, OTHER_CLUB = Realm(), Realm("other club")
STRANGER, MEMBER, ENDED_MEMBER, REVOKED, HOST = (
    key_of(name) for name in ("stranger", "member", "ended member", "revoked", "host")
)
MEMBERS_BUNDLE = CLUB.credential(MEMBER)
REVOKED_BUNDLE = CLUB.credential(REVOKED)
AUTHORITY = CLUB.authority


def host() -> Node:
    """A member that knows another, knew a third, and has seen a fourth revoked."""
    held = [MEMBERS_BUNDLE, CLUB.credential(ENDED_MEMBER, ENDED), REVOKED_BUNDLE]
    return Node(CLUB, HOST, CLUB.credential(HOST), held, {CLUB.read(REVOKED_BUNDLE).leaf.act_id})


def prove(key, bundle=b"", **spoilt) -> bytes:
    """The Prove of one who knows the group's name."""
    return prove_of(AUTHORITY, key, bundle, **spoilt)


def recorded() -> bytes:
    """The Prove of a member on another connection."""
    return prove(MEMBER, MEMBERS_BUNDLE, exporter=bytes(32))


# What may be sent as Prove by somebody who is no member.
ATTEMPTS: dict[str, Callable[[], bytes]] = {
    "a key of its own": lambda: prove(STRANGER),
    "a key of its own, for another group": lambda: prove_of(OTHER_CLUB.authority, STRANGER),
    "a bad signature": lambda: prove(STRANGER, signer=MEMBER),
    "a member's key": lambda: prove(MEMBER, signer=STRANGER),
    "a member's key and bundle": lambda: prove(MEMBER, MEMBERS_BUNDLE, signer=STRANGER),
    "the host's own key": lambda: prove(HOST, signer=STRANGER),
    "the host's own key and node id": lambda: prove(HOST, signer=STRANGER, node_id=host().node_id),
    "the host's node id": lambda: prove(STRANGER, node_id=host().node_id),
    "somebody else's bundle": lambda: prove(STRANGER, MEMBERS_BUNDLE),
    "a bundle of rubbish": lambda: prove(STRANGER, b"rubbish"),
    "a bundle cut short": lambda: prove(STRANGER, CLUB.credential(STRANGER)[:-1]),
    "a bundle of another group": lambda: prove(STRANGER, OTHER_CLUB.credential(STRANGER)),
    "a bundle that has ended": lambda: prove(STRANGER, CLUB.credential(STRANGER, ENDED)),
    "a bundle of the future": lambda: prove(
        STRANGER, CLUB.credential(STRANGER, Window(NOW_S + DAY_S, NOW_S + 2 * DAY_S))
    ),
    "a key whose credential has ended": lambda: prove(ENDED_MEMBER),
    "a revoked key": lambda: prove(REVOKED),
    "a revoked key and its bundle": lambda: prove(REVOKED, REVOKED_BUNDLE),
    "a member's recorded proof": recorded,
    "a key of small order": lambda: encode_message(Prove(bytes(32), bytes(16), bytes(64), b"")),
    "a key in a second encoding": lambda: encode_message(Prove(b"\xff" * 32, bytes(16), bytes(64), b"")),
    "a field of a newer version": lambda: encode(
        [
            2,
            {
                "bundle": b"",
                "key": STRANGER.public.raw,
                "node_id": bytes(16),
                "signature": bytes(64),
                "zz": 1,
            },
        ]
    ),
}

SERVED: dict[str, list[Node]] = {"served": [host()], "not served": [Node(OTHER_CLUB, HOST)], "no group": []}


def capture(groups: list[Node], *payloads: bytes) -> tuple[list[bytes], Answerer, list]:
    """The frames that come back for these payloads, the answerer and its last outputs."""
    answerer = Answerer(lambda: groups, EXPORTER, RANDOM_SELECTOR)
    frames, outputs = [], []
    for payload in payloads:
        outputs = arrive(answerer, payload)
        frames += [frame(output.payload) for output in outputs if isinstance(output, SendHandshake)]
    return frames, answerer, outputs


@pytest.mark.parametrize("attempt, served", list(product(ATTEMPTS, SERVED)))
def test_every_stranger_gets_a_hello_and_the_same_4096_bytes(attempt, served):
    frames, answerer, outputs = capture(SERVED[served], hello_of(AUTHORITY), ATTEMPTS[attempt]())
    expected_hello = frame(encode_message(Hello((1,), RANDOM_SELECTOR)))
    assert [len(one) for one in frames] == [len(expected_hello), NOTHING_FRAME_BYTES]
    assert frames[1] == frame(encode_message(NOTHING))
    assert answerer.state is State.CLOSED
    assert len(outputs) == 2
    assert isinstance(outputs[1], Finished)
    assert outputs[1].ending is Ending.REFUSED


def test_captures_of_all_strangers_are_equal_but_for_the_selector():
    captures = [
        capture(groups, hello_of(AUTHORITY), attempt())[0]
        for groups in SERVED.values()
        for attempt in ATTEMPTS.values()
    ]
    place = frame(encode_message(Hello((1,), RANDOM_SELECTOR))).index(RANDOM_SELECTOR)
    blanked = [(hello[:place], hello[place + 16 :], nothing) for hello, nothing in captures]
    assert len(blanked) == len(ATTEMPTS) * len(SERVED)
    assert set(blanked) == {blanked[0]}


PROVED_REMOVED = ("a revoked key", "a revoked key and its bundle")


@pytest.mark.parametrize("attempt", [*ATTEMPTS, "a revoked key that it does not hold"])
def test_only_who_proves_the_removed_key_itself_is_told_of_its_removal(attempt):
    one = host()
    one.removed[REVOKED.public.pid] = CLUB.removal(REVOKED)
    unproved = prove(REVOKED, REVOKED_BUNDLE, signer=STRANGER)
    frames, _, outputs = capture([one], hello_of(AUTHORITY), ATTEMPTS.get(attempt, lambda: unproved)())
    said = decode_untrusted_message(frames[1][4:], bytes_max=NOTHING_FRAME_BYTES)
    assert isinstance(said, Nothing)
    assert len(frames[1]) == NOTHING_FRAME_BYTES
    assert said.proof == (CLUB.removal(REVOKED) if attempt in PROVED_REMOVED else b"")
    assert isinstance(outputs[1], Finished)
    assert outputs[1].ending is Ending.REFUSED


@pytest.mark.parametrize(
    "selector_of",
    [
        hello_of(OTHER_CLUB.authority),
        hello_of(AUTHORITY, exporter=bytes(32)),
        hello_of(AUTHORITY, direction=Direction.ANSWERER),
    ],
    ids=["another name", "another connection", "the wrong direction"],
)
@pytest.mark.parametrize(
    "key, bundle", [(MEMBER, MEMBERS_BUNDLE), (STRANGER, b"")], ids=["member", "stranger"]
)
def test_without_the_right_selector_even_a_member_gets_what_strangers_get(selector_of, key, bundle):
    frames, answerer, _ = capture([host()], selector_of, prove(key, bundle))
    assert answerer.group is None
    assert frames == [frame(encode_message(Hello((1,), RANDOM_SELECTOR))), frame(encode_message(NOTHING))]


@pytest.mark.parametrize("served", SERVED)
@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", prove(STRANGER)[:-1], prove(STRANGER) + b"\0", encode([2, {}]), hello_of(AUTHORITY)],
    ids=["empty", "not msgpack", "cut short", "too long", "no fields", "another Hello"],
)
def test_what_is_no_prove_is_answered_with_silence_whether_the_group_is_served_or_not(served, payload):
    frames, answerer, outputs = capture(SERVED[served], hello_of(AUTHORITY), payload)
    assert len(frames) == 1
    assert answerer.state is State.CLOSED
    (finished,) = outputs
    assert finished.ending is Ending.FAULT
    assert finished.error.fault in (Fault.MALFORMED, Fault.OUT_OF_TURN)


def test_what_is_no_hello_is_answered_with_silence():
    for payload in (b"", b"\xc1", prove(STRANGER), encode([1, {}])):
        frames, answerer, _ = capture([host()], payload)
        assert frames == []
        assert answerer.state is State.CLOSED


def test_stranger_that_knows_the_name_learns_that_the_group_is_served_and_nothing_more():
    stranger = Node(CLUB, STRANGER)
    served, elsewhere = talk(stranger, host()), talk(stranger, Node(OTHER_CLUB, HOST))
    served.run()
    elsewhere.run()
    assert served.ending("caller").ending is Ending.NOTHING
    assert elsewhere.ending("caller").ending is Ending.NOT_SERVED
    said = b"".join(captured for sender, captured in served.captured if sender == "answerer")
    for secret in (HOST.public.raw, HOST.public.pid, host().node_id, MEMBER.public.raw, CLUB.gid, AUTHORITY):
        assert secret not in said


def test_member_is_told_apart_only_after_it_has_proved_itself():
    frames, answerer, outputs = capture([host()], hello_of(AUTHORITY), prove(MEMBER))
    assert answerer.state is State.FINISH
    (welcome,) = outputs
    assert isinstance(decode_untrusted_message(welcome.payload, bytes_max=2**17), Welcome)
    assert len(frames[1]) != NOTHING_FRAME_BYTES
