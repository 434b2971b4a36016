"""From the bytes of a request to one of the schema's types, or to a refusal that says what to mend.

JSON leaves room that two programs fill differently, so the room is closed here: a key that stands twice is
refused, and a number that is whole is an integer however it is written (`7.0` is 7). NaN and infinities are
no JSON. All refusals are `BadRequest`.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from peerd.control.limits import JSON_PARTS_MAX, QUERY_PARAMETERS_MAX
from peerd.control.schema import Request
from peerd.errors import BadRequest

T = TypeVar("T", bound=Request)

_UNKNOWN_FIELD = re.compile(r"^Object contains unknown field `(.*?)`(?: - at `(.*)`)?$", re.DOTALL)
_SHOWN_CHARACTERS_MAX = 80
_INTEGER_MAX = 2**53  # beyond it a float no longer names one integer


def decode_body(content: bytes, kind: type[T]) -> T:
    """The JSON object of a request's body; no bytes at all are an object without fields."""
    value = _json_value(content) if content else {}
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _misfit("body", str(error), kind) from None


def decode_query(text: str, kind: type[T]) -> T:
    """The parameters behind the question mark; each at most once, numbers and booleans in JSON's words."""
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=QUERY_PARAMETERS_MAX,
        )
    except ValueError:
        raise BadRequest(
            "The query is no list of name=value joined by &, in percent-encoded UTF-8."
        ) from None
    given = _without_duplicates(pairs)
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _misfit("query", str(error), kind) from None


def decode_segment(text: str) -> str:
    """One percent-encoded segment of a path."""
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise BadRequest("The path is not percent-encoded UTF-8.") from None


def field_names(kind: type[msgspec.Struct]) -> list[str]:
    """The names of the fields of a request, with those of the requests inside it."""
    names: dict[str, None] = {}
    for field in msgspec.structs.fields(kind):
        names[field.encode_name] = None
    for inner in _inner_requests(msgspec.inspect.type_info(kind)):
        names |= dict.fromkeys(field_names(inner))
    return list(names)


def _inner_requests(info: object) -> list[type[msgspec.Struct]]:
    assert isinstance(info, msgspec.inspect.StructType)
    lists = [field.type for field in info.fields if isinstance(field.type, msgspec.inspect.ListType)]
    return [inner.item_type.cls for inner in lists if isinstance(inner.item_type, msgspec.inspect.StructType)]


def _json_value(content: bytes) -> Any:
    """The value of a JSON text in UTF-8, by the rules of this file.

    Its parts are counted before anything is built: a mebibyte of brackets would make 30 of empty lists. The
    count takes brackets and commas inside of texts for parts; there are few in ours.
    """
    if sum(content.count(mark) for mark in (b"[", b"{", b",")) > JSON_PARTS_MAX:
        raise BadRequest(f"The body has more than {JSON_PARTS_MAX} parts.", code="request-too-large")
    try:
        msgspec.json.decode(content)  # the stricter reader: UTF-8, surrogates, NaN, range of numbers
        return json.loads(content.decode(), object_pairs_hook=_without_duplicates, parse_float=_number)
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise BadRequest(f"The body is not JSON: {error}.") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise BadRequest(f"{_shown(name)} is given twice.", hint="give it once")
        found[name] = value
    return found


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) <= _INTEGER_MAX else number


def _misfit(where: str, message: str, kind: type[Request]) -> BadRequest:
    """The refusal of a value that is no `kind`, with the name that was probably meant."""
    unknown = _UNKNOWN_FIELD.match(message)
    if unknown is None:
        return BadRequest(f"The {where} does not fit: {message}.")
    name, names = unknown[1], field_names(kind)
    close = difflib.get_close_matches(name[:_SHOWN_CHARACTERS_MAX], names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(names) or 'none'}"
    return BadRequest(f"The {where} has a field that is not known: {_shown(name)}.", hint=hint)


def _shown(name: str) -> str:
    return repr(name if len(name) <= _SHOWN_CHARACTERS_MAX else name[:_SHOWN_CHARACTERS_MAX] + "…")
