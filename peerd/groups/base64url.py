"""Bytes as text of URL-safe characters without padding, in the one form that each has."""

from __future__ import annotations

import base64
import binascii


def write_base64url(data: bytes) -> str:
    """The text of any bytes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def read_base64url(text: str) -> bytes | None:
    """The bytes of a text that `write_base64url` gives, None for any other: the decoder beneath skips what it
    does not know.
    """
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return data if write_base64url(data) == text else None
