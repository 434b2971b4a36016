"""The bytes of a reconciliation's messages; what they mean stands in reconcile.py.

A message is one byte of flags, the agreement (16 bytes, when its flag is set), then answers up to the end. An
answer is its kind (1 byte) and

    SAME     run                        this and the next run - 1 questions: the fingerprints are equal
    LEFT     run                        this and the next run - 1 questions: left to another session
    SPLIT    parts (1 byte), fingerprint, then parts - 1 times: bound, fingerprint
    LIST     count, ids                 all ids in the range: of 8 bytes, after a repetition whole ones of 32
    NAMED    bits, count, ids           a list's entries that are wanted; the ids (32 bytes) that it lacks
    COUNTED  bits, count                the same, with more ids than are worth naming

Numbers are unsigned LEB128 in their shortest form. A bound is written against the one before it, the first
against the lower end of its range: twice the difference in seconds, plus one when part of an id follows, then
that part's length (1 byte) and bytes. Bits stand lowest first, the unused ones of the last byte are zero.
Questions are answered in an order that both sides know, so no answer repeats its range.

Everything is checked here that can be checked without the ids: sizes, counts, shortest forms, bounds that
ascend strictly and stay inside their range, lists without duplicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from protocol.errors import malformed
from protocol.limits import (
    FINGERPRINT_BYTES,
    RECONCILE_BRANCHES,
    RECONCILE_LIST_MAX,
    RECONCILE_NAMED_MAX,
    SHORT_ID_BYTES,
)
from protocol.machines.ordered_ids import ID_BYTES, SECOND_BYTES, SECOND_MAX

HEAD_BYTES_MAX = 1 + FINGERPRINT_BYTES

_FLAG_REPEATED = 1
_FLAG_AGREEMENT = 2
_VARINT_BYTES_MAX = 6  # 42 bits: a difference of seconds, doubled, has 41


class _Kind(IntEnum):
    SAME = 0
    LEFT = 1
    SPLIT = 2
    LIST = 3
    NAMED = 4
    COUNTED = 5


@dataclass(frozen=True, slots=True)
class Same:
    """The next `run` questions, all of them fingerprints, are about equal ranges."""

    run: int = 1


@dataclass(frozen=True, slots=True)
class Left:
    """The next `run` questions are left to another session."""

    run: int = 1


@dataclass(frozen=True, slots=True)
class Split:
    """The range in parts: the bounds between them, and a fingerprint of each, one more than bounds."""

    bounds: tuple[bytes, ...]
    fingerprints: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """Everything held in the range, by short or whole ids, in ascending order of the entries."""

    names: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """The outcome of a list: for each of its entries whether it is wanted, and what it lacks.

    `named` holds the ids that it lacks, or is empty and `unnamed` says how many they are.
    """

    wanted: tuple[bool, ...]
    named: tuple[bytes, ...]
    unnamed: int


Answer: TypeAlias = Same | Left | Split | Listed | Compared


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the answers."""

    repeated: bool  # everything starts again, and lists hold whole ids from here on
    agreement: bytes | None  # hash of the entries that the lists compared in this message have in common


class Writer:
    """Writes a message; runs of equal answers become one."""

    def __init__(self) -> None:
        """Start with no answer."""
        self._parts: list[bytes] = []
        self._run: Same | Left | None = None
        self.size = HEAD_BYTES_MAX  # never less than the message's length will be

    def add(self, answer: Answer, lower: bytes) -> None:
        """Append an answer; `lower` is the lower end of the range that it is about."""
        if isinstance(answer, Same | Left) and type(answer) is type(self._run):
            assert self._run is not None
            self._run = type(answer)(self._run.run + answer.run)
            return
        self._end_run()
        if isinstance(answer, Same | Left):
            self._run = answer
            self.size += 1 + _VARINT_BYTES_MAX
        else:
            self._parts.append(_write_answer(answer, lower))
            self.size += len(self._parts[-1])

    def message(self, head: Head) -> bytes:
        """All of it."""
        self._end_run()
        return _write_head(head) + b"".join(self._parts)

    def _end_run(self) -> None:
        match self._run:
            case Same(run):
                self._parts.append(bytes([_Kind.SAME]) + _varint(run))
            case Left(run):
                self._parts.append(bytes([_Kind.LEFT]) + _varint(run))
            case None:
                pass
        self._run = None


def _write_head(head: Head) -> bytes:
    flags = _FLAG_REPEATED if head.repeated else 0
    if head.agreement is None:
        return bytes([flags])
    return bytes([flags | _FLAG_AGREEMENT]) + head.agreement


def _write_answer(answer: Split | Listed | Compared, lower: bytes) -> bytes:
    match answer:
        case Split(bounds, fingerprints):
            return _write_split(bounds, fingerprints, lower)
        case Listed(names):
            return bytes([_Kind.LIST]) + _varint(len(names)) + b"".join(names)
        case Compared(wanted, named, 0):
            return bytes([_Kind.NAMED]) + _bits(wanted) + _varint(len(named)) + b"".join(named)
        case Compared(wanted, _, unnamed):
            return bytes([_Kind.COUNTED]) + _bits(wanted) + _varint(unnamed)


