"""The documents that people carry between machines: small, flat XML, written by us and read from anywhere.

A document is one root element with a VERSION, and below it elements that hold text or base64, as the
original's `[S:2.2.6]` (windows-grouping.md 3.8). Readers of general XML take in what nobody wrote on purpose
(reliability study M5, F36, F37, P36), so this one gives expat a bounded input once and refuses, as they
come: document types, processing instructions, comments, CDATA, elements and attributes that the form does
not have, elements inside values, text outside them, and anything but UTF-8. Nothing is fetched: without a
document type there is nothing that names a file.

What people may do to a document on its way is indent it, break lines inside base64, and choose other
prefixes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn
from xml.etree import ElementTree as ET
from xml.parsers import expat

from protocol.errors import RuleError
from protocol.limits import DOCUMENT_BYTES_MAX

NAMESPACE = "urn:peerd:document:1"
_TYPES_NAMESPACE = "urn:schemas-microsoft-com:datatypes"
_VERSION = "1.0"
_BASE64 = "bin.base64"
_BETWEEN = "\n"  # in expat's names, between namespace and local name: no XML name holds it
_LINE_CHARACTERS = 76
_WHITE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a form: `binary` ones hold base64, `ours` ones live in our namespace."""

    name: str
    binary: bool = False
    ours: bool = False
    times_min: int = 1
    times_max: int = 1

    @property
    def expanded(self) -> str:
        """The name as expat reports it."""
        return f"{NAMESPACE}{_BETWEEN}{self.name}" if self.ours else self.name


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of document: the name of its root, and its elements in the order in which they are written."""

    root: str
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Filled:
    """A document that was read: for each element of the form the values found, in order."""

    values: Mapping[str, tuple[str, ...]]

    def text(self, name: str) -> str:
        """The text of an element that comes exactly once."""
        (text,) = self.values[name]
        return text

    def texts(self, name: str) -> tuple[str, ...]:
        """The texts of an element that may come more often, or not at all."""
        return self.values[name]

    def binary(self, name: str) -> bytes:
        """The bytes of a binary element that comes once. Raises: RuleError (invitation-not-trusted)."""
        packed = self.text(name).translate(str.maketrans("", "", _WHITE))
        try:
            data = base64.b64decode(packed, validate=True)
        except (binascii.Error, ValueError):
            raise not_trusted(f"{name} is not base64") from None
        # Guards: base64 has several spellings of one value; only the one that is written counts.
        if base64.b64encode(data).decode("ascii") != packed:
            raise not_trusted(f"{name} is not base64 as it is written")
        return data


def not_trusted(reason: str) -> RuleError:
    """The refusal of a document; `reason` must not repeat text from it."""
    return RuleError(
        "invitation-not-trusted",
        f"the document was damaged, altered, or is not one of ours: {reason}",
        hint="ask for it again, and pass it on exactly as it came",
    )


def write_document(form: Form, values: Mapping[str, Sequence[str | bytes]]) -> str:
    """Fill in a form with the values of its elements, bytes for binary ones. Raises: RuleError."""
    root = ET.Element(form.root, VERSION=_VERSION)
    if any(element.binary for element in form.elements):
        root.set("xmlns:dt", _TYPES_NAMESPACE)
    if any(element.ours for element in form.elements):
        root.set("xmlns:peerd", NAMESPACE)
    for element in form.elements:
        for value in values[element.name]:
            _add_element(root, element, value)
    ET.indent(root)
    document = ET.tostring(root, encoding="unicode") + "\n"
    if len(document.encode()) > DOCUMENT_BYTES_MAX:
        raise RuleError(
            "invalid-argument",
            f"the document would be larger than {DOCUMENT_BYTES_MAX} bytes",
            hint="let an administrator nearer to the creator issue this credential",
        )
    return document


def _add_element(root: ET.Element, element: Element, value: str | bytes) -> None:
    child = ET.SubElement(root, f"peerd:{element.name}" if element.ours else element.name)
    if isinstance(value, bytes):
        child.set("dt:dt", _BASE64)
        packed = base64.b64encode(value).decode("ascii")
        lines = (packed[at : at + _LINE_CHARACTERS] for at in range(0, len(packed), _LINE_CHARACTERS))
        child.text = "\n" + "\n".join(lines) + "\n"
    else:
        child.text = value


def read_document(form: Form, document: str | bytes) -> Filled:
    """Read a document from anywhere. Raises: RuleError (invitation-not-trusted, unsupported-version)."""
    try:
        # Guards: a byte order mark of UTF-16 would outrank the encoding that expat is told.
        data = (document if isinstance(document, str) else document.decode()).encode()
    except UnicodeError:
        raise not_trusted("it is not UTF-8") from None
    if len(data) > DOCUMENT_BYTES_MAX:
        raise not_trusted(f"it has more than {DOCUMENT_BYTES_MAX} bytes")
    reader = _Reader(form)
    parser = reader.parser()
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise not_trusted(f"line {error.lineno} is not XML ({expat.ErrorString(error.code)})") from None
    return reader.filled()


def strict_parser(refused: Callable[[str], RuleError]) -> expat.XMLParserType:
    """An expat parser that takes elements, attributes and text, and refuses everything else by what `refused`
    makes of the reason. Each text is UTF-8, whatever it says of itself; a line end parts namespace and name.
    """

    def refuse(reason: str) -> Callable[..., NoReturn]:
        def refuse_it(*_: object) -> NoReturn:
            raise refused(reason)

        return refuse_it

    def declared(version: str, encoding: str | None, _standalone: int) -> None:
        if version != "1.0" or (encoding is not None and encoding.lower() != "utf-8"):
            raise refused("it is not XML 1.0 in UTF-8")

    parser = expat.ParserCreate("utf-8", _BETWEEN)
    parser.buffer_text = True
    parser.XmlDeclHandler = declared
    parser.StartDoctypeDeclHandler = refuse("it has a document type")
    parser.ProcessingInstructionHandler = refuse("it holds a processing instruction")
    parser.CommentHandler = refuse("it holds a comment")
    parser.StartCdataSectionHandler = refuse("it holds a CDATA section")
    return parser


@dataclass(slots=True)
class _Reader:
    """Takes a document in, event by event; any event that the form does not foresee ends the reading."""

    form: Form
    depth: int = 0
    current: Element | None = None
    pieces: list[str] = field(default_factory=list)
    values: dict[str, list[str]] = field(default_factory=dict)

    def parser(self) -> expat.XMLParserType:
        """An expat parser that reports here."""
        parser = strict_parser(not_trusted)
        parser.StartElementHandler = self._opened
        parser.EndElementHandler = self._closed
        parser.CharacterDataHandler = self._text
        return parser

    def filled(self) -> Filled:
        """What was read, once each element came as often as it must."""
        for element in self.form.elements:
            if len(self.values.get(element.name, ())) < element.times_min:
                raise not_trusted(f"{element.name} is missing")
        return Filled({e.name: tuple(self.values.get(e.name, ())) for e in self.form.elements})

    def _opened(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth == 1:
            self._check_root(name, attributes)
        elif self.depth == 2:
            self._open_element(name, attributes)
        else:
            raise not_trusted("an element stands inside a value")

    def _check_root(self, name: str, attributes: dict[str, str]) -> None:
        if name != self.form.root:
            raise not_trusted(f"it is not a {self.form.root}")
        version = attributes.pop("VERSION", "")
        if attributes or not re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}", version):
            raise not_trusted(f"{self.form.root} has other attributes than a version")
        if version != _VERSION:
            raise RuleError(
                "unsupported-version",
                f"the document is of version {version}, this peerd reads {_VERSION}",
                hint="install a newer peerd",
            )

    def _open_element(self, name: str, attributes: dict[str, str]) -> None:
        element = next((known for known in self.form.elements if known.expanded == name), None)
        if element is None:
            raise not_trusted(f"it holds an element that {self.form.root} does not have")
        if attributes != ({f"{_TYPES_NAMESPACE}{_BETWEEN}dt": _BASE64} if element.binary else {}):
            raise not_trusted(f"{element.name} has other attributes than it should")
        if len(self.values.setdefault(element.name, [])) == element.times_max:
            raise not_trusted(f"{element.name} comes more than {element.times_max} times")
        self.current = element

    def _closed(self, name: str) -> None:
        self.depth -= 1
        if self.current is not None:
            self.values[self.current.name].append("".join(self.pieces))
            self.pieces.clear()
            self.current = None

    def _text(self, text: str) -> None:
        if self.current is not None:
            self.pieces.append(text)
        elif text.strip(_WHITE):
            raise not_trusted("text stands outside the values")
