"""How records look on a terminal."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from peerd.cli.render import Name, count_of, details, table, time_text, yes_or_no
from peerd.control.record_schema import AttributeValue, DateValue, Record

_SHOWN_CHARACTERS_MAX = 200  # of data that are text
_OF_CREATOR_CHARACTERS = 16  # of a record's id are the same for all records of one creator


def record_text(one: Record) -> str:
    """One record, line by line."""
    return details(
        {
            "record id": one.record_id,
            "group": one.group,
            "type": one.record_type,
            "creator": one.creator,
            "created": time_text(one.created),
            "modified by": None if one.modified_by == one.creator else one.modified_by,
            "modified": None if one.modified == one.created else time_text(one.modified),
            "version": f"{one.version}, {one.version_id}",
            "expires": time_text(one.expires) + (", refreshed by this node" if one.auto_refresh else ""),
            **{f"attribute {name}": _values(value) for name, value in one.attributes.items()},
            "data": _data(one),
            "replicated": None
            if one.replicated is None
            else count_of(one.replicated, "neighbor", "neighbors"),
        }
    )


def _data(one: Record) -> str:
    """How much there is, and what, if that is a short text."""
    if not one.size:
        return "none"
    size = count_of(one.size, "byte", "bytes")
    if not one.data_held:
        return f"{size}, not here yet"
    text = _text(one.data)
    return size if text is None else f"{size}: {text}"


def _text(data: str | None) -> str | None:
    try:
        text = base64.urlsafe_b64decode((data or "") + "=" * (-len(data or "") % 4)).decode()
    except ValueError:
        return None
    return text if text.isprintable() and 0 < len(text) <= _SHOWN_CHARACTERS_MAX else None


def records_table(records: Sequence[Record]) -> str:
    """One line for each record."""
    return table(
        ["RECORD ID", "TYPE", "CREATOR", "MODIFIED", "EXPIRES", "SIZE", "HERE", "ATTRIBUTES"],
        [
            [
                Name(one.record_id, common=_OF_CREATOR_CHARACTERS),
                one.record_type,
                Name(one.creator),
                time_text(one.modified),
                time_text(one.expires),
                str(one.size),
                yes_or_no(one.data_held),
                " ".join(f"{name}={_values(value)}" for name, value in one.attributes.items()),
            ]
            for one in records
        ],
    )


def _values(value: AttributeValue | list[AttributeValue]) -> str:
    return ",".join(map(_value, value)) if isinstance(value, list) else _value(value)


def _value(value: AttributeValue) -> str:
    return time_text(value.date) if isinstance(value, DateValue) else str(value)
