"""How answers look: aligned plain text for people, one JSON document for programs.

Text from other nodes is escaped before it reaches a terminal. On a terminal too narrow for full names a table
shows their beginnings, which every command takes too; where nobody looks, nothing is shortened or wrapped.
"""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click
import msgspec

from peerd.printable import printable

_GAP = "  "
_NOTHING = "-"  # an empty cell would shift the rest for whoever splits a line at its spaces
_SHORT_CHARACTERS = 12  # of 40 hex digits: two names agree in them once in 2**48


@dataclass(frozen=True, slots=True)
class Name:
    """A long name in a table; its beginning also names it, unless another begins the same. `common` is how
    many characters it shares with others as a rule: its beginning is then behind them.
    """

    full: str
    common: int = 0

    @property
    def short(self) -> str:
        """The beginning."""
        return self.full[self.common : self.common + _SHORT_CHARACTERS]


Cell = str | Name


def json_text(answer: object) -> str:
    """One indented JSON document; structs keep the API's field names."""
    return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()


def json_line(answer: object) -> str:
    """One JSON document on one line."""
    return msgspec.json.encode(answer).decode()


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Aligned columns under their names; nothing when there are no rows."""
    if not rows:
        return ""
    full = [list(columns), *([_shown(cell) for cell in row] for row in rows)]
    width = terminal_width()
    if width is not None and _table_width(full) > width:
        full = [list(columns), *([_shown(cell, short=True) for cell in row] for row in rows)]
    return "\n".join(_aligned(full))


def details(values: Mapping[str, str | None]) -> str:
    """One `name  value` per line; what is None is left out."""
    return "\n".join(_aligned([[name, _shown(value)] for name, value in values.items() if value is not None]))


def time_text(time: datetime | None) -> str:
    """A time in UTC; `never` for an end that does not come."""
    return "never" if time is None else f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def yes_or_no(value: bool) -> str:
    """A truth as people say it."""
    return "yes" if value else "no"


def count_of(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{number} {one if number == 1 else many}"


def say(text: str) -> None:
    """Tell a person something that is not the answer itself: on standard error."""
    click.echo(text, err=True)


def terminal_width() -> int | None:
    """Columns of the terminal that standard output goes to; None when it goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def errors_go_to_terminal() -> bool:
    """Whether a person sees standard error as it is written."""
    return sys.stderr.isatty()


def _shown(cell: Cell, *, short: bool = False) -> str:
    text = cell if isinstance(cell, str) else cell.short if short else cell.full
    return printable(text) or _NOTHING


def _columns_of(text: str) -> int:
    """How many columns a terminal gives to a text."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_columns_of, column)) for column in zip(*rows, strict=True)]


def _table_width(rows: Sequence[Sequence[str]]) -> int:
    widths = _widths(rows)
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = _widths(rows)
    return [
        _GAP.join(
            text + " " * (width - _columns_of(text)) for text, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
