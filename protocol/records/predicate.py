"""What a search asks of a record: a tree of comparisons, and the function that says what it means.

A comparison names a field, a kind, an operator and a value. A field is an attribute, or one of a record's own
facts (`BUILT_IN`). It has any number of *entries*, each a kind and a value: a built-in one or none, an
attribute as many as the record repeats it.

* Kinds do not mix. An integer is compared with integers, as a number (9 < 10), a date with dates, a string
  with strings, by code points: case counts. Entries of another kind are passed over.
* A comparison holds when it holds for some entry. `!=` alone asks it of all: the field has entries of that
  kind, and none of them equals the value. So `!=` needs the field to be there, and `not … =` does not.
* A peer's entry is the 40 hex digits of its authority. Names that need looking up, and the names that a
  pattern fits, are resolved before (`with_names`), by whoever knows the group.

`matches` is the meaning; whatever finds records faster must find the same.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, assert_never

from protocol.errors import RuleError
from protocol.ids import PID_BYTES, authority_of
from protocol.limits import SEARCH_PEERS_MAX
from protocol.peer_time import hlc_ms
from protocol.records.attributes import DATE, INT, STRING, Attribute
from protocol.records.patterns import fits
from protocol.records.record import Header

BUILT_IN: dict[str, int] = {
    "record_id": STRING,  # 32 hex digits
    "record_type": STRING,
    "version": INT,
    "creator": STRING,  # 40 hex digits, or what `with_names` looks up
    "modified_by": STRING,  # likewise
    "created": DATE,
    "modified": DATE,
    "expires": DATE,  # absent for durable records
    "size": INT,  # bytes of the data
    "durable": INT,  # 1 or 0
}
PEER_FIELDS = ("creator", "modified_by")
_AUTHORITY = re.compile(r"[0-9a-f]{40}")
_PID = re.compile(r"[0-9a-f]{64}")


class Op(Enum):
    """How two values are compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="


