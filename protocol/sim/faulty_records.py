"""Faulty with records: versions that no rule allows, that nobody can judge, or whose time has not come, and
bodies that nobody asked for. What an honest node does about each is what `faulty` says.
"""

from __future__ import annotations

import random

from protocol.ids import ACT_ID_BYTES
from protocol.limits import HLC_AHEAD_MS_MAX
from protocol.peer_time import hlc_at
from protocol.records.record import Header, RecordItem, new_record_id, sign_header
from protocol.sim.node import Node
from protocol.wire.messages import BODY_HASH_BYTES, Got, Piece, Records, WantBody, encode_message


def _version(
    node: Node,
    rng: random.Random,
    *,
    creator: bytes | None = None,
    cred: bytes | None = None,
    ahead_ms: int = 0,
) -> Header | None:
    """A durable version by the member's own key; None when it has no credential just now."""
    now = node.moment()
    grant = node.machine.members.own_grant(now.utc_s)
    if grant is None:
        return None
    creator = creator or node.key.public.pid
    hlc = hlc_at(now.utc_ms + ahead_ms)
    return sign_header(
        node.key,
        gid=node.gid,
        record_id=new_record_id(node.gid, creator, True, rng.randbytes(8)),
        type="garbage",
        creator=creator,
        cred=cred or grant.act_id,
        created=hlc,
        hlc=hlc,
    )


def _records(header: Header | None) -> bytes:
    """A message with a version, which asks for word as often as not; with none it is no message."""
    if header is None:
        return b""
    return encode_message(Records((RecordItem(header).raw,), header.id[0] % 2 == 0))


def _orphan(node: Node, rng: random.Random) -> bytes:
    """A version under a grant that nobody will ever have."""
    return _records(_version(node, rng, cred=rng.randbytes(ACT_ID_BYTES)))


def _future(node: Node, rng: random.Random) -> bytes:
    """A good version, which has to wait for its time."""
    return _records(_version(node, rng, ahead_ms=HLC_AHEAD_MS_MAX + rng.randint(1, 60_000)))


def _others(node: Node, rng: random.Random) -> bytes:
    """A version of somebody else's record, which a plain member may not write."""
    return _records(_version(node, rng, creator=rng.randbytes(32)))


def _forgery(node: Node, rng: random.Random) -> bytes:
    """A version whose signature does not hold."""
    header = _version(node, rng)
    if header is None:
        return _records(None)
    raw = RecordItem(header).raw
    return encode_message(Records((raw[:-2] + bytes([raw[-2] ^ 1]) + raw[-1:],), False))


def _got(node: Node, rng: random.Random) -> bytes:
    return encode_message(Got(rng.randbytes(32 * rng.randint(1, 4))))


def _wants_body(node: Node, rng: random.Random) -> bytes:
    return encode_message(WantBody(rng.randbytes(BODY_HASH_BYTES), rng.randrange(1_000)))


def _piece(node: Node, rng: random.Random) -> bytes:
    return encode_message(Piece(rng.randbytes(BODY_HASH_BYTES), 0, 100, rng.randbytes(100)))


RECORD_GARBAGE = {
    "record-orphan": _orphan,
    "record-future": _future,
    "record-of-others": _others,
    "record-forgery": _forgery,
    "got": _got,
    "wants-body": _wants_body,
    "piece": _piece,
}
