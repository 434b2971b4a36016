"""Golden vectors of frames, messages and the hashes and signatures that open a connection.

Byte strings are lower-case hex. `python -m tests.vectors.wire` writes the file anew; a change in it is a
change of the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from protocol.codec import encode
from protocol.credentials.keys import PrivateKey
from protocol.machines.proofs import (
    Direction,
    answerer_statement,
    caller_statement,
    exchange_hash,
    selector,
)
from protocol.wire.framing import frame
from protocol.wire.messages import (
    KINDS,
    NOTHING,
    Bye,
    ByeReason,
    DataSummary,
    Finish,
    Got,
    Hello,
    KeepAlive,
    Message,
    Namespace,
    News,
    Open,
    Piece,
    Prove,
    Recent,
    Reconcile,
    Records,
    Taken,
    Transfer,
    Want,
    WantBody,
    Welcome,
    encode_message,
    nothing_with,
)

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "wire.json"

# Inputs that a reader can tell apart in a hex dump.
AUTHORITY = bytes(range(0x10, 0x24))
EXPORTER = bytes(range(0x40, 0x60))
CALLER, ANSWERER = PrivateKey.from_seed(bytes([0xC1]) * 32), PrivateKey.from_seed(bytes([0xA1]) * 32)
CALLER_NODE, ANSWERER_NODE = bytes([0xC2]) * 16, bytes([0xA2]) * 16
DIGEST = bytes(range(16))
DATA = DataSummary(1_792_224_000, 1_800_000_000, 100_000, bytes(range(0xD0, 0xE0)))
BODY_HASH = bytes(range(0x80, 0xA0))
PROOF = bytes(range(0x20, 0x30))  # of a removal, as it lies in Nothing; what one holds, removals.json shows


def _hex(value: Any) -> Any:
    """`value` as JSON can hold it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [_hex(item) for item in value]
    if isinstance(value, dict):
        return {key: _hex(item) for key, item in value.items()}
    return value


def _opening() -> dict[str, Any]:
    """A whole handshake of two keys without bundles; the first three payloads are hashed into the fourth."""
    ours = selector(AUTHORITY, Direction.CALLER, EXPORTER)
    theirs = selector(AUTHORITY, Direction.ANSWERER, EXPORTER)
    hellos = encode_message(Hello((1,), ours)), encode_message(Hello((1, 2), theirs))
    said = caller_statement(AUTHORITY, CALLER.public.pid, CALLER_NODE, EXPORTER)
    prove = encode_message(Prove(CALLER.public.raw, CALLER_NODE, CALLER.sign(said), b""))
    exchange = exchange_hash(*hellos, prove)
    replied = answerer_statement(
        AUTHORITY, ANSWERER.public.pid, ANSWERER_NODE, EXPORTER, CALLER.public.pid, exchange
    )
    welcome = Welcome(ANSWERER.public.raw, ANSWERER_NODE, ANSWERER.sign(replied), b"", b"")
    return {
        "authority": AUTHORITY,
        "exporter": EXPORTER,
        "caller": {"seed": CALLER.seed, "pid": CALLER.public.pid, "node_id": CALLER_NODE},
        "answerer": {"seed": ANSWERER.seed, "pid": ANSWERER.public.pid, "node_id": ANSWERER_NODE},
        "selector_caller": ours,
        "selector_answerer": theirs,
        "caller_statement": said,
        "exchange_hash": exchange,
        "answerer_statement": replied,
        "payloads": [*hellos, prove, encode_message(welcome), encode_message(Finish(b""))],
    }


def _messages() -> list[Message]:
    """One of each kind, with something in every field that may be empty."""
    identity = (CALLER.public.raw, CALLER_NODE, bytes(range(64)))
    return [
        Hello((1, 3, 65_535), DIGEST),
        Prove(*identity, b"\x01\x02\x03"),
        NOTHING,
        Welcome(*identity, b"\x01\x02\x03", b"\x04\x05"),
        Finish(b"\x04\x05"),
        Open(
            ("192.0.2.1:3587", "[2001:db8::1]:3587"),
            ("peer.example:3587",),
            1000,
            DIGEST,
            1_800_000_020_500,
            DATA,
        ),
        KeepAlive(2**32 - 1, DIGEST, 2**48 - 1, DATA),
        News((b"\x92", b"\x93\x01")),
        Reconcile(Namespace.EXPIRING, 1_792_224_000, 7, 1, b"\xaa\xbb", done=False),
        Transfer(Namespace.DURABLE, 7, 256, (b"\x92",), last=True),
        Taken(7, 256),
        Want(bytes(32) + bytes([0xFF]) * 32),
        Bye(ByeReason.FULL, ("peer.example:3587",)),
        Records((b"\x92\xc4\x00\xc0", b"\x92"), ask=True),
        Got(bytes(32) + bytes([0xFF]) * 32),
        WantBody(BODY_HASH, 65_536),
        Piece(BODY_HASH, 65_536, 65_540, b"last"),
        Recent(7, 1, True, bytes(range(16)), b"\x05"),
    ]


def _refused() -> list[tuple[str, bytes]]:
    """Payloads that a reader must refuse, and why."""
    taken = {"number": 1, "session": 1}
    canonical = encode([21, taken])
    return [
        ("no message has this code", encode([29, {}])),
        ("a field is missing", encode([21, {"number": 1}])),
        ("a field has another type", encode([21, {"number": "1", "session": 1}])),
        ("a field is out of range", encode([21, {"number": 2**32, "session": 1}])),
        ("not an array of two", encode([21, taken, None])),
        ("bytes behind the end", canonical + b"\xc0"),
        ("cut short", canonical[:-1]),
        ("an integer longer than needed", canonical[:-1] + b"\xcc\x01"),
        ("keys out of order", bytes.fromhex("921582a773657373696f6e01a66e756d62657201")),
        ("a key twice", bytes.fromhex("921582a66e756d62657201a66e756d62657201")),
        ("a float", canonical[:-1] + bytes.fromhex("ca3f800000")),
        ("versions do not ascend", encode([1, {"selector": DIGEST, "versions": [2, 1]}])),
        ("a selector of 15 bytes", encode([1, {"selector": DIGEST[:15], "versions": [1]}])),
        ("padding of another length", encode([3, {"padding": bytes(4077)}])),
        ("a proof longer than its padding", encode([3, {"padding": b"\x0f\xed" + bytes(4076)}])),
        ("part of an id", encode([22, {"ids": bytes(33)}])),
        ("a control character in an address", encode([23, {"reason": 65, "referrals": ["host:1\n"]}])),
    ]


def build() -> dict[str, Any]:
    """All vectors of this file."""
    codes = {kind: code for code, kind in KINDS.items()}
    messages = [
        {
            "name": type(message).__name__,
            "code": codes[type(message)],
            "fields": to_builtins(message, builtin_types=(bytes,)),
            "payload": encode_message(message),
        }
        for message in _messages()
    ]
    unknown_field = encode([21, {"later": [b"\x01", {}], "number": 256, "session": 7}])
    vectors = {
        "frames": [{"payload": payload, "frame": frame(payload)} for payload in (b"\x00", b"\x01" * 300)],
        "messages": messages,
        "accepted": [
            {"why": "a field of a newer version is ignored", "name": "Taken", "payload": unknown_field}
        ],
        "removed": {"proof": PROOF, "payload": encode_message(nothing_with(PROOF))},
        "refused": [{"why": why, "payload": payload} for why, payload in _refused()],
        "opening": _opening(),
    }
    encoded: dict[str, Any] = _hex(vectors)
    return encoded


def write() -> None:
    """Write the file that `test_wire` compares with."""
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
