"""A process that checks signatures and does nothing else: `python -m peerd.gossip.check_worker`.

Whoever started it writes batches to its standard input and reads one byte for each from its standard output.
It is given public keys, signatures and messages, and no secret; it opens no file and no socket. It imports
next to nothing, so that it starts fast and is small. Signals that mean the daemon are not for it: it ends
when its input does, which is also when the daemon has been killed.

A batch is its length (4 bytes, big-endian), then a msgpack array of [key, signature, message].
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

import msgpack

from protocol.credentials.keys import SignatureCheck, all_hold

READY = b"r"
HOLD = b"y"
FAIL = b"n"
_NICENESS = 5  # the daemon, which many may wait for, comes first where cores are few
_LENGTH = struct.Struct(">I")


def batch_of(checks: Sequence[SignatureCheck]) -> bytes:
    """A batch as it is written."""
    packed: bytes = msgpack.packb([(check.key, check.signature, check.message) for check in checks])
    return _LENGTH.pack(len(packed)) + packed


def answer(batches: BinaryIO, answers: BinaryIO) -> None:
    """Say that we are there, then answer each batch, until there are no more, or nobody reads."""
    with suppress(BrokenPipeError):
        _say(answers, READY)
        while (packed := _next(batches)) is not None:
            checks = [SignatureCheck(*fields) for fields in msgpack.unpackb(packed)]
            _say(answers, HOLD if all_hold(checks) else FAIL)


def _next(batches: BinaryIO) -> bytes | None:
    """What the next batch holds; None when there is no whole one any more."""
    head = batches.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    packed = batches.read(length)
    return packed if len(packed) == length else None


def _say(answers: BinaryIO, word: bytes) -> None:
    answers.write(word)
    answers.flush()


def main() -> None:
    """Answer whoever started this."""
    os.nice(_NICENESS)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    answer(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
