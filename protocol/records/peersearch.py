"""The original's search documents: `<peersearch>` with clauses in it.

    peersearch = clause | and | or
    and, or    = one or more of clause, and, or
    clause     = text, with the XML attributes
                 attrib: a name
                 type: string (when absent), date or int
                 compare: equal (when absent), notequal, less, greater, lessorequal or greaterorequal

In strings, compared as equal or notequal, `*` and `?` are wildcards; `\\*`, `\\?` and `\\\\` stand for the
characters, and any other backslash is an invalid argument. The reserved names stand for a record's own facts.

Source: windows-grouping.md 3.15. Differs, where the original is silent: wildcards with another operator are
refused; an identifier may be a GUID in braces, of either case. Namespaces may be declared; all elements stand
in one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.parsers import expat

from protocol.credentials.markup import strict_parser
from protocol.errors import RuleError
from protocol.limits import ATTRIBUTE_NAME_CHARACTERS_MAX, SEARCH_BYTES_MAX
from protocol.records.attributes import (
    DATE,
    INT,
    INT_MAX,
    INT_MIN,
    KIND_NAMES,
    RESERVED_NAMES,
    STRING,
)
from protocol.records.dates import DATE_FORMS, date_ms
from protocol.records.patterns import bad_escape_at, literal, wildcards_in
from protocol.records.predicate import BUILT_IN, And, Compare, Field, Like, Not, Op, Or, Predicate, built_in
from protocol.records.search import Query, check_depth, check_terms, check_wildcards, invalid_search

_ROOT = "peersearch"
_CLAUSE = "clause"
_OPERATORS: dict[str, type[And | Or]] = {"and": And, "or": Or}
_COMPARES = {
    "equal": Op.EQUAL,
    "notequal": Op.NOT_EQUAL,
    "less": Op.LESS,
    "lessorequal": Op.LESS_OR_EQUAL,
    "greater": Op.GREATER,
    "greaterorequal": Op.GREATER_OR_EQUAL,
}
_KINDS = {name: kind for kind, name in KIND_NAMES.items()}
_OWN = {
    "peercreatorid": built_in("creator"),
    "peerlastmodifiedby": built_in("modified_by"),
    "peercreationtime": built_in("created"),
    "peerlastmodificationtime": built_in("modified"),
    "peerrecordid": built_in("record_id"),
    "peerrecordtype": built_in("record_type"),
}
assert _OWN.keys() == RESERVED_NAMES
_NAME = re.compile(rf"[0-9A-Za-z]{{1,{ATTRIBUTE_NAME_CHARACTERS_MAX}}}", re.ASCII)
_GUID = re.compile(r"\{?([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\}?", re.IGNORECASE)
_INT = re.compile(r"-?[0-9]{1,40}", re.ASCII)
_WHITE = " \t\r\n"
_HINT = '<peersearch><clause attrib="title" type="string" compare="equal">draft*</clause></peersearch>'


def parse_peersearch(document: str | bytes) -> Query:
    """Read a query. Raises: RuleError (invalid-search, or invalid-argument for a backslash that escapes
    nothing), and nothing else.
    """
    try:
        # Guards: a byte order mark of UTF-16 would outrank the encoding that expat is told.
        data = (document if isinstance(document, str) else document.decode()).encode()
    except UnicodeError:
        raise _refused("it is not UTF-8") from None
    if len(data) > SEARCH_BYTES_MAX:
        raise _refused(f"it has more than {SEARCH_BYTES_MAX} bytes")
    reader = _Reader(strict_parser(_refused))
    try:
        reader.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise _refused(f"line {error.lineno} is not XML ({expat.ErrorString(error.code)})") from None
    assert reader.found is not None
    return Query(where=reader.found)


@dataclass(slots=True)
class _Open:
    """An element that is not closed yet."""

    name: str
    told: dict[str, str]
    parts: list[Predicate] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Reader:
    """Takes a document in, event by event; any event that the form does not foresee ends the reading."""

    parser: expat.XMLParserType
    found: Predicate | None = None
    terms: int = 0
    namespace: str = ""
    open: list[_Open] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parser.StartElementHandler = self._opened
        self.parser.EndElementHandler = self._closed
        self.parser.CharacterDataHandler = self._text

    def _opened(self, expanded: str, told: dict[str, str]) -> None:
        namespace, _, name = expanded.rpartition("\n")
        if not self.open:
            self.namespace = namespace
            if name != _ROOT or told:
                raise self._refused_here(f"the outermost element is {_ROOT}, which has no attributes")
        elif namespace != self.namespace or name not in (_CLAUSE, *_OPERATORS):
            raise self._refused_here("the elements of a query are and, or and clause")
        elif self.open[-1].name == _CLAUSE:
            raise self._refused_here("an element stands inside a clause, where only the value does")
        elif name == _CLAUSE:
            self.terms += 1
            check_terms(self.terms)
        elif told:
            raise self._refused_here(f"{name} has no attributes")
        check_depth(len(self.open))
        self.open.append(_Open(name, told))

    def _closed(self, expanded: str) -> None:
        closed = self.open.pop()
        if closed.name == _ROOT:
            if len(closed.parts) != 1:
                raise self._refused_here(
                    f"{_ROOT} holds {len(closed.parts)} elements, not one: put them into <and> or <or>"
                )
            self.found = closed.parts[0]
        elif closed.name == _CLAUSE:
            self.open[-1].parts.append(self._clause(closed.told, "".join(closed.pieces)))
        elif not closed.parts:
            raise self._refused_here(f"{closed.name} is empty")
        elif len(closed.parts) == 1:
            self.open[-1].parts.append(closed.parts[0])
        else:
            self.open[-1].parts.append(_OPERATORS[closed.name](tuple(closed.parts)))

    def _text(self, text: str) -> None:
        if self.open[-1].name == _CLAUSE:
            self.open[-1].pieces.append(text)
        elif text.strip(_WHITE):
            raise self._refused_here("text stands outside of the clauses")

    # --- clauses ------------------------------------------------------------------------------------------

    def _clause(self, told: dict[str, str], text: str) -> Predicate:
        if "attrib" not in told or told.keys() - {"attrib", "type", "compare"}:
            raise self._refused_here("a clause has attrib, type and compare")
        kind, op = _KINDS.get(told.get("type", "string")), _COMPARES.get(told.get("compare", "equal"))
        if kind is None:
            raise self._refused_here(f"type is one of {', '.join(_KINDS)}")
        if op is None:
            raise self._refused_here(f"compare is one of {', '.join(_COMPARES)}")
        field_ = self._field(told["attrib"], kind)
        if kind == STRING:
            return self._string(field_, op, text)
        return Compare(field_, kind, op, self._number(kind, text.strip(_WHITE)))

    def _field(self, name: str, kind: int) -> Field:
        own = _OWN.get(name.lower())
        if own is None:
            if not _NAME.fullmatch(name):
                raise self._refused_here(
                    f"attrib is a name of 1 to {ATTRIBUTE_NAME_CHARACTERS_MAX} letters A-Z a-z and digits"
                )
            return Field(name)
        if kind != BUILT_IN[own.name]:
            raise self._refused_here(f"{name} is of the type {KIND_NAMES[BUILT_IN[own.name]]}")
        return own

    def _string(self, field_: Field, op: Op, text: str) -> Predicate:
        text = _plain_guid(field_, text)
        if bad_escape_at(text) is not None:
            raise RuleError(
                "invalid-argument",
                f"line {self.parser.CurrentLineNumber}: a backslash stands only before * ? or \\",
                hint="write \\\\ for a backslash",
            )
        wildcards = wildcards_in(text)
        if not wildcards:
            return Compare(field_, STRING, op, literal(text))
        check_wildcards(wildcards)
        if op is Op.EQUAL:
            return Like(field_, text)
        if op is Op.NOT_EQUAL:
            return And((Like(field_, "*"), Not(Like(field_, text))))
        raise self._refused_here("wildcards are for equal and notequal; write \\* and \\? for the characters")

    def _number(self, kind: int, text: str) -> int:
        if kind == DATE:
            date = date_ms(text)
            if date is None:
                raise self._refused_here(f"a date is written like {DATE_FORMS}")
            return date
        assert kind == INT
        if not _INT.fullmatch(text) or not INT_MIN <= int(text) <= INT_MAX:
            raise self._refused_here(f"an int is a number from {INT_MIN} to {INT_MAX}")
        return int(text)

    def _refused_here(self, reason: str) -> RuleError:
        return _refused(f"line {self.parser.CurrentLineNumber}: {reason}")


def _plain_guid(field_: Field, text: str) -> str:
    """An identifier as records have it, where a GUID stands for one."""
    found = _GUID.fullmatch(text)
    if found is None or field_ not in (_OWN["peerrecordid"], _OWN["peerrecordtype"]):
        return text
    guid = found[1].lower()
    return guid.replace("-", "") if field_.name == "record_id" else guid


def _refused(reason: str) -> RuleError:
    return invalid_search(reason, f"write it like: {_HINT}")
