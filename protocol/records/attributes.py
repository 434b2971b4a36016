"""Attributes: the small typed facts in a record's header, by which records are found.

An attribute is a name, a kind and a value. A record's attributes are a list of them in ascending order of
(name, kind, value), each once: a name may repeat, as keywords do, and one set of attributes has one form.

Source: windows-grouping.md 3.14. Differs: integers may be negative; a string holds only what XML 1.0 can
hold, so that each attribute can be written in the original's form too; dates lie in the years 1 to 9999, so
that each can be written in RFC 3339's form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from protocol.codec import encode
from protocol.errors import Fault, RemoteProtocolError, RuleError, malformed
from protocol.limits import ATTRIBUTE_NAME_CHARACTERS_MAX, ATTRIBUTES_BYTES_MAX
from protocol.records.dates import DATE_MS_MAX, DATE_MS_MIN

INT: Final = 1
STRING: Final = 2
DATE: Final = 3  # milliseconds since 1970 UTC
KIND_NAMES: dict[int, str] = {INT: "int", STRING: "string", DATE: "date"}

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1

# What the original searches for under these names is a record's own; nobody may set it besides.
RESERVED_NAMES = frozenset(
    {
        "peerlastmodifiedby",
        "peercreatorid",
        "peerlastmodificationtime",
        "peerrecordid",
        "peerrecordtype",
        "peercreationtime",
    }
)
_NAME = re.compile(rf"[0-9A-Za-z]{{1,{ATTRIBUTE_NAME_CHARACTERS_MAX}}}", re.ASCII)
_UNFIT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2
_LIST_BYTES_MAX = 5  # that tell its length
_ATTRIBUTE_BYTES_MAX = 1 + 2 + ATTRIBUTE_NAME_CHARACTERS_MAX + 1 + 9  # besides the characters of a text
_HINT = "peerd record add --help shows how attributes are written"


class Attribute(NamedTuple):
    """One attribute; `kind` is INT, STRING or DATE. Attributes of good form are in order as tuples are."""

    name: str
    kind: int
    value: int | str


def canonical_attributes(attributes: Iterable[Attribute]) -> tuple[Attribute, ...]:
    """Check what a user wishes for and put it in order. Raises: RuleError (invalid-attributes)."""
    told = list(attributes)
    for attribute in told:
        reason = _fault_of(*attribute)
        if reason is not None:
            raise invalid(reason)
    ordered = tuple(sorted(told))
    for before, after in pairwise(ordered):
        if before == after:
            raise invalid(f"{KIND_NAMES[before.kind]} {before.name!r} has the same value twice")
    if len(encode_attributes(ordered)) > ATTRIBUTES_BYTES_MAX:
        raise invalid(f"together they have more than {ATTRIBUTES_BYTES_MAX} bytes; put large values in data")
    return ordered


def attributes_untrusted(value: list[Any]) -> tuple[Attribute, ...]:
    """Take attributes from a decoded header. Raises: RemoteProtocolError, and nothing else."""
    attributes = []
    for entry in value:
        if type(entry) is not list or len(entry) != 3:
            raise malformed("an attribute is a name, a kind and a value")
        reason = _fault_of(*entry)
        if reason is not None:
            raise malformed(reason)
        attributes.append(Attribute(*entry))
    if any(before >= after for before, after in pairwise(attributes)):
        raise malformed("attributes must ascend, each once")
    if _bytes_at_most(attributes) > ATTRIBUTES_BYTES_MAX and len(encode(value)) > ATTRIBUTES_BYTES_MAX:
        raise RemoteProtocolError(Fault.OVER_LIMIT, "the attributes are too large")
    return tuple(attributes)


def _bytes_at_most(attributes: Sequence[Attribute]) -> int:
    """No less than their canonical bytes, at a fraction of the time that these take to make."""
    texts = sum(4 * len(value) for _, _, value in attributes if isinstance(value, str))
    return _LIST_BYTES_MAX + texts + len(attributes) * _ATTRIBUTE_BYTES_MAX


def attribute_lists(attributes: Iterable[Attribute]) -> list[list[int | str]]:
    """Attributes as a header's map holds them."""
    return [list(attribute) for attribute in attributes]


def encode_attributes(attributes: Iterable[Attribute]) -> bytes:
    """The canonical bytes of attributes in the order given."""
    return encode(attribute_lists(attributes))


def invalid(reason: str) -> RuleError:
    """The refusal of attributes that a user wishes for."""
    return RuleError("invalid-attributes", f"the attributes are not acceptable: {reason}", hint=_HINT)


def _fault_of(name: Any, kind: Any, value: Any) -> str | None:
    """What is wrong with one attribute, by the types and bounds of its parts."""
    if type(name) is not str or _NAME.fullmatch(name) is None:
        return f"a name is 1 to {ATTRIBUTE_NAME_CHARACTERS_MAX} of the characters 0-9 A-Z a-z"
    # Guards: a name that differs from a reserved one by case alone would be taken for it.
    if name.lower() in RESERVED_NAMES:
        return f"the name {name} is reserved"
    if type(kind) is not int or kind not in KIND_NAMES:
        return "a kind is int (1), string (2) or date (3)"
    if kind == STRING:
        if type(value) is not str or _UNFIT.search(value) is not None:
            return f"the value of {name} is not text without control characters"
        return None
    low, high = (INT_MIN, INT_MAX) if kind == INT else (DATE_MS_MIN, DATE_MS_MAX)
    if type(value) is not int or not low <= value <= high:
        return f"the value of {name} is no {KIND_NAMES[kind]} from {low} to {high}"
    return None
