"""The file that holds a whole group: all acts and certificates, and all versions of records with their data.

    peerd-export\\n                                 13 bytes
    chunk …                                        each: length (4 bytes, big-endian), content, check (8)

The check is the beginning of the content's SHA-256. Contents are canonical msgpack: first the map `v` (1) and
`gid`; then arrays of kind and bytes, 1 for an element of AUTH and 2 for a record item, parents before what
names them, so that a reader needs to hold nothing back; last the array `[0, elements, records, digest]`, the
SHA-256 of all bytes before that chunk. Nothing follows it.

Checks find damage, not forgery: what is read is judged by its signatures like everything else that arrives. A
reader gives what stands before the damage, and says where it begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

from protocol.codec import decode_untrusted, encode
from protocol.errors import RemoteProtocolError, RuleError
from protocol.ids import GID_BYTES
from protocol.limits import EXPORT_CHUNK_BYTES_MAX

EXPORT_VERSION = 1
MAGIC = b"peerd-export\n"
_LENGTH_BYTES = 4
_CHECK_BYTES = 8
_END = 0
_HINT = "make the export anew: peerd database export GROUP FILE"


class Kind(IntEnum):
    """What stands in a chunk."""

    ELEMENT = 1
    RECORD = 2


class Item(NamedTuple):
    """One element of AUTH or one record item, as bytes that nobody has looked at."""

    kind: Kind
    raw: bytes


class ExportWriter:
    """Makes the bytes of one export; they are to be written in the order in which they are asked for."""

    def __init__(self, gid: bytes) -> None:
        """`gid` names the group (32 bytes)."""
        self._gid = gid
        self._digest = hashlib.sha256()
        self._counts = dict.fromkeys(Kind, 0)

    def begin(self) -> bytes:
        """What stands first."""
        return self._noted(MAGIC + _chunk({"v": EXPORT_VERSION, "gid": self._gid}))

    def item(self, kind: Kind, raw: bytes) -> bytes:
        """What stands for one item."""
        self._counts[kind] += 1
        return self._noted(_chunk([int(kind), raw]))

    def end(self) -> bytes:
        """What stands last."""
        return _chunk([_END, *self._counts.values(), self._digest.digest()])

    def _noted(self, data: bytes) -> bytes:
        self._digest.update(data)
        return data


class ExportReader:
    """Takes an export apart, in parts of any size."""

    def __init__(self, gid: bytes) -> None:
        """Takes nothing but exports of the group `gid` (32 bytes)."""
        self._gid = gid
        self._waiting = bytearray()
        self._digest = hashlib.sha256()
        self._counts = dict.fromkeys(Kind, 0)
        self._offset = 0  # of the first byte that waits
        self._begun = False
        self._ended = False

    def feed(self, data: bytes) -> Iterator[Item]:
        """The items that are whole with these bytes; to be used up. Raises: RuleError (invalid-database,
        wrong-group, unsupported-version), after the items before it.
        """
        self._waiting += data
        while (content := self._next_content()) is not None:
            item = self._read(content)
            if item is not None:
                yield item

    def finish(self) -> None:
        """There are no more bytes. Raises: RuleError (invalid-database), they were not all."""
        if not self._ended:
            raise self._broken("it breaks off")

    def _next_content(self) -> bytes | None:
        """The content of the next chunk; None when that is not whole yet."""
        waiting, start = self._waiting, 0 if self._offset else len(MAGIC)
        if not MAGIC.startswith(waiting[:start]):
            raise self._broken("it does not begin like one")
        if self._ended and waiting:
            raise self._broken("something follows its end")
        if len(waiting) < start + _LENGTH_BYTES:
            return None
        length = int.from_bytes(waiting[start : start + _LENGTH_BYTES], "big")
        if length > EXPORT_CHUNK_BYTES_MAX:
            raise self._broken("a length is impossible")
        end = start + _LENGTH_BYTES + length
        if len(waiting) < end + _CHECK_BYTES:
            return None
        content = bytes(waiting[start + _LENGTH_BYTES : end])
        if _check(content) != waiting[end : end + _CHECK_BYTES]:
            raise self._broken("bytes have changed")
        return content

    def _read(self, content: bytes) -> Item | None:
        """What a chunk says; its bytes are done with afterwards."""
        try:
            value = decode_untrusted(content, bytes_max=EXPORT_CHUNK_BYTES_MAX)
        except RemoteProtocolError:
            raise self._broken("a chunk cannot be read") from None
        if not self._begun:
            self._check_head(value)
            self._done(content)
            return None
        match value:
            case [1 | 2 as kind, bytes() as raw] if type(kind) is int:
                item = Item(Kind(kind), raw)
                self._counts[item.kind] += 1
                self._done(content)
                return item
            case [0, *told]:
                if told != [*self._counts.values(), self._digest.digest()]:
                    raise self._broken("parts of it are missing")
                self._done(content)
                self._ended = True
                return None
            case _:
                raise self._broken("a chunk is of no known kind")

    def _check_head(self, value: Any) -> None:
        match value:
            case {"v": version, "gid": bytes() as gid} if type(version) is int and len(gid) == GID_BYTES:
                pass
            case _:
                raise self._broken("it does not say of which group it is")
        if version != EXPORT_VERSION:
            raise RuleError(
                "unsupported-version",
                f"the export has format {version}; this peerd reads format {EXPORT_VERSION}",
                hint="use the version of peerd that made it, or a newer one",
            )
        if gid != self._gid:
            raise RuleError(
                "wrong-group",
                f"the export is of the group whose id begins with {gid.hex()[:12]}, not of this one",
                hint="peerd group list",
            )
        self._begun = True

    def _done(self, content: bytes) -> None:
        """Go past a chunk, and past what stands before the first."""
        length = (0 if self._offset else len(MAGIC)) + _LENGTH_BYTES + len(content) + _CHECK_BYTES
        self._digest.update(self._waiting[:length])
        del self._waiting[:length]
        self._offset += length

    def _broken(self, why: str) -> RuleError:
        where = f"at byte {self._offset}, after {sum(self._counts.values())} items"
        return RuleError("invalid-database", f"this is no whole export: {why} ({where})", hint=_HINT)


def _chunk(value: Any) -> bytes:
    content = encode(value)
    assert len(content) <= EXPORT_CHUNK_BYTES_MAX
    return len(content).to_bytes(_LENGTH_BYTES, "big") + content + _check(content)


def _check(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:_CHECK_BYTES]
