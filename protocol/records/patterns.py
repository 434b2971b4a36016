"""Patterns: text with wildcards, as searches compare it.

`*` stands for any run of characters, an empty one too, `?` for exactly one; `\\*`, `\\?` and `\\\\` stand for
the characters themselves, and a backslash before anything else is refused (windows-grouping.md 3.15). Case
counts, and every code point is one character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

WILDCARDS = "*?"
ESCAPED = "*?\\"
_PIECE = re.compile(r"\\([*?\\])|([*?])|([^*?\\]+)")
_KEPT_READY = 256  # compiled patterns: as many as one search may have


def bad_escape_at(pattern: str) -> int | None:
    """Where the first backslash stands that escapes nothing."""
    end = 0
    for piece in _PIECE.finditer(pattern):
        if piece.start() != end:
            return end
        end = piece.end()
    return None if end == len(pattern) else end


def wildcards_in(pattern: str) -> int:
    """How many wildcards a sound pattern has."""
    return sum(wild for wild, _ in pieces(pattern))


def literal(pattern: str) -> str:
    """The text that a sound pattern without wildcards stands for."""
    return "".join(text for _, text in pieces(pattern))


def escape(text: str) -> str:
    """The pattern that stands for exactly this text."""
    return re.sub(r"[*?\\]", r"\\\g<0>", text)


def fixed_start(pattern: str) -> str:
    """The text with which everything begins that fits a sound pattern."""
    start = []
    for wild, text in pieces(pattern):
        if wild:
            break
        start.append(text)
    return "".join(start)


def fits(pattern: str, text: str) -> bool:
    """Whether a text fits a sound pattern as a whole."""
    return _compiled(pattern).fullmatch(text) is not None


def pieces(pattern: str) -> Iterator[tuple[bool, str]]:
    """A sound pattern as (is a wildcard, wildcard or text that stands for itself)."""
    for piece in _PIECE.finditer(pattern):
        escaped, wildcard, plain = piece.groups()
        yield wildcard is not None, escaped or wildcard or plain


@lru_cache(_KEPT_READY)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as an expression that never looks back over a `*`: what follows a star is taken where it
    comes first, and if the rest does not fit behind it, it fits behind no later place either. So the time is
    bounded by the product of the two lengths, however many stars there are.
    """
    runs = [""]
    for wild, text in pieces(pattern):
        if text == "*" and wild:
            runs.append("")
        else:
            runs[-1] += "." if wild else re.escape(text)
    first, *between = runs
    last = f".*{between.pop()}" if between else ""
    middle = "".join(f"(?>.*?{run})" for run in between)
    return re.compile(first + middle + last, re.DOTALL)
