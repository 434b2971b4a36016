"""A search as SQL: each part of a predicate becomes a condition that is true, or false, and never NULL.

Two things are made of a predicate. Its *condition* decides about one row of `shown`, `s`, and looks through
the attributes of that row alone. Its *source*, where it has one, is a subquery that finds by an index the
arrivals of all rows that may match, and perhaps of others: whoever takes rows from a small source need not
look at all of them.

Text is compared as bytes of UTF-8, which is the order of code points. GLOB means what `patterns.fits` does as
long as no text holds NUL or the last two code points of the first plane: neither attributes nor queries do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from protocol.ids import AUTHORITY_BYTES, PID_BYTES
from protocol.records.attributes import STRING
from protocol.records.patterns import fixed_start, pieces
from protocol.records.predicate import (
    BUILT_IN,
    PEER_FIELDS,
    And,
    ByPeer,
    Compare,
    Exists,
    Field,
    Like,
    Not,
    Op,
    Or,
    Predicate,
)
from protocol.records.search import Order

_NEVER, _ALWAYS = "0", "1"
_AUTHORITY_REST = PID_BYTES - AUTHORITY_BYTES
_COLUMNS = {
    "record_id": "lower(hex(s.record_id))",
    "record_type": "s.type",
    "version": "s.version",
    "creator": f"lower(hex(substr(s.creator, 1, {AUTHORITY_BYTES})))",
    "modified_by": f"lower(hex(substr(s.author, 1, {AUTHORITY_BYTES})))",
    "created": "s.created",
    "modified": "s.modified",
    "expires": "s.expires * 1000",
    "size": "s.size",
    "durable": "(s.expires IS NULL)",
}
# What is ordered by, where it is not what is compared: an index has it as it is.
_KEYS = {
    "record_id": "s.record_id",
    "creator": "s.creator",
    "modified_by": "s.author",
    "expires": "s.expires",
}
_PEER_COLUMNS = {"creator": "s.creator", "modified_by": "s.author"}
_INDEXED = ("record_type", "created", "modified")  # besides what `_identified` finds
_RECORD_ID = re.compile(r"[0-9a-f]{32}")
_AUTHORITY = re.compile(r"[0-9a-f]{40}")
# A text that orders as (kind, value) does: kinds have one digit; an integer is its sign, then the digits of
# its two's complement, which ascend within one sign.
_ORDERED = (
    "CASE WHEN a.number IS NULL THEN a.kind || a.text"
    " ELSE a.kind || (a.number >= 0) || printf('%016x', a.number) END"
)


@dataclass(slots=True)
class Bindings:
    """The values of one statement; SQL that is written for it names them by number."""

    values: list[bytes | str | int | None] = field(default_factory=list)

    def bind(self, value: bytes | str | int | None) -> str:
        """How SQL names this value."""
        self.values.append(value)
        return f"?{len(self.values)}"


# --- conditions ---------------------------------------------------------------------------------------------


def condition(predicate: Predicate, bindings: Bindings) -> str:
    """The SQL that is true of the rows `s` of `shown` that match."""
    match predicate:
        case And(parts):
            return _joined(" AND ", parts, bindings)
        case Or(parts):
            return _joined(" OR ", parts, bindings)
        case Not(part):
            return f"NOT {condition(part, bindings)}"
        case Exists(field_):
            if field_.built_in:
                return "(s.expires IS NOT NULL)" if field_.name == "expires" else _ALWAYS
            return _has_entry(_named(field_, bindings))
        case Compare(field_, kind, op, value):
            if field_.built_in:
                return f"+{_own(predicate, bindings)}"
            if op is Op.NOT_EQUAL:
                there = _has_entry(f"{_named(field_, bindings)} AND a.kind = {bindings.bind(kind)}")
                equal = condition(Compare(field_, kind, Op.EQUAL, value), bindings)
                return f"({there} AND NOT {equal})"
            return _has_entry(_entry(predicate, bindings))
        case Like(field_, pattern):
            if field_.built_in:
                if BUILT_IN[field_.name] != STRING:
                    return _NEVER
                return f"+({_COLUMNS[field_.name]} GLOB {bindings.bind(_glob(pattern))})"
            return _has_entry(_entry(predicate, bindings))
        case ByPeer():
            return f"+{_own(predicate, bindings)}"
        case _:
            assert_never(predicate)


def _joined(word: str, parts: Sequence[Predicate], bindings: Bindings) -> str:
    return f"({word.join(condition(part, bindings) for part in parts)})"


def _has_entry(entry: str) -> str:
    return f"EXISTS (SELECT 1 FROM attributes a WHERE a.arrival = s.arrival AND {entry})"  # noqa: S608


def _named(field_: Field, bindings: Bindings) -> str:
    # The plus keeps SQLite from the index by name, which would lead it to the same name in all records.
    return f"+a.name = {bindings.bind(field_.name)}"


def _entry(predicate: Compare | Like, bindings: Bindings) -> str:
    """What is true of an entry `a` of the row's for which the comparison holds."""
    kind = predicate.kind if isinstance(predicate, Compare) else STRING
    of_kind = f"{_named(predicate.field, bindings)} AND a.kind = {bindings.bind(kind)}"
    return f"{of_kind} AND {_value(predicate, bindings)}"


