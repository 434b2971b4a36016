"""Messages on a byte stream: each behind its length in 4 big-endian bytes.

A length is judged as soon as its 4 bytes are there, so an announcement costs its sender more than its reader,
and a reader never holds more than one frame and what came with it. The bound of a stranger is smaller than a
member's (design section 7).
"""

from __future__ import annotations

from protocol.errors import Fault, RemoteProtocolError, malformed
from protocol.limits import FRAME_BYTES_MAX_MEMBER

LENGTH_BYTES = 4


def frame(payload: bytes) -> bytes:
    """`payload` (1 … FRAME_BYTES_MAX_MEMBER bytes) behind its length."""
    assert 0 < len(payload) <= FRAME_BYTES_MAX_MEMBER, len(payload)
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class FrameReader:
    """Cuts the bytes of one direction of one connection into payloads."""

    __slots__ = ("_broken", "_buffer", "_bytes_max")

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max` bounds a payload, without its length."""
        self._buffer = bytearray()
        self._bytes_max = bytes_max
        self._broken = False

    @property
    def mid_frame(self) -> bool:
        """Whether an end of the stream here would cut a frame."""
        return bool(self._buffer)

    def raise_limit(self, bytes_max: int) -> None:
        """Accept larger payloads from here on; a limit is never lowered."""
        assert bytes_max >= self._bytes_max, (bytes_max, self._bytes_max)
        self._bytes_max = bytes_max

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived and return the payloads that it completes, oldest first.

        A bad length behind completed payloads is judged by the next call, which may pass no data: one of them
        may be what makes its sender a member, whose next frame may be larger. After an error the reader must
        not be fed again.

        Raises: RemoteProtocolError (OVER_LIMIT, or MALFORMED for a length of 0).
        """
        assert not self._broken, "fed after an error"
        self._buffer += data
        payloads: list[bytes] = []
        start = 0
        while len(self._buffer) >= start + LENGTH_BYTES:
            body = start + LENGTH_BYTES
            length = int.from_bytes(self._buffer[start:body], "big")
            if not 0 < length <= self._bytes_max:
                if payloads:
                    break
                raise self._refusal(length)
            if len(self._buffer) < body + length:
                break
            payloads.append(bytes(self._buffer[body : body + length]))
            start = body + length
        del self._buffer[:start]
        return payloads

    def _refusal(self, length: int) -> RemoteProtocolError:
        self._broken = True
        self._buffer.clear()
        if length == 0:
            return malformed("a frame without content")
        return RemoteProtocolError(
            Fault.OVER_LIMIT, f"a frame of {length} bytes where {self._bytes_max} are allowed"
        )
