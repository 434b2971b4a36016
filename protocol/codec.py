"""The one encoding of everything signed or sent: a bounded, canonical subset of msgpack.

Canonical: maps have text keys in ascending order of their UTF-8 bytes, integers and lengths take their
shortest form, there are no floats, no extension types and no duplicate keys. So one value has one byte
string, and `decode_untrusted` accepts no other: msgpack itself takes non-minimal integers and lets the last
of two equal keys win (reliability study M4). Bounds are checked before and while a value is built.

Evolution: readers ignore map keys that they do not know; the bytes that arrived are what is hashed, kept and
passed on, so unknown fields survive.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgpack
import msgspec

from protocol.errors import RemoteProtocolError, malformed
from protocol.limits import CODEC_DEPTH_MAX, CODEC_ELEMENTS_MAX, CODEC_NODES_MAX

T = TypeVar("T")

_prepared: set[type] = set()

# msgspec writes faster than msgpack, and as short. It cannot read with bounds.
_write = msgspec.msgpack.Encoder().encode
_write_sorted = msgspec.msgpack.Encoder(order="sorted").encode


def encode(value: Any) -> bytes:
    """The canonical bytes of `value`: None, bool, int (-2**63 … 2**64-1), str, bytes, list or tuple, dict
    with text keys.
    """
    assert _is_plain(value), "of a type that is not sent"
    return _write_sorted(value)


def encode_struct(struct: msgspec.Struct) -> bytes:
    """The canonical bytes of a msgspec struct; fields at their default are left out where their type says."""
    return encode(msgspec.to_builtins(struct, builtin_types=(bytes,)))


def decode_untrusted(data: bytes, *, bytes_max: int) -> Any:
    """Decode bytes from anywhere. Raises: RemoteProtocolError, and nothing else."""
    if len(data) > bytes_max:
        raise malformed(f"{len(data)} bytes where {bytes_max} are allowed")
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            use_list=True,
            ext_hook=_refuse_extension,
            max_array_len=CODEC_ELEMENTS_MAX,
            max_map_len=CODEC_ELEMENTS_MAX,
            max_ext_len=0,
        )
        _check_bounds(value)
        repacked = _write(value)
    except RemoteProtocolError:
        raise
    except (
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        msgpack.exceptions.UnpackException,
    ) as error:
        raise malformed(f"not msgpack: {type(error).__name__}") from None
    if repacked != data:
        raise malformed("not in canonical form")
    return value


def decode_checked(data: bytes) -> Any:
    """Decode bytes that have been through `decode_untrusted` before, for a fraction of the cost."""
    return msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=True)


def decode_untrusted_struct(data: bytes, kind: type[T], *, bytes_max: int) -> T:
    """Decode bytes from anywhere into a msgspec type. Raises: RemoteProtocolError, and nothing else."""
    return convert_untrusted(decode_untrusted(data, bytes_max=bytes_max), kind)


def convert_untrusted(value: Any, kind: type[T]) -> T:
    """Give a decoded value its checked type, one that is `prepared`. Raises: RemoteProtocolError, and nothing
    else.
    """
    assert kind in _prepared, kind
    try:
        return msgspec.convert(value, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise malformed(str(error)) from None


def prepared(kind: type[T]) -> type[T]:
    """A msgspec type that any thread may use from now on; for modules, when they define one.

    Guards: two threads that decode the first of a kind at once. msgspec reads a type's fields when it is
    first used and shows the unfinished outcome to other threads, which end the process.
    """
    msgspec.msgpack.Decoder(kind)
    _prepared.add(kind)
    return kind


def _refuse_extension(code: int, data: bytes) -> Any:
    raise malformed("extension types are not used")


def _check_bounds(value: Any) -> None:
    """Depth, number of nodes, allowed types and ascending text keys; iterative, so that depth cannot exhaust
    the stack. Scalars are counted where they stand and not looked at one by one.
    """
    nodes = 1
    level = [value]
    for depth in range(CODEC_DEPTH_MAX + 1):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                _check_keys(item)
                inside = item.values()
            elif kind is list:
                inside = item
            elif kind in _SCALARS:
                continue  # the whole document is one
            else:
                raise malformed(f"values of type {kind.__name__} are not used")
            if inside and depth == CODEC_DEPTH_MAX:
                raise malformed("nested too deeply")
            nodes += len(inside)
            below += [one for one in inside if type(one) not in _SCALARS]
        if nodes > CODEC_NODES_MAX:
            raise malformed("too many values in one document")
        if not below:
            return
        level = below


_SCALARS = frozenset({type(None), bool, int, str, bytes})
_CONTAINERS = frozenset({dict, list, tuple})
_TEXT = frozenset({str})


def _check_keys(mapping: dict[Any, Any]) -> None:
    # Code point order and UTF-8 byte order are the same, so no encoding is needed here; the same key twice
    # is one key here, and shows when the value is packed again.
    keys = list(mapping)
    if not _TEXT.issuperset(map(type, keys)) or keys != sorted(keys):
        raise malformed("map keys must be text in ascending order")


def _is_plain(value: Any) -> bool:
    """Whether a value is of our types alone, keys aside: the writer takes floats, sets and more besides."""
    kind = type(value)
    if kind not in _CONTAINERS:
        return kind in _SCALARS
    inside = value.values() if kind is dict else value
    return _SCALARS.issuperset(map(type, inside)) or all(map(_is_plain, inside))