def _value(predicate: Compare | Like, bindings: Bindings) -> str:
    """What is true of the value of such an entry."""
    if isinstance(predicate, Compare):
        column = "a.text" if predicate.kind == STRING else "a.number"
        return f"{column} {predicate.op.value} {bindings.bind(predicate.value)}"
    between = ""
    start = fixed_start(predicate.pattern)
    if start:
        between = f"a.text >= {bindings.bind(start)} AND "
        beyond = _beyond(start)
        if beyond is not None:
            between += f"a.text < {bindings.bind(beyond)} AND "
    return f"{between}a.text GLOB {bindings.bind(_glob(predicate.pattern))}"


def _beyond(start: str) -> str | None:
    """The smallest text that is larger than all that begin with `start`; None where there is none."""
    kept = start.rstrip("\U0010ffff")
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    # Guards: halves of characters, which no text holds and SQLite does not take.
    return kept[:-1] + chr(0xE000 if 0xD800 <= following < 0xE000 else following)


def _glob(pattern: str) -> str:
    """The pattern in SQLite's form, which has no escapes and more wildcards."""
    return "".join(
        text if wild else "".join(f"[{one}]" if one in "*?[" else one for one in text)
        for wild, text in pieces(pattern)
    )


def _own(compare: Compare | ByPeer, bindings: Bindings) -> str:
    """What is true of a row whose own fact compares so. A plus before it keeps SQLite from the indexes: by
    which of them to begin, the source says.
    """
    name = compare.field.name
    if isinstance(compare, ByPeer):
        literals = ", ".join(f"x'{pid.hex()}'" for pid in compare.pids)
        return f"({_PEER_COLUMNS[name]} IN ({literals}))"
    value = compare.value
    if compare.kind != BUILT_IN[name]:
        return _NEVER
    if compare.op is Op.EQUAL and isinstance(value, str) and name in ("record_id", *PEER_FIELDS):
        return _identified(name, value, bindings)
    compares = f"{_COLUMNS[name]} {compare.op.value} {bindings.bind(value)}"
    return f"(s.expires IS NOT NULL AND {compares})" if name == "expires" else f"({compares})"


def _identified(name: str, digits: str, bindings: Bindings) -> str:
    """The same as comparing digits, in a form that an index answers."""
    if not (_RECORD_ID if name == "record_id" else _AUTHORITY).fullmatch(digits):
        return _NEVER
    value = bytes.fromhex(digits)
    if name == "record_id":
        return f"(s.record_id = {bindings.bind(value)})"
    first, last = value + b"\x00" * _AUTHORITY_REST, value + b"\xff" * _AUTHORITY_REST
    return f"({_PEER_COLUMNS[name]} BETWEEN {bindings.bind(first)} AND {bindings.bind(last)})"


