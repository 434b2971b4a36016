"""The language in which people search: `author = "Ann" and priority >= 3 order by modified desc limit 10`.

    query    = [or] ["order" "by" key {"," key}] ["limit" integer]
    key      = field ["asc" | "desc"]
    or       = and {"or" and}
    and      = not {"and" not}
    not      = "not" not | "(" or ")" | "exists" field | field "in" "(" value {"," value} ")"
             | field ("=" | "!=" | "<" | "<=" | ">" | ">=") value | field "~" text
    field    = a name: one of a record's own facts, else an attribute | "attributes." name: an attribute
    value    = integer | text | date | "date" "(" text ")" | "now" [("+" | "-") duration] | "true" | "false"

Text stands in double or single quotes; `\\"`, `\\'` and `\\\\` are escapes in it, and where it is a pattern
`\\*` and `\\?` too. A date is written plainly (`2026-01-02`, `2026-01-02T10:30:00Z`), or as text where it is
compared with a field that is a date. Durations are whole numbers of s, m, h, d or w. Words of the language
are known in upper and lower case; an attribute that is called like one of them, or begins with a digit, is
written `attributes.NAME`. Names of attributes keep their case.

A parser reads the tokens once, from left to right. Whatever the text, it ends in a query or in one refusal
that names the place and says what could stand there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from protocol.limits import ATTRIBUTE_NAME_CHARACTERS_MAX, SEARCH_BYTES_MAX, SEARCH_ORDERS_MAX
from protocol.records.attributes import DATE, INT, INT_MAX, INT_MIN, STRING
from protocol.records.dates import DATE_FORMS, date_ms
from protocol.records.patterns import wildcards_in
from protocol.records.predicate import (
    BUILT_IN,
    And,
    Compare,
    Exists,
    Field,
    Like,
    Not,
    Op,
    Or,
    Predicate,
)
from protocol.records.search import (
    HINT,
    LIMIT_MAX,
    Order,
    Query,
    check_depth,
    check_terms,
    check_wildcards,
    invalid_search,
)

_TOKEN = re.compile(
    r"""
      (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<date>\d{4}-\d\d-\d\d(?:[Tt][0-9:.]+(?:[Zz]|[+-]\d\d:\d\d)?)?(?![0-9A-Za-z_]))
    | (?P<duration>\d+[smhdw](?![0-9A-Za-z_]))
    | (?P<integer>-?\d+(?![0-9A-Za-z_]))
    | (?P<attribute>attributes\.[0-9A-Za-z]+(?![_]))
    | (?P<word>[A-Za-z_][0-9A-Za-z_]*)
    | (?P<sign><=|>=|!=|[=<>~(),+-])
    """,
    re.ASCII | re.DOTALL | re.VERBOSE,
)
_SPACE = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"[^ \t\r\n]+")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
# What no attribute holds (see `attributes`), and what a person cannot have meant.
_UNFIT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_RESERVED = frozenset({"and", "or", "not", "exists", "in", "order", "limit"})
_OPS = {op.value: op for op in Op}
_UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_DIGITS_MAX = 19  # of an integer of 64 bits
_SHOWN_CHARACTERS = 20
_END = "end"


def parse_expression(text: str, now_ms: int | None = None) -> Query:
    """Read a query. `now_ms` (UTC) is what `now` means; without it, no time is relative.

    Raises: RuleError (invalid-search), and nothing else.
    """
    unfit = _UNFIT.search(text)
    if unfit:
        raise invalid_search(
            f"at character {unfit.start() + 1} stands U+{ord(unfit.group()):04X}, which nothing holds",
            "leave out control characters",
        )
    if len(text.encode()) > SEARCH_BYTES_MAX:
        raise invalid_search(f"it has more than {SEARCH_BYTES_MAX} bytes", "ask for fewer things at once")
    return _Parser(text, now_ms).query()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # a group of _TOKEN, or _END
    text: str
    at: int

    @property
    def word(self) -> str:
        """The word of the language that this may be."""
        return self.text.lower() if self.kind == "word" else ""


class _Parser:
    def __init__(self, text: str, now_ms: int | None) -> None:
        self._text = text
        self._now_ms = now_ms
        self._end = 0
        self._terms = 0
        self._next = self._read()

    def query(self) -> Query:
        """The whole text."""
        begins = self._next.kind == _END or self._next.word in ("order", "limit")
        where = None if begins else self._or(1)
        order = self._order() if self._take_word("order") else ()
        limit = self._limit() if self._take_word("limit") else None
        if self._next.kind != _END:
            if limit is not None:
                self._refuse("the end of the query")
            self._refuse(
                "limit, or the end of the query"
                if order
                else "and, or, order by, limit, or the end of the query"
            )
        return Query(where, order, limit)

    # --- predicates ---------------------------------------------------------------------------------------

    def _or(self, depth: int) -> Predicate:
        parts = [self._and(depth)]
        while self._take_word("or"):
            parts.append(self._and(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self, depth: int) -> Predicate:
        parts = [self._not(depth)]
        while self._take_word("and"):
            parts.append(self._not(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _not(self, depth: int) -> Predicate:
        check_depth(depth)
        if self._take_word("not"):
            return Not(self._not(depth + 1))
        if self._take_sign("("):
            inner = self._or(depth + 1)
            self._expect_sign(")", "and, or, or a closing parenthesis")
            return inner
        self._count_term()
        if self._take_word("exists"):
            return Exists(self._field("the name of an attribute"))
        return self._comparison(self._field("a field, not, exists, or an opening parenthesis"))

    def _comparison(self, field: Field) -> Predicate:
        if self._take_word("in"):
            return self._one_of(field)
        if self._take_sign("~"):
            return self._like(field)
        op = _OPS.get(self._next.text) if self._next.kind == "sign" else None
        if op is None:
            self._refuse(f"an operator after {field.name}: = != < <= > >= ~ or in")
        self._advance()
        return self._compare(field, op)

    def _compare(self, field: Field, op: Op) -> Compare:
        begin = self._next
        kind, value = self._value(field)
        wanted = BUILT_IN[field.name] if field.built_in else kind
        if kind != wanted:
            self._refuse_at(begin, f"{field.name} is compared with {_a(wanted)}")
        return Compare(field, kind, op, value)

    def _one_of(self, field: Field) -> Predicate:
        self._expect_sign("(", "an opening parenthesis after in")
        parts = [self._compare(field, Op.EQUAL)]
        while self._take_sign(","):
            self._count_term()
            parts.append(self._compare(field, Op.EQUAL))
        self._expect_sign(")", "a comma or a closing parenthesis")
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _like(self, field: Field) -> Like:
        token = self._next
        if field.built_in and BUILT_IN[field.name] != STRING:
            self._refuse_at(token, f"~ compares text, and {field.name} is {_a(BUILT_IN[field.name])}")
        if token.kind != "text":
            self._refuse("a pattern in quotes after ~")
        self._advance()
        pattern = self._unescaped(token, kept="*?\\")
        check_wildcards(wildcards_in(pattern))
        return Like(field, pattern)

    def _field(self, expected: str) -> Field:
        token = self._next
        if token.kind == "attribute":
            name = token.text.partition(".")[2]
        elif token.kind == "word" and token.word not in _RESERVED:
            name = token.text
            if name in BUILT_IN:
                self._advance()
                return Field(name, built_in=True)
            if "_" in name:
                self._refuse_at(
                    token, f"there is no field {_shown(name)}; a record has {', '.join(BUILT_IN)}"
                )
        else:
            self._refuse(expected)
        if len(name) > ATTRIBUTE_NAME_CHARACTERS_MAX:
            self._refuse_at(
                token, f"the name of an attribute has at most {ATTRIBUTE_NAME_CHARACTERS_MAX} characters"
            )
        self._advance()
        return Field(name)

    # --- values -------------------------------------------------------------------------------------------

    def _value(self, field: Field) -> tuple[int, int | str]:
        token = self._next
        if token.kind == "text":
            self._advance()
            text = self._unescaped(token)
            if field.built_in and BUILT_IN[field.name] == DATE:
                return DATE, self._date(token, text)
            return STRING, text
        if token.kind == "integer":
            return INT, self._integer()
        if token.kind == "date":
            self._advance()
            return DATE, self._date(token, token.text)
        if token.word in ("true", "false") and field == Field("durable", built_in=True):
            self._advance()
            return INT, int(token.word == "true")
        if self._take_word("date"):
            return DATE, self._date_in_parentheses()
        if self._take_word("now"):
            return DATE, self._relative(token)
        self._refuse(f"a number, a date, or text in quotes to compare {field.name} with")

    def _integer(self) -> int:
        token = self._next
        # Guards: Python refuses to convert very many digits, zeros too.
        digits = token.text.lstrip("-").lstrip("0")[: _DIGITS_MAX + 1] or "0"
        number = -int(digits) if token.text.startswith("-") else int(digits)
        if not INT_MIN <= number <= INT_MAX:
            self._refuse_at(token, f"integers are from {INT_MIN} to {INT_MAX}")
        self._advance()
        return number

    def _date(self, token: _Token, text: str) -> int:
        found = date_ms(text)
        if found is None:
            self._refuse_at(token, f"expected a date like {DATE_FORMS}")
        return found

    def _date_in_parentheses(self) -> int:
        self._expect_sign("(", "an opening parenthesis after date")
        token = self._next
        if token.kind not in ("text", "date"):
            self._refuse(f"a date like {DATE_FORMS}")
        self._advance()
        found = self._date(token, self._unescaped(token) if token.kind == "text" else token.text)
        self._expect_sign(")", "a closing parenthesis")
        return found

    def _relative(self, token: _Token) -> int:
        if self._now_ms is None:
            self._refuse_at(token, "now has no meaning here; write a date")
        back = self._take_sign("-")
        if not back and not self._take_sign("+"):
            return self._now_ms
        duration = self._next
        # Guards: a time beyond what a database holds; no duration of so many digits is meant.
        if duration.kind != "duration" or len(duration.text) > _DIGITS_MAX - 8:
            self._refuse("a duration like 7d, 12h, 30m or 45s")
        self._advance()
        span_ms = int(duration.text[:-1]) * _UNIT_MS[duration.text[-1]]
        return self._now_ms - span_ms if back else self._now_ms + span_ms

    def _unescaped(self, token: _Token, kept: str = "\\") -> str:
        """The inside of a text: escapes of quotes are undone, and others too unless it is a pattern, where
        they have a meaning.
        """

        def meant(escape: re.Match[str]) -> str:
            character = escape[1]
            if character in "\"'":
                return character
            if character in kept:
                return escape[0] if len(kept) > 1 else character
            at = token.at + 1 + escape.start()
            allowed = r"\* \? \\ and quotes" if len(kept) > 1 else r"\\ and quotes (wildcards are for ~)"
            raise invalid_search(f"at character {at + 1}: a backslash is for {allowed}")

        return _ESCAPE.sub(meant, token.text[1:-1])

    # --- order and limit ----------------------------------------------------------------------------------

    def _order(self) -> tuple[Order, ...]:
        if not self._take_word("by"):
            self._refuse("by after order")
        keys = [self._key()]
        while self._take_sign(","):
            if len(keys) == SEARCH_ORDERS_MAX:
                raise invalid_search(f"it orders by more than {SEARCH_ORDERS_MAX} fields")
            keys.append(self._key())
        return tuple(keys)

    def _key(self) -> Order:
        field = self._field("a field to order by")
        descending = self._take_word("desc")
        if not descending:
            self._take_word("asc")
        return Order(field, descending)

    def _limit(self) -> int:
        token = self._next
        if token.kind != "integer":
            self._refuse("a number after limit")
        limit = self._integer()
        if not 1 <= limit <= LIMIT_MAX:
            self._refuse_at(token, f"a limit is from 1 to {LIMIT_MAX}")
        return limit

    # --- tokens -------------------------------------------------------------------------------------------

    def _read(self) -> _Token:
        space = _SPACE.match(self._text, self._end)
        assert space is not None
        at = space.end()
        if at == len(self._text):
            return _Token(_END, "", at)
        found = _TOKEN.match(self._text, at)
        if found is None:
            self._refuse_unread(at)
        self._end = found.end()
        assert found.lastgroup is not None
        return _Token(found.lastgroup, found.group(), at)

    def _advance(self) -> None:
        self._next = self._read()

    def _take_word(self, word: str) -> bool:
        taken = self._next.word == word
        if taken:
            self._advance()
        return taken

    def _take_sign(self, sign: str) -> bool:
        taken = self._next.kind == "sign" and self._next.text == sign
        if taken:
            self._advance()
        return taken

    def _expect_sign(self, sign: str, expected: str) -> None:
        if not self._take_sign(sign):
            self._refuse(expected)

    def _count_term(self) -> None:
        self._terms += 1
        check_terms(self._terms)

    # --- refusals -----------------------------------------------------------------------------------------

    def _refuse(self, expected: str) -> NoReturn:
        """Something else could stand here."""
        token = self._next
        if token.kind == _END:
            found = "the query ends"
        elif token.word in _RESERVED:
            found = f"{token.word} is a word of the language (an attribute: attributes.{token.text})"
        else:
            found = f"{_shown(token.text)} stands"
        self._refuse_at(token, f"expected {expected}, but there {found}")

    def _refuse_unread(self, at: int) -> NoReturn:
        first = self._text[at]
        if first in "\"'":
            reason = "this quote is never closed"
        elif not first.isprintable():
            reason = f"the character U+{ord(first):04X} stands outside of quotes"
        else:
            word = _WORD.match(self._text, at)
            assert word is not None
            reason = f"{_shown(word.group())} is no number, no name, no text in quotes and no operator"
        raise invalid_search(f"at character {at + 1}: {reason}")

    def _refuse_at(self, token: _Token, reason: str) -> NoReturn:
        raise invalid_search(f"at character {token.at + 1}: {reason}", HINT)


def _a(kind: int) -> str:
    return {INT: "an integer", STRING: "text in quotes", DATE: "a date"}[kind]


def _shown(text: str) -> str:
    """What was written, safe to show in a message."""
    cut = text[:_SHOWN_CHARACTERS] + ("…" if len(text) > _SHOWN_CHARACTERS else "")
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in cut)
