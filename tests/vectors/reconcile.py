"""Golden vectors of reconciliation: digests of sets, and sessions word for word.

Byte strings are lower-case hex. `python -m tests.vectors.reconcile` writes the file anew; a change in it is a
change of the protocol.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from protocol.machines.ordered_ids import OrderedIds
from protocol.machines.reconcile import Reconciliation

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "reconcile.json"
KEY = bytes(range(0x60, 0x80))

Pair = tuple[int, bytes]


def pairs(count: int, seconds_between: int) -> list[Pair]:
    """`count` ids; without seconds between them their bytes alone set them apart."""
    return [
        (1_700_000_000 + seconds_between * n, sha256(n.to_bytes(8, "big")).digest()) for n in range(count)
    ]


def collide(identifier: bytes) -> bytes:
    """The short id of every id, in the session that has to be repeated."""
    return bytes(8)


def _sets() -> list[tuple[str, Sequence[Pair], Sequence[Pair], bool]]:
    """Why, the initiator's set, the other's, and whether all short ids collide."""
    spread, close = pairs(40, 1000), pairs(40, 0)
    return [
        ("both are empty", [], [], False),
        ("the same", spread, spread, False),
        ("the initiator lists all and lacks two", spread[:4], spread[1:6], False),
        ("parts of different seconds", spread[:39], [*spread[:20], *spread[21:]], False),
        ("parts of one second", close[:39], [*close[:20], *close[21:]], False),
        ("more is lacking than is named", [], pairs(257, 60), False),
        ("short ids collide on either side", spread[:2], spread[1:4], True),
        ("different ids count as common", spread[:1], spread[1:2], True),
    ]


def session(one: Sequence[Pair], other: Sequence[Pair], collisions: bool) -> dict[str, Any]:
    """The messages of one session, and what each side has to send after it."""
    short_id = collide if collisions else None
    sides = (
        Reconciliation(OrderedIds(one), KEY, initiator=True, short_id=short_id),
        Reconciliation(OrderedIds(other), KEY, initiator=False, short_id=short_id),
    )
    payload: bytes | None = sides[0].open()
    messages: list[str] = []
    send: tuple[list[str], list[str]] = ([], [])
    while payload is not None:
        messages.append(payload.hex())
        hearer = len(messages) % 2
        step = sides[hearer].answer(payload)
        send[hearer].extend(identifier.hex() for identifier in step.theirs_lack)
        payload = step.payload
    return {"messages": messages, "initiator_sends": send[0], "other_sends": send[1]}


def _hex(some: Sequence[Pair]) -> list[list[Any]]:
    return [[second, identifier.hex()] for second, identifier in some]


def build() -> dict[str, Any]:
    """All vectors of this file."""
    return {
        "digests": [
            {"ids": _hex(some), "digest": OrderedIds(some).digest().hex()}
            for some in ([], [(0, bytes(32))], pairs(5, 0), pairs(5, 1000))
        ],
        "key": KEY.hex(),
        "sessions": [
            {"why": why, "initiator": _hex(one), "other": _hex(other), "short_ids_collide": collisions}
            | session(one, other, collisions)
            for why, one, other, collisions in _sets()
        ],
    }


def write() -> None:
    """Write the file that `test_reconcile` compares with."""
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