# --- sources ------------------------------------------------------------------------------------------------


def source(predicate: Predicate, bindings: Bindings) -> str | None:
    """A subquery that finds the arrivals of all rows that match, and perhaps more; None if no index helps."""
    match predicate:
        case Or(parts):
            sources = [source(part, bindings) for part in parts]
            found = [one for one in sources if one is not None]
            return " UNION ALL ".join(found) if len(found) == len(sources) else None
        case And(parts):
            return next((one for part in parts if (one := source(part, bindings)) is not None), None)
        case Exists(field_) if not field_.built_in:
            texts = _entries(field_, "a.text IS NOT NULL", bindings)
            return f"{texts} UNION ALL {_entries(field_, 'a.number IS NOT NULL', bindings)}"
        case Compare(field_, kind, Op.NOT_EQUAL, _) if not field_.built_in:
            column = "text" if kind == STRING else "number"
            return _entries(field_, f"a.{column} IS NOT NULL", bindings)
        case Compare(field_) | Like(field_) if not field_.built_in:
            return _entries(field_, _value(predicate, bindings), bindings)
        case ByPeer():
            return _rows(_own(predicate, bindings))
        case Compare(field_, _, op) if field_.name in _INDEXED and op is not Op.NOT_EQUAL:
            return _rows(_own(predicate, bindings))
        case Compare(field_, _, Op.EQUAL) if field_.name in ("record_id", *PEER_FIELDS):
            return _rows(_own(predicate, bindings))
        case _:
            return None


def _entries(field_: Field, value: str, bindings: Bindings) -> str:
    """From the index of numbers or that of texts, neither of which has the kind."""
    return f"SELECT a.arrival FROM attributes a WHERE a.name = {bindings.bind(field_.name)} AND {value}"  # noqa: S608


def _rows(which: str) -> str:
    return f"SELECT s.arrival FROM shown s WHERE {which}"  # noqa: S608  which binds its values


# --- order --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """What rows are ordered by: SQL about the row `s`, and how it ascends. `plain` ones are columns that are
    never NULL.
    """

    sql: str
    descending: bool
    plain: bool
    of_attribute: bool


def key(order: Order, bindings: Bindings) -> Key:
    """What to order by. NULL stands for a field that is not there."""
    name = order.field.name
    if order.field.built_in:
        sql = _KEYS.get(name, _COLUMNS[name])
        return Key(sql, order.descending, plain=name not in ("expires", "durable"), of_attribute=False)
    down = " DESC" if order.descending else ""
    sql = (
        f"(SELECT {_ORDERED} FROM attributes a"  # noqa: S608  all of it is ours
        f" WHERE a.arrival = s.arrival AND {_named(order.field, bindings)} ORDER BY a.position{down} LIMIT 1)"
    )
    return Key(sql, order.descending, plain=False, of_attribute=True)


def ascending(names: Sequence[str], keys: Sequence[Key]) -> str:
    """The ORDER BY of these keys, under these names; what is NULL comes last."""
    return ", ".join(
        f"{name} {'DESC' if one.descending else 'ASC'}{'' if one.plain else ' NULLS LAST'}"
        for name, one in zip(names, keys, strict=True)
    )


def behind(
    names: Sequence[str], keys: Sequence[Key], place: Sequence[bytes | str | int | None], bindings: Bindings
) -> str:
    """What is true of the rows that come after a place in the order."""
    equal, choices = "", []
    for name, one, value in zip(names, keys, place, strict=True):
        bound = bindings.bind(value)
        if value is not None:
            beyond = f"{name} {'<' if one.descending else '>'} {bound}"
            choices.append(f"{equal}({beyond}{'' if one.plain else f' OR {name} IS NULL'})")
        equal += f"{name} IS {bound} AND "
    after = f"({' OR '.join(choices)})"
    if not keys[0].plain:
        return after
    # Said again so that an index can begin there.
    begin = f"{names[0]} {'<=' if keys[0].descending else '>='} {bindings.bind(place[0])}"
    return f"{begin} AND {after}"
