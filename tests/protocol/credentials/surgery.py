"""Certificates taken apart and put together wrongly, under a signature that holds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from protocol.credentials.keys import PrivateKey

ED25519 = bytes.fromhex("300506032b6570")
VERSION = 0
SERIAL = 1
ALGORITHM = 2
ISSUER = 3
VALIDITY = 4
SUBJECT = 5
PUBLIC_KEY = 6


def tlv(tag: int, *contents: bytes) -> bytes:
    """A DER element."""
    content = b"".join(contents)
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 128 + size]) + length.to_bytes(size, "big") + content


def inside(element: bytes) -> bytes:
    """The content of an element."""
    return element[2 + (element[1] & 127 if element[1] > 127 else 0) :]


def parts(element: bytes) -> list[bytes]:
    """The elements inside an element."""
    content, found = inside(element), []
    while content:
        size = content[1] & 127 if content[1] > 127 else 0
        length = int.from_bytes(content[2 : 2 + size], "big") if size else content[1]
        found.append(content[: 2 + size + length])
        content = content[2 + size + length :]
    return found


@dataclass(frozen=True)
class Body:
    """A certificate in pieces: fields, extensions, what follows them, and the algorithm said outside."""

    fields: list[bytes]
    extensions: list[bytes]
    behind: bytes = b""
    outer_algorithm: bytes = ED25519

    def with_field(self, place: int, element: bytes) -> Body:
        """The same with one field replaced."""
        return replace(self, fields=[*self.fields[:place], element, *self.fields[place + 1 :]])

    def with_extension(self, place: int, element: bytes) -> Body:
        """The same with one extension replaced."""
        return replace(self, extensions=[*self.extensions[:place], element, *self.extensions[place + 1 :]])

    def signed(self, signer: PrivateKey) -> bytes:
        """The DER, with a signature that holds."""
        extensions = [tlv(0xA3, tlv(0x30, *self.extensions))] if self.extensions else []
        tbs = tlv(0x30, *self.fields, *extensions, self.behind)
        return tlv(0x30, tbs, self.outer_algorithm, tlv(0x03, b"\0" + signer.sign(tbs)))


def apart(der: bytes) -> Body:
    """Take a good certificate apart."""
    *fields, extensions = parts(parts(der)[0])
    return Body(fields, parts(parts(extensions)[0]))


def common_name(*texts: bytes, tag: int = 0x0C) -> bytes:
    """A distinguished name with one part for each text."""
    oid = bytes.fromhex("0603550403")
    return tlv(0x30, *(tlv(0x31, tlv(0x30, oid, tlv(tag, text))) for text in texts))
