"""Values as people type them: durations, times, attributes, and what is in files."""

from __future__ import annotations

import base64
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from peerd.control.record_schema import AttributeValue, DateValue

Named = tuple[str, AttributeValue]

DATA_BYTES_MAX = 1024 * 1024  # of a record
DOCUMENT_BYTES_MAX = 128 * 1024  # an invitation; an identity document is far smaller
STANDARD_STREAM = "-"

_UNIT_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"([0-9]{1,9})([dhms])")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


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


class NamedValue(click.ParamType[Named]):
    """`name=text`, `name:int=5`, or `name:date=2030-01-31`, also with a time as RFC 3339 has it."""

    name = "attribute"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Named:
        """The name and its value; what may be a name is the daemon's to say."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        name, _, kind = name.partition(":")
        if not equals or not name:
            self.fail(f"“{value}” is no attribute; write it like title=Oven or people:int=4.", param, ctx)
        return name, self._value(kind, text, param, ctx)

    def _value(
        self, kind: str, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> AttributeValue:
        match kind:
            case "" | "string":
                return text
            case "int" if _INTEGER.fullmatch(text):
                return int(text)
            case "int":
                self.fail(f"“{text}” is no whole number of at most 19 digits.", param, ctx)
            case "date" if _DAY.fullmatch(text):
                text += "T00:00:00Z"
            case "date":
                pass
            case _:
                self.fail(f"“{kind}” is no kind of attribute; there are string, int and date.", param, ctx)
        return DateValue(date=TIME.convert(text, param, ctx).astimezone(UTC))


DURATION = Duration()
TIME = Time()
ATTRIBUTE = NamedValue()


def in_words(seconds: int) -> str:
    """A duration as `Duration` reads it, in the largest unit that leaves no rest."""
    for unit, unit_s in _UNIT_S.items():
        if seconds % unit_s == 0 and (seconds or unit_s == 1):
            return f"{seconds // unit_s}{unit}"
    raise AssertionError("every whole number is a number of seconds")


def read_document(file: str) -> str:
    """The text of an XML document from a file, or from standard input for `-`. Raises: UsageError."""
    return read_text(file, DOCUMENT_BYTES_MAX)


def read_text(file: str, bytes_max: int) -> str:
    """The text of a file, or of standard input for `-`. Raises: UsageError."""
    try:
        return _read(file, bytes_max).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise click.UsageError(f"The file {file} is not text in UTF-8.") from None


def read_data(file: str) -> bytes:
    """The data of a record from a file, or from standard input for `-`, unchanged. Raises: UsageError."""
    return _read(file, DATA_BYTES_MAX)


def _read(file: str, bytes_max: int) -> bytes:
    try:
        if file == STANDARD_STREAM:
            data = sys.stdin.buffer.read(bytes_max + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(bytes_max + 1)
    except OSError as error:
        raise click.UsageError(f"The file {file} cannot be read: {error.strerror}.") from None
    if len(data) > bytes_max:
        raise click.UsageError(f"The file {file} is larger than {bytes_max} bytes.")
    return data


def base64url(data: bytes) -> str:
    """Bytes as the API takes them."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
