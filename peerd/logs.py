"""Logs: one event is one line, a constant message with agreed fields, and nothing secret in it.

A room logs with its own logger (`peerd.gossip`, …) and passes what varies in `extra`, under the names in
`FIELDS`: `log.info("link up", extra={"peer": pid, "ms": 12})`. Bytes show their first hex digits only,
so that no key or content can appear whole; text from others is escaped, so that it cannot forge a line.

Levels: *error*, a human must act · *warning*, a neighbor misbehaved or we do less than we should · *info*,
start, stop, join, leave, up, down · *debug*, each message.
"""

from __future__ import annotations

import json
import logging
import os
import re
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TextIO

from peerd.printable import printable

FIELDS = (
    "group",
    "identity",
    "peer",
    "node",
    "link",
    "address",
    "record",
    "act",
    "message_kind",
    "fault",
    "reason",
    "code",
    "detail",
    "hint",
    "request",
    "path",
    "status",
    "count",
    "bytes",
    "ms",
)
FORMATS = ("auto", "text", "json")
LEVELS = ("debug", "info", "warning", "error")
VALUE_CHARACTERS_MAX = 400
_SHORT_HEX_DIGITS = 10
_TRACE_FRAMES_MAX = 6

_SECRETS = re.compile(
    r"(?:[A-Z2-7]{4}[- ]){13}[A-Z2-7]{4}"  # a recovery key (protocol.credentials.recovery)
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|$)"
    r"|<PEERINVITATION.*?(?:</PEERINVITATION>|$)",
    re.IGNORECASE | re.DOTALL,
)


class TextFormatter(logging.Formatter):
    """For people: time, level, room, message, then `name=value`."""

    def __init__(self, *, with_time: bool) -> None:
        """The journal stamps lines itself, so the time can be left out."""
        super().__init__()
        self._with_time = with_time

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        parts = [_time_of(record)] if self._with_time else []
        parts += [f"{record.levelname.lower():<7}", record.name, clean(record.getMessage())]
        parts += [f"{name}={_quoted(value)}" for name, value in _fields_of(record)]
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            parts.append(f"error={_quoted(f'{type(error).__name__}: {error}')}")
            parts.append(f"at={_quoted(_innermost(error))}")
        return " ".join(parts)


class JsonFormatter(logging.Formatter):
    """For programs: one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        entry: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage()),
        }
        entry |= {
            name: value if isinstance(value, (bool, int)) else shown(value)
            for name, value in _fields_of(record)
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            entry["error"] = shown(f"{type(error).__name__}: {error}")
            entry["traceback"] = clean("".join(traceback.format_exception(error)), keep="\n")
        return json.dumps(entry, ensure_ascii=False)


def configure(level: str, form: str, stream: TextIO, environment: Mapping[str, str] = os.environ) -> None:
    """Send every log to `stream`: `level` is one of LEVELS, `form` one of FORMATS ("auto" is text)."""
    assert level in LEVELS, level
    assert form in FORMATS, form
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        JsonFormatter() if form == "json" else TextFormatter(with_time="JOURNAL_STREAM" not in environment)
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # other people's loggers
    logging.getLogger("peerd").setLevel(level.upper())


def short(identifier: bytes) -> str:
    """An id as people read it: its first hex digits."""
    return identifier.hex()[:_SHORT_HEX_DIGITS]


def shown(value: object) -> str:
    """A field's value as text: ids short, secrets hidden, dangerous characters escaped, bounded."""
    text = short(bytes(value)) if isinstance(value, (bytes, bytearray, memoryview)) else str(value)
    text = clean(text)
    if len(text) > VALUE_CHARACTERS_MAX:
        return text[:VALUE_CHARACTERS_MAX] + "…"
    return text


def clean(text: str, *, keep: str = "") -> str:
    """Hide what looks like a secret, and escape what could forge a line, except characters in `keep`."""
    return printable(_SECRETS.sub("[hidden]", text), keep=keep)


def _quoted(value: object) -> str:
    text = shown(value)
    if text and not re.search(r'[\s="]', text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


def _fields_of(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    for name in FIELDS:
        value = record.__dict__.get(name)
        if value is not None:
            yield name, value


def _time_of(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _innermost(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-_TRACE_FRAMES_MAX:]
    return " < ".join(f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in reversed(frames))
