"""Searches and records as hypothesis draws them, and searches as people write them.

Values come from few, so that comparisons often hold: texts that differ by case, wildcards, brackets and
planes, integers that order otherwise as texts, keys of one authority. `expression` and `peersearch` write a
search down; what they write is read back as the same tree.
"""

from __future__ import annotations

from xml.sax.saxutils import escape as escape_xml, quoteattr

from hypothesis import strategies as st

from protocol.records.attributes import (
    DATE,
    INT,
    INT_MAX,
    INT_MIN,
    KIND_NAMES,
    STRING,
    Attribute,
    canonical_attributes,
)
from protocol.records.dates import DATE_MS_MAX, DATE_MS_MIN, date_text
from protocol.records.patterns import escape, wildcards_in
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
    RecordFacts,
    built_in,
)
from protocol.records.search import Order, Query
from tests.support.records import TEXT

NOW_S = 1_790_000_000
NAMES = ("title", "tag", "due", "n", "version", "order", "7up")
PIDS = (b"\x01" * 32, b"\x01" * 20 + b"\x02" * 12, b"\xfe" * 32, b"\xff" * 32)
RECORD_IDS = tuple(bytes([first]) * 15 + bytes([last]) for first in (0, 0x80, 0xFF) for last in (0, 9, 0xA0))
TYPES = ("note", "task", "chat.message", "note-2")
TEXTS = (
    "", "a", "A", "b", "ab", "aab", "abc", "a*b", "a?b", "a\\b", "[a]", "]", "^a", "é", "e\u0301", "10", "9",
    "\ud7ff", "\ue000", "\ufffd", "a\ufffdb", "\U00010000", "\U0010ffff", "a\U0010ffff", "it's \"it\"",
    "a\nb",
)  # fmt: skip
INTS = (-1, 0, 1, 2, 9, 10, INT_MIN, INT_MAX)
DATES = (DATE_MS_MIN, -1, 0, 1, 999, NOW_S * 1000, NOW_S * 1000 + 1, DATE_MS_MAX)

_VALUES: dict[int, st.SearchStrategy[int | str]] = {
    INT: st.sampled_from(INTS),
    STRING: st.sampled_from(TEXTS) | TEXT,
    DATE: st.sampled_from(DATES),
}


# --- records ----------------------------------------------------------------------------------------------


def _attributes() -> st.SearchStrategy[tuple[Attribute, ...]]:
    one = st.sampled_from(tuple(_VALUES)).flatmap(
        lambda kind: st.builds(Attribute, st.sampled_from(NAMES), st.just(kind), _VALUES[kind])
    )
    return st.lists(one, max_size=6, unique=True).map(canonical_attributes)


def facts() -> st.SearchStrategy[RecordFacts]:
    """What may be shown of a record."""
    return st.builds(
        RecordFacts,
        record_id=st.sampled_from(RECORD_IDS),
        record_type=st.sampled_from(TYPES),
        version=st.integers(1, 3),
        creator=st.sampled_from(PIDS),
        modified_by=st.sampled_from(PIDS),
        created=st.sampled_from((0, 1, 2, NOW_S * 1000)),
        modified=st.sampled_from((1, 2, 3, NOW_S * 1000)),
        expires=st.sampled_from((None, None, 0, NOW_S, NOW_S + 1, NOW_S + 2)),
        size=st.sampled_from((0, 1, 9, 10)),
        attributes=_attributes(),
    )


def record_sets() -> st.SearchStrategy[list[RecordFacts]]:
    """Records with ids of their own."""
    return st.lists(facts(), max_size=len(RECORD_IDS), unique_by=lambda one: one.record_id)


# --- searches ---------------------------------------------------------------------------------------------


def patterns() -> st.SearchStrategy[str]:
    """Sound patterns with few wildcards."""
    piece = st.sampled_from(("*", "?", "*", "a", "b", r"\*", r"\?", r"\\", "[", "]", "é", "\U0010ffff", "ab"))
    return st.lists(piece, max_size=7).map("".join) | TEXT.map(escape)


def _peer_texts() -> st.SearchStrategy[str]:
    return st.sampled_from([pid.hex()[:40] for pid in PIDS] + ["alice", "f" * 40, "0101"])


def _own_value(name: str) -> st.SearchStrategy[int | str]:
    match name:
        case "record_id":
            return st.sampled_from([one.hex() for one in RECORD_IDS] + ["80", "FF" * 16])
        case "record_type":
            return st.sampled_from(TYPES) | _VALUES[STRING]
        case "creator" | "modified_by":
            return _peer_texts()
        case "durable":
            return st.integers(0, 1)
        case "created" | "modified":
            return st.sampled_from((0, 1, 2, NOW_S * 1000))
        case "expires":
            return st.sampled_from((0, NOW_S * 1000, NOW_S * 1000 + 1, (NOW_S + 2) * 1000))
        case _:
            return st.sampled_from((0, 1, 2, 9, 10, INT_MAX))


def _compares(names: tuple[str, ...]) -> st.SearchStrategy[Predicate]:
    ops = st.sampled_from(Op)
    own = st.sampled_from(names).flatmap(
        lambda name: st.builds(
            Compare, st.just(built_in(name)), st.just(BUILT_IN[name]), ops, _own_value(name)
        )
    )
    other = st.sampled_from(tuple(_VALUES)).flatmap(
        lambda kind: st.builds(Compare, _attribute_fields(), st.just(kind), ops, _VALUES[kind])
    )
    return own | other


