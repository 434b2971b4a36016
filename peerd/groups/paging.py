"""Cut a list into pages. A page's cursor is the key of its last entry, so entries that come or go in between
do not shift it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from peerd.control.schema import Page
from peerd.groups.base64url import read_base64url, write_base64url
from protocol.errors import RuleError

T = TypeVar("T")


def page_of(entries: Sequence[T], key: Callable[[T], str], page: Page) -> tuple[Sequence[T], str | None]:
    """One page of a list sorted by `key`, and the cursor of the next; None on the last page."""
    after = None if page.cursor is None else _read(page.cursor)
    rest = entries if after is None else [entry for entry in entries if key(entry) > after]
    part = rest[: page.limit]
    return part, _write(key(part[-1])) if len(rest) > len(part) else None


def _write(key: str) -> str:
    return write_base64url(key.encode())


def _read(cursor: str) -> str:
    packed = read_base64url(cursor)
    try:
        if packed is not None:
            return packed.decode()
    except UnicodeError:
        pass
    raise RuleError("invalid-argument", "this is no cursor of this list", hint="leave it out to begin anew")
