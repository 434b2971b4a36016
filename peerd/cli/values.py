"""Values as people type them: durations, times, and documents in files."""

from __future__ import annotations

import re
import sys
from datetime import datetime
from pathlib import Path

import click

DOCUMENT_BYTES_MAX = 128 * 1024  # an invitation; an identity document is far smaller
STANDARD_STREAM = "-"

_UNIT_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"([0-9]{1,9})([dhms])")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class Duration(click.ParamType[int]):
    """`90d`, `12h`, `30m` or `45s`, as whole seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds; a value that was converted before is left alone."""
        if isinstance(value, int):
            return value
        found = _DURATION.fullmatch(str(value))
        if found is None:
            self.fail(f"“{value}” is no duration; write it like 90d, 12h, 30m or 45s.", param, ctx)
        return int(found[1]) * _UNIT_S[found[2]]


class Time(click.ParamType[datetime]):
    """RFC 3339, with its offset from UTC."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """An aware time."""
        if isinstance(value, datetime):
            return value
        try:
            if _TIME.fullmatch(str(value)):
                return datetime.fromisoformat(str(value).upper())
        except ValueError:
            pass
        self.fail(f"“{value}” is no time; write it like 2030-12-31T23:59:59Z.", param, ctx)


DURATION = Duration()
TIME = Time()


def in_words(seconds: int) -> str:
    """A duration as `Duration` reads it, in the largest unit that leaves no rest."""
    for unit, unit_s in _UNIT_S.items():
        if seconds % unit_s == 0 and (seconds or unit_s == 1):
            return f"{seconds // unit_s}{unit}"
    raise AssertionError("every whole number is a number of seconds")


def read_document(file: str) -> str:
    """The text of an XML document from a file, or from standard input for `-`. Raises: UsageError."""
    try:
        if file == STANDARD_STREAM:
            data = sys.stdin.buffer.read(DOCUMENT_BYTES_MAX + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(DOCUMENT_BYTES_MAX + 1)
    except OSError as error:
        raise click.UsageError(f"The file {file} cannot be read: {error.strerror}.") from None
    if len(data) > DOCUMENT_BYTES_MAX:
        raise click.UsageError(f"The file {file} is larger than {DOCUMENT_BYTES_MAX} bytes.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise click.UsageError(f"The file {file} is not text in UTF-8.") from None