def _likes(names: tuple[str, ...]) -> st.SearchStrategy[Predicate]:
    text_fields = [built_in(name) for name in names if BUILT_IN[name] == STRING]
    of_own = st.sampled_from(("*", "note*", "?ote", "ff*", "*0?", "01*", "note"))
    return st.builds(Like, _attribute_fields(), patterns()) | st.builds(
        Like, st.sampled_from(text_fields), of_own
    )


def _attribute_fields() -> st.SearchStrategy[Field]:
    return st.sampled_from(NAMES).map(Field)


def fields() -> st.SearchStrategy[Field]:
    """Attributes, and a record's own facts."""
    return _attribute_fields() | st.sampled_from(sorted(BUILT_IN)).map(built_in)


def _joined(
    inner: st.SearchStrategy[Predicate], *more: st.SearchStrategy[Predicate]
) -> st.SearchStrategy[Predicate]:
    parts = st.lists(inner, min_size=2, max_size=4).map(tuple)
    return st.one_of(st.builds(And, parts), st.builds(Or, parts), *more)


def predicates() -> st.SearchStrategy[Predicate]:
    """Whatever an expression can say."""
    terms = _compares(tuple(BUILT_IN)) | _likes(tuple(BUILT_IN)) | st.builds(Exists, fields())
    return st.recursive(terms, lambda inner: _joined(inner, st.builds(Not, inner)), max_leaves=8)


def resolved_predicates() -> st.SearchStrategy[Predicate]:
    """The same with keys in it."""
    pids = st.lists(st.sampled_from(PIDS), unique=True, max_size=3).map(tuple)
    by_peer = st.builds(ByPeer, st.sampled_from(PEER_FIELDS).map(built_in), pids)
    return st.recursive(
        predicates() | by_peer, lambda inner: _joined(inner, st.builds(Not, inner)), max_leaves=4
    )


WINDOWS_NAMES = {
    "creator": "peercreatorid",
    "modified_by": "peerlastmodifiedby",
    "created": "peercreationtime",
    "modified": "peerlastmodificationtime",
    "record_id": "peerrecordid",
    "record_type": "peerrecordtype",
}


def windows_predicates() -> st.SearchStrategy[Predicate]:
    """What a peersearch document can say as well."""
    names = tuple(WINDOWS_NAMES)
    wild = _likes(names).filter(lambda like: isinstance(like, Like) and wildcards_in(like.pattern) > 0)
    return st.recursive(_compares(names) | wild, _joined, max_leaves=8)


def queries() -> st.SearchStrategy[Query]:
    """Predicates, orders and limits."""
    return st.builds(
        Query,
        where=st.none() | resolved_predicates(),
        order=st.lists(st.builds(Order, fields(), st.booleans()), max_size=3).map(tuple),
        limit=st.none() | st.integers(1, 12),
    )


# --- as people write them ---------------------------------------------------------------------------------


def expression(predicate: Predicate) -> str:
    """The predicate in our language, every field by its full name."""
    match predicate:
        case And(parts):
            return f"({' and '.join(map(expression, parts))})"
        case Or(parts):
            return f"({' OR '.join(map(expression, parts))})"
        case Not(part):
            return f"not {expression(part)}"
        case Exists(field):
            return f"exists {_field(field)}"
        case Like(field, pattern):
            return f"{_field(field)} ~ {_quoted(pattern)}"
        case Compare(field, kind, op, value):
            return f"{_field(field)} {op.value} {_value(kind, value)}"
        case _:
            raise AssertionError("keys are not written")


def expression_of(query: Query) -> str:
    """The whole query in our language."""
    parts = [] if query.where is None else [expression(query.where)]
    if query.order:
        keys = (f"{_field(one.field)}{' desc' if one.descending else ''}" for one in query.order)
        parts.append(f"order by {', '.join(keys)}")
    if query.limit is not None:
        parts.append(f"limit {query.limit}")
    return " ".join(parts)


def _field(field: Field) -> str:
    return field.name if field.built_in else f"attributes.{field.name}"


def _quoted(pattern: str) -> str:
    return '"' + pattern.replace('"', '\\"') + '"'


def _value(kind: int, value: int | str) -> str:
    if isinstance(value, str):
        return _quoted(value.replace("\\", "\\\\"))
    return f'date("{date_text(value)}")' if kind == DATE else str(value)


COMPARES = {
    Op.EQUAL: "equal",
    Op.NOT_EQUAL: "notequal",
    Op.LESS: "less",
    Op.LESS_OR_EQUAL: "lessorequal",
    Op.GREATER: "greater",
    Op.GREATER_OR_EQUAL: "greaterorequal",
}


def peersearch(predicate: Predicate) -> str:
    """The predicate as the original's document."""
    return f"<?xml version='1.0'?>\n<peersearch>{_element(predicate)}</peersearch>"


def _element(predicate: Predicate) -> str:
    match predicate:
        case And(parts):
            return f"<and>\n{''.join(map(_element, parts))}</and>"
        case Or(parts):
            return f"<or>{' '.join(map(_element, parts))}</or>"
        case Like(field, pattern):
            return _clause(field, STRING, Op.EQUAL, pattern)
        case Compare(field, kind, op, int(value)):
            return _clause(field, kind, op, date_text(value) if kind == DATE else str(value))
        case Compare(field, kind, op, str(value)):
            return _clause(field, kind, op, escape(value))
        case _:
            raise AssertionError("the original has nothing like it")


def _clause(field: Field, kind: int, op: Op, text: str) -> str:
    name = WINDOWS_NAMES[field.name] if field.built_in else field.name
    inner = escape_xml(text, {"\r": "&#13;"})
    told = f"attrib={quoteattr(name)} type='{KIND_NAMES[kind]}' compare='{COMPARES[op]}'"
    return f"<clause {told}>{inner}</clause>"