_HOLDS: dict[Op, Callable[[int | str, int | str], bool]] = {
    Op.EQUAL: operator.eq,
    Op.NOT_EQUAL: operator.ne,
    Op.LESS: operator.lt,
    Op.LESS_OR_EQUAL: operator.le,
    Op.GREATER: operator.gt,
    Op.GREATER_OR_EQUAL: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Field:
    """An attribute, or one of `BUILT_IN`: an attribute may bear the same name."""

    name: str
    built_in: bool = False


def built_in(name: str) -> Field:
    """One of a record's own facts."""
    assert name in BUILT_IN
    return Field(name, built_in=True)


@dataclass(frozen=True, slots=True)
class And:
    """All of the parts hold."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of the parts holds."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Predicate


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has an entry, of whatever kind."""

    field: Field


@dataclass(frozen=True, slots=True)
class Compare:
    """The field compares so with a value of a kind: int for INT and DATE, str for STRING."""

    field: Field
    kind: int
    op: Op
    value: int | str


@dataclass(frozen=True, slots=True)
class Like:
    """A string of the field fits a sound pattern, of characters that attributes may hold."""

    field: Field
    pattern: str


@dataclass(frozen=True, slots=True)
class ByPeer:
    """A field of PEER_FIELDS is one of these keys (pids)."""

    field: Field
    pids: tuple[bytes, ...]


Predicate = And | Or | Not | Exists | Compare | Like | ByPeer


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """What of a shown record can be searched.

    `creator` and `modified_by` are pids, `created` and `modified` milliseconds UTC, `expires` seconds UTC
    (None: durable); `attributes` are in order.
    """

    record_id: bytes
    record_type: str
    version: int
    creator: bytes
    modified_by: bytes
    created: int
    modified: int
    expires: int | None
    size: int
    attributes: tuple[Attribute, ...]

    def entries(self, field: Field) -> Iterator[tuple[int, int | str]]:
        """The kinds and values of a field, ascending."""
        if not field.built_in:
            for name, kind, value in self.attributes:
                if name == field.name:
                    yield kind, value
            return
        own = self._own(field.name)
        if own is not None:
            yield BUILT_IN[field.name], own

    def _own(self, name: str) -> int | str | None:
        match name:
            case "record_id":
                return self.record_id.hex()
            case "creator":
                return authority_of(self.creator)
            case "modified_by":
                return authority_of(self.modified_by)
            case "expires":
                return None if self.expires is None else self.expires * 1000
            case "durable":
                return int(self.expires is None)
            case _:
                own: int | str = getattr(self, name)
                return own


def facts_of(header: Header) -> RecordFacts:
    """What can be searched of a version that is shown."""
    return RecordFacts(
        record_id=header.record_id,
        record_type=header.type,
        version=header.version,
        creator=header.creator,
        modified_by=header.author,
        created=hlc_ms(header.created),
        modified=header.hlc_ms,
        expires=header.expires,
        size=header.size,
        attributes=header.attributes,
    )


def matches(predicate: Predicate, facts: RecordFacts) -> bool:
    """Whether a record is among those asked for."""
    match predicate:
        case And(parts):
            return all(matches(part, facts) for part in parts)
        case Or(parts):
            return any(matches(part, facts) for part in parts)
        case Not(part):
            return not matches(part, facts)
        case Exists(field):
            return any(True for _ in facts.entries(field))
        case Like(field, pattern):
            return any(isinstance(value, str) and fits(pattern, value) for _, value in facts.entries(field))
        case ByPeer(field, pids):
            return getattr(facts, field.name) in pids
        case Compare():
            return _holds(predicate, facts)
        case _:
            assert_never(predicate)


def _holds(compare: Compare, facts: RecordFacts) -> bool:
    holds = _HOLDS[compare.op]
    outcomes = [
        holds(value, compare.value) for kind, value in facts.entries(compare.field) if kind == compare.kind
    ]
    if compare.op is Op.NOT_EQUAL:
        return bool(outcomes) and all(outcomes)
    return any(outcomes)


# --- names ------------------------------------------------------------------------------------------------


class PeerNames(Protocol):
    """The names by which a group's peers are known here. Both give pids, none for what nobody is called."""

    def meant(self, text: str) -> Collection[bytes]:
        """Whom a name may mean."""

    def fitting(self, pattern: str) -> Collection[bytes]:
        """Whose peer name fits a sound pattern."""


def with_names(predicate: Predicate, names: PeerNames) -> Predicate:
    """Put keys in the place of the peers that are named.

    An authority (40 hex digits) stays as it is, a pid (64) is itself, `names` knows any other name. A pattern
    fits an authority or a peer name. Raises: RuleError (invalid-search), and what `names` raises.
    """
    known = _Keys(names)
    named = _with_names(predicate, known)
    if known.count > SEARCH_PEERS_MAX:
        raise RuleError(
            "invalid-search",
            f"the names in the query stand for more than {SEARCH_PEERS_MAX} keys",
            hint="write peer names in full: peerd member list",
        )
    return named


class _Keys:
    """The keys that names and patterns stand for, each looked up once."""

    def __init__(self, names: PeerNames) -> None:
        self._names = names
        self._known: dict[tuple[bool, str], tuple[bytes, ...]] = {}

    @property
    def count(self) -> int:
        return sum(map(len, self._known.values()))

    def named(self, name: str) -> tuple[bytes, ...]:
        if _PID.fullmatch(name):
            return (bytes.fromhex(name),)
        return self._found(False, name, self._names.meant)

    def fitting(self, pattern: str) -> tuple[bytes, ...]:
        return self._found(True, pattern, self._names.fitting)

    def _found(
        self, is_pattern: bool, text: str, find: Callable[[str], Collection[bytes]]
    ) -> tuple[bytes, ...]:
        key = is_pattern, text
        if key not in self._known:
            self._known[key] = tuple(sorted(set(find(text))))
            assert all(len(pid) == PID_BYTES for pid in self._known[key])
        return self._known[key]


def _with_names(predicate: Predicate, keys: _Keys) -> Predicate:
    match predicate:
        case And(parts):
            return And(tuple(_with_names(part, keys) for part in parts))
        case Or(parts):
            return Or(tuple(_with_names(part, keys) for part in parts))
        case Not(part):
            return Not(_with_names(part, keys))
        case Compare(Field(name, True) as field, _, Op.EQUAL | Op.NOT_EQUAL as op, str(value)) if (
            name in PEER_FIELDS and not _AUTHORITY.fullmatch(value)
        ):
            by_peer = ByPeer(field, keys.named(value))
            return by_peer if op is Op.EQUAL else Not(by_peer)
        case Like(Field(name, True) as field, pattern) if name in PEER_FIELDS:
            return Or((predicate, ByPeer(field, keys.fitting(pattern))))
        case _:
            return predicate
