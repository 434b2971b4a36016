"""Faulty: members that do not keep to the protocol. Their keys and their links are real.

One keeps to itself what it should pass on. Another sends garbage: frames that are no messages, messages out
of turn, acts that no rule allows, acts whose parents do not exist, acts from the future, digests, credits and
wants that are not true. An honest node answers each by ending the link, by holding what may still turn out
well within its bounds, or by ignoring it; the set it keeps is never wrong.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from protocol.authority.acts import Act, Place, sign_act
from protocol.authority.bodies import AnnulBody, Body, Kind, ResignBody
from protocol.ids import ACT_ID_BYTES, CHAIN_BYTES
from protocol.limits import (
    DIGEST_BYTES,
    LISTEN_ADDRESSES_MAX,
    REFERRALS_MAX,
    WANTED_IDS_MAX,
)
from protocol.peer_time import hlc_at
from protocol.sim.faulty_records import RECORD_GARBAGE
from protocol.sim.node import Node
from protocol.wire.messages import (
    Bye,
    ByeReason,
    DataSummary,
    Finish,
    KeepAlive,
    Message,
    Namespace,
    News,
    Open,
    Piece,
    Reconcile,
    Records,
    Taken,
    Transfer,
    Want,
    encode_message,
)


@dataclass(slots=True)
class Faulty:
    """How one member errs, and what garbage it has sent."""

    withholds: bool = False
    garbage: tuple[str, ...] = ()
    sent: Counter[str] = field(default_factory=Counter)

    def lets_out(self, message: Message) -> bool:
        """Whether it sends what an honest node would."""
        return not (self.withholds and isinstance(message, (News, Records, Transfer, Piece)))

    def send_garbage(self, node: Node, rng: random.Random) -> None:
        """Send one piece of garbage on one of its links, if it has any."""
        ends = tuple(node.ends().values())
        if ends and self.garbage:
            name = rng.choice(self.garbage)
            self.sent[name] += 1
            rng.choice(ends).send(GARBAGE[name](node, rng))


def _act(
    node: Node, rng: random.Random, kind: int, body: Body, *, prev: bytes | None = None, ahead_ms: int = 0
) -> Act | None:
    """An act by the member's own key, on a chain of its own; None when it has no credential just now."""
    now = node.moment()
    grant = node.machine.members.own_grant(now.utc_s)
    if grant is None:
        return None
    place = Place(
        gid=node.gid,
        author=node.key.public.pid,
        chain=rng.randbytes(CHAIN_BYTES),
        seq=1 if prev is None else 2,
        prev=prev,
        level=grant.level,
        cred=grant.act_id,
        hlc=hlc_at(now.utc_ms + ahead_ms),
    )
    return sign_act(place, kind, body, [node.key])


def _news(act: Act | None) -> bytes:
    return encode_message(News(() if act is None else (act.raw,)))


def _noise(node: Node, rng: random.Random) -> bytes:
    return rng.randbytes(rng.randint(1, 200))


def _out_of_turn(node: Node, rng: random.Random) -> bytes:
    return encode_message(Finish(b""))


def _opens(node: Node, rng: random.Random) -> bytes:
    """Another Open, with a digest and addresses that are not true."""
    places = tuple(f"nowhere{rng.randrange(1_000)}:1" for _ in range(REFERRALS_MAX))
    return encode_message(Open(places[:LISTEN_ADDRESSES_MAX], places, *_untrue(rng)))


def _untrue(rng: random.Random) -> tuple[int, bytes, int, DataSummary]:
    """Sets and a clock as they are nowhere."""
    data = DataSummary(rng.randrange(2**20), rng.randrange(2**32), 7, rng.randbytes(DIGEST_BYTES))
    return rng.randrange(1_000), rng.randbytes(DIGEST_BYTES), rng.randrange(2**48), data


def _orphan(node: Node, rng: random.Random) -> bytes:
    """An act after one that nobody will ever have."""
    return _news(_act(node, rng, Kind.RESIGN, ResignBody(), prev=rng.randbytes(ACT_ID_BYTES)))


def _escalation(node: Node, rng: random.Random) -> bytes:
    """An act that a plain member has no right to."""
    return _news(_act(node, rng, Kind.ANNUL, AnnulBody(act=rng.randbytes(ACT_ID_BYTES))))


def _forgery(node: Node, rng: random.Random) -> bytes:
    """An act whose signature does not hold."""
    act = _act(node, rng, Kind.RESIGN, ResignBody())
    return encode_message(News(() if act is None else (act.raw[:-1] + bytes([act.raw[-1] ^ 1]),)))


def _digest(node: Node, rng: random.Random) -> bytes:
    return encode_message(KeepAlive(*_untrue(rng)))


def _wants(node: Node, rng: random.Random) -> bytes:
    ids = [rng.randbytes(ACT_ID_BYTES) for _ in range(WANTED_IDS_MAX // 2)]
    return encode_message(Want(b"".join([*node.machine.members.view.act_ids()[: WANTED_IDS_MAX // 2], *ids])))


def _session(node: Node, rng: random.Random) -> bytes:
    return encode_message(
        Reconcile(
            rng.choice(list(Namespace)),
            rng.randrange(2**32),
            rng.randrange(100),
            0,
            rng.randbytes(rng.randint(0, 60)),
            False,
        )
    )


def _credit(node: Node, rng: random.Random) -> bytes:
    return encode_message(Taken(rng.randrange(4), rng.randrange(4)))


def _transfer(node: Node, rng: random.Random) -> bytes:
    return encode_message(
        Transfer(rng.choice(list(Namespace)), rng.randrange(100), rng.randrange(4), (), True)
    )


def _referrals(node: Node, rng: random.Random) -> bytes:
    """A farewell that sends the other side to nobody."""
    places = tuple(f"nowhere{rng.randrange(1_000)}:1" for _ in range(REFERRALS_MAX))
    return encode_message(Bye(ByeReason.FULL, places))


GARBAGE: dict[str, Callable[[Node, random.Random], bytes]] = {
    "noise": _noise,
    "out-of-turn": _out_of_turn,
    "opens": _opens,
    "orphan": _orphan,
    "escalation": _escalation,
    "forgery": _forgery,
    "digest": _digest,
    "wants": _wants,
    "session": _session,
    "credit": _credit,
    "transfer": _transfer,
    "referrals": _referrals,
    **RECORD_GARBAGE,
}
