"""Attributes as the original writes them: `<attribute name= type=>value</attribute>` inside `<attributes>`.

The document comes from a user's program. It is read as strictly as the documents of `credentials.markup`, and
for the same reasons: no document type, processing instruction, comment or CDATA section, no element or
attribute that the form does not have. White space around numbers, dates and elements does not count; in a
string it does.

Source: windows-grouping.md 3.14.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from protocol.limits import DOCUMENT_BYTES_MAX
from protocol.records.attributes import (
    DATE,
    INT,
    KIND_NAMES,
    STRING,
    Attribute,
    canonical_attributes,
    invalid,
)
from protocol.records.dates import DATE_FORMS, date_ms, date_text

_ROOT = "attributes"
_ENTRY = "attribute"
_KINDS = {name: kind for kind, name in KIND_NAMES.items()}
_INT = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_WHITE = " \t\r\n"
# A carriage return as it is would be read back as a line feed (XML 1.0, 2.11).
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


def write_attributes(attributes: Iterable[Attribute]) -> str:
    """The document that holds these attributes."""
    lines = [
        f'  <{_ENTRY} name="{one.name}" type="{KIND_NAMES[one.kind]}">{_written(one)}</{_ENTRY}>\n'
        for one in attributes
    ]
    return f"<{_ROOT}>\n{''.join(lines)}</{_ROOT}>\n"


def _written(attribute: Attribute) -> str:
    if attribute.kind == DATE:
        assert isinstance(attribute.value, int)
        return date_text(attribute.value)
    return str(attribute.value).translate(_ESCAPED)


def read_attributes(document: str) -> tuple[Attribute, ...]:
    """The attributes in a document, in canonical order. Raises: RuleError (invalid-attributes)."""
    try:
        data = document.encode()
    except UnicodeError:
        raise invalid("the document is not UTF-8") from None
    if len(data) > DOCUMENT_BYTES_MAX:
        raise invalid(f"the document has more than {DOCUMENT_BYTES_MAX} bytes")
    reader = _Reader()
    try:
        reader.parser().Parse(data, True)
    except expat.ExpatError as error:
        raise invalid(f"line {error.lineno} is not XML ({expat.ErrorString(error.code)})") from None
    return canonical_attributes(reader.read)


@dataclass(slots=True)
class _Reader:
    """Takes a document in, event by event; any event that the form does not foresee ends the reading."""

    depth: int = 0
    name: str = ""
    kind: int = 0
    pieces: list[str] = field(default_factory=list)
    read: list[Attribute] = field(default_factory=list)

    def parser(self) -> expat.XMLParserType:
        """An expat parser that reports here; each text is UTF-8, whatever it says of itself."""
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._opened
        parser.EndElementHandler = self._closed
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = _refuse_document_type
        parser.ProcessingInstructionHandler = _refuse_instruction
        parser.CommentHandler = _refuse_comment
        parser.StartCdataSectionHandler = _refuse_cdata
        return parser

    def _opened(self, element: str, told: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > 2:
            raise invalid("an element stands inside a value")
        if element != (_ROOT, _ENTRY)[self.depth - 1]:
            raise invalid(f"the document is one element {_ROOT} that holds elements {_ENTRY}")
        if told.keys() != (set(), {"name", "type"})[self.depth - 1]:
            raise invalid(f"an {_ENTRY} has a name and a type, and {_ROOT} has neither")
        if self.depth == 2:
            self.name = told["name"]
            self.kind = _KINDS.get(told["type"], 0)
            if not self.kind:
                raise invalid(f"a type is one of {', '.join(_KINDS)}")

    def _closed(self, element: str) -> None:
        if self.depth == 2:
            self.read.append(Attribute(self.name, self.kind, _value(self.kind, "".join(self.pieces))))
            self.pieces.clear()
        self.depth -= 1

    def _text(self, text: str) -> None:
        if self.depth == 2:
            self.pieces.append(text)
        elif text.strip(_WHITE):
            raise invalid("text stands outside the values")


def _value(kind: int, text: str) -> int | str:
    if kind == STRING:
        return text
    bare = text.strip(_WHITE)
    if kind == INT:
        if _INT.fullmatch(bare) is None:
            raise invalid("an int is digits, with a minus before them or not")
        return int(bare)
    value = date_ms(bare)
    if value is None:
        raise invalid(f"a date is written as in {DATE_FORMS}")
    return value


def _refuse_document_type(name: str, system: str | None, public: str | None, subset: bool) -> NoReturn:
    raise invalid("the document has a document type")


def _refuse_instruction(target: str, text: str) -> NoReturn:
    raise invalid("the document holds a processing instruction")


def _refuse_comment(text: str) -> NoReturn:
    raise invalid("the document holds a comment")


def _refuse_cdata() -> NoReturn:
    raise invalid("the document holds a CDATA section")
