"""Cut a list into pages. A page's cursor is the key of its last entry, so entries that come or go in between
do not shift it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from peerd.control.schema import Page
from protocol.errors import RuleError

T = TypeVar("T")


def page_of(entries: Sequence[T], key: Callable[[T], str], page: Page) -> tuple[Sequence[T], str | None]:
    """One page of a list sorted by `key`, and the cursor of the next; None on the last page."""
    after = None if page.cursor is None else _read(page.cursor)
    rest = entries if after is None else [entry for entry in entries if key(entry) > after]
    part = rest[: page.limit]
    return part, _write(key(part[-1])) if len(rest) > len(part) else None


def _write(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).rstrip(b"=").decode("ascii")


def _read(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise RuleError(
            "invalid-argument", "this is no cursor of this list", hint="leave it out to begin anew"
        ) from None