def _write_split(bounds: tuple[bytes, ...], fingerprints: tuple[bytes, ...], lower: bytes) -> bytes:
    parts = [bytes([_Kind.SPLIT, len(fingerprints)]), fingerprints[0]]
    last = _second_of(lower)
    for bound, fingerprint in zip(bounds, fingerprints[1:], strict=True):
        second, prefix = _second_of(bound), bound[SECOND_BYTES:]
        parts.append(_varint((second - last) * 2 + bool(prefix)))
        if prefix:
            parts.append(bytes([len(prefix)]) + prefix)
        parts.append(fingerprint)
        last = second
    return b"".join(parts)


def _second_of(bound: bytes) -> int:
    return int.from_bytes(bound[:SECOND_BYTES], "big")


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _bits(flags: tuple[bool, ...]) -> bytes:
    number = sum(1 << position for position, flag in enumerate(flags) if flag)
    return number.to_bytes((len(flags) + 7) // 8, "little")


class Reader:
    """Reads a neighbor's message from front to back.

    Raises: RemoteProtocolError, and nothing else, from every method.
    """

    def __init__(self, payload: bytes) -> None:
        """Start at the first byte."""
        self._payload = payload
        self._at = 0

    @property
    def at_end(self) -> bool:
        """Whether all has been read."""
        return self._at == len(self._payload)

    def head_untrusted(self) -> Head:
        """Read what stands before the answers."""
        flags = self._byte()
        if flags & ~(_FLAG_REPEATED | _FLAG_AGREEMENT):
            raise malformed("unknown flags in a reconciliation message")
        agreement = self._bytes(FINGERPRINT_BYTES) if flags & _FLAG_AGREEMENT else None
        return Head(bool(flags & _FLAG_REPEATED), agreement)

    def answer_untrusted(self, lower: bytes, upper: bytes, listed: int | None, *, whole_ids: bool) -> Answer:
        """Read the answer about the range from `lower` to `upper`.

        `listed` is how many entries the question listed, None when it was a fingerprint; `whole_ids` says how
        long the names of a list are.
        """
        kind = self._byte()
        if kind == _Kind.LEFT:
            return Left(self._run())
        if kind == _Kind.SPLIT:
            return self._split(lower, upper)
        if listed is None:
            if kind == _Kind.SAME:
                return Same(self._run())
            if kind == _Kind.LIST:
                return self._list(ID_BYTES if whole_ids else SHORT_ID_BYTES)
        elif kind == _Kind.NAMED:
            wanted = self._flags(listed)
            return Compared(wanted, self._names(RECONCILE_NAMED_MAX, ID_BYTES), 0)
        elif kind == _Kind.COUNTED:
            wanted = self._flags(listed)
            unnamed = self._varint()
            if unnamed <= RECONCILE_NAMED_MAX:
                raise malformed("few enough ids to be named were only counted")
            return Compared(wanted, (), unnamed)
        raise malformed("an answer of a kind that does not fit its question")

    def _run(self) -> int:
        run = self._varint()
        if run == 0:
            raise malformed("an empty run of answers")
        return run

    def _split(self, lower: bytes, upper: bytes) -> Split:
        parts = self._byte()
        # Guards: a fingerprint answered by one of the same range would go back and forth for ever.
        if not 2 <= parts <= RECONCILE_BRANCHES:
            raise malformed(f"a range split into {parts} parts")
        fingerprints = [self._bytes(FINGERPRINT_BYTES)]
        bounds: list[bytes] = []
        last = lower
        for _ in range(parts - 1):
            bound = self._bound(_second_of(last))
            # Guards: ranges that overlap would let one message cost many passes over the ids.
            if not last < bound < upper:
                raise malformed("bounds that do not ascend inside their range")
            bounds.append(bound)
            fingerprints.append(self._bytes(FINGERPRINT_BYTES))
            last = bound
        return Split(tuple(bounds), tuple(fingerprints))

    def _bound(self, last_second: int) -> bytes:
        difference, has_prefix = divmod(self._varint(), 2)
        second = last_second + difference
        if second > SECOND_MAX:
            raise malformed("a bound beyond the end of time")
        prefix = b""
        if has_prefix:
            length = self._byte()
            if not 1 <= length <= ID_BYTES:
                raise malformed(f"a bound with {length} bytes of an id")
            prefix = self._bytes(length)
        return second.to_bytes(SECOND_BYTES, "big") + prefix

    def _list(self, name_bytes: int) -> Listed:
        return Listed(self._names(RECONCILE_LIST_MAX - 1, name_bytes))

    def _names(self, count_max: int, name_bytes: int) -> tuple[bytes, ...]:
        count = self._varint()
        if count > count_max:
            raise malformed(f"{count} ids where {count_max} are allowed")
        joined = self._bytes(count * name_bytes)
        names = tuple(joined[at : at + name_bytes] for at in range(0, len(joined), name_bytes))
        if len(set(names)) != count:
            raise malformed("an id twice in one list")
        return names

    def _flags(self, count: int) -> tuple[bool, ...]:
        number = int.from_bytes(self._bytes((count + 7) // 8), "little")
        if number >> count:
            raise malformed("bits set beyond the end of a list")
        return tuple(bool(number >> position & 1) for position in range(count))

    def _varint(self) -> int:
        number = 0
        for position in range(_VARINT_BYTES_MAX):
            byte = self._byte()
            number |= (byte & 0x7F) << (7 * position)
            if byte < 0x80:
                if byte == 0 and position > 0:
                    raise malformed("a number longer than it need be")
                return number
        raise malformed("a number too large")

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, count: int) -> bytes:
        taken = self._payload[self._at : self._at + count]
        if len(taken) != count:
            raise malformed("a reconciliation message that ends too early")
        self._at += count
        return taken
