"""The bodies of acts: each field with its bounds, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.authority.acts import decode_untrusted_act
from protocol.authority.bodies import BODIES, Kind, UnknownBody
from protocol.errors import RemoteProtocolError
from protocol.limits import END_OF_TIME_S
from protocol.peer_time import HLC_MAX
from tests.support.builders import seal
from tests.support.keys import key

ID, KEY = b"i" * 32, key(7).public.raw
NAME = "0" * 40 + "."
GOOD: dict[int, dict[str, Any]] = {
    Kind.ROTATE_ROOT: {"from_version": 1, "operating": KEY, "threshold": 1, "next": ID},
    Kind.PROPERTIES: {},
    Kind.ANNUL: {"act": ID},
    Kind.GRANT: {"key": KEY, "name": NAME, "level": 1, "roles": [1], "start": 0, "end": 1, "der": ID},
    Kind.INVITE: {"role": 3, "not_after": 0},
    Kind.REVOKE_CREDENTIAL: {"key": KEY},
    Kind.REVOKE_KEY: {"key": KEY},
    Kind.RESIGN: {},
}
NO_ID = (b"", b"i" * 31, b"i" * 33, "i" * 32, 1)
NO_SECOND = (-1, END_OF_TIME_S + 1, "0", True)
NO_TEXT: tuple[Any, ...] = (1, b"text", [])
NO_MAP: tuple[Any, ...] = ([], 1, "x", b"")
_REVOKE: dict[str, tuple[Any, ...]] = {
    "key": NO_ID,
    "keep": (b"i" * 33, b"i" * 32 * 1025, [ID]),
    "until": NO_SECOND,
    "reason": ("r" * 256, *NO_TEXT),
    "data": ("d" * 17, *NO_TEXT),
    "manifest": NO_ID,
}
BAD: dict[int, dict[str, tuple[Any, ...]]] = {
    Kind.ROTATE_ROOT: {
        "from_version": (-1, 65_536, "1", True),
        "operating": (b"k" * 31, b"k" * 32 * 17, [KEY]),
        "threshold": (0, 17, -1, "1"),
        "next": NO_ID,
        "grc": NO_ID,
        "classifier": ("c" * 150, *NO_TEXT),
        "nonce": NO_ID,
        "created": (-1, HLC_MAX + 1, "0"),
        "certificates": ([b"x" * 4097], [b"x"] * 17, b"x", ["x"]),
        "revealed": (b"k" * 31, b"k" * 32 * 17),
        "revealed_threshold": (-1, 17),
        "keep": (b"i" * 33, b"i" * 32 * 1025),
        "kept": NO_ID,
    },
    Kind.PROPERTIES: {
        "friendly": ("f" * 256, *NO_TEXT),
        "comment": ("c" * 256, *NO_TEXT),
        "default_life": NO_SECOND,
        "presence": (0, 1, "yes", None),
        "join": NO_MAP,
        "renewal": NO_MAP,
        "quotas": NO_MAP,
        "extra": (*NO_MAP, {f"k{number:02}": 0 for number in range(65)}),
    },
    Kind.ANNUL: {"act": NO_ID},
    Kind.GRANT: {
        "key": NO_ID,
        "name": ("0" * 40, "n" * 191, *NO_TEXT),
        "friendly": ("f" * 256, *NO_TEXT),
        "level": (0, 256, "1", True),
        "roles": ([], [0], [256], [1] * 9, ["1"], b"\x01", 1),
        "start": NO_SECOND,
        "end": NO_SECOND,
        "wanted": NO_SECOND,
        "der": NO_ID,
        "store": (0, 1, "yes", None),
        "renews": NO_ID,
        "despite": (b"i" * 31, b"i" * 32 * 17),
        "adopts": (b"i" * 31, b"i" * 32 * 17),
        "keep": (b"i" * 31, b"i" * 32 * 1025),
        "via": NO_ID,
    },
    Kind.INVITE: {
        "key": NO_ID,
        "sealed": (b"s" * 4097, "s"),
        "role": (0, 256, "3"),
        "not_after": NO_SECOND,
        "grant_not_after": NO_SECOND,
        "uses": (0, 65_536, "1"),
    },
    Kind.REVOKE_CREDENTIAL: _REVOKE,
    Kind.REVOKE_KEY: _REVOKE,
    Kind.RESIGN: {"keep": _REVOKE["keep"], "reason": _REVOKE["reason"]},
}
# Values at the bounds, which must pass.
EDGES: dict[int, list[dict[str, Any]]] = {
    Kind.ROTATE_ROOT: [
        {"from_version": 65_535, "threshold": 16, "operating": b"k" * 512, "created": HLC_MAX},
        {
            "revealed": b"k" * 512,
            "revealed_threshold": 16,
            "keep": ID,
            "kept": ID,
        },
        {"grc": KEY, "nonce": ID, "classifier": "c" * 149},
    ],
    Kind.PROPERTIES: [
        {"friendly": "f" * 255, "comment": "c" * 255, "default_life": END_OF_TIME_S, "presence": False},
        {"join": {"code": True}, "renewal": {"at": 2}, "quotas": {"ids": 1}},
        {"extra": {f"k{number:02}": [0] for number in range(64)}},
    ],
    Kind.ANNUL: [{"act": bytes(32)}],
    Kind.GRANT: [
        {"name": NAME + "n" * 149, "friendly": "f" * 255, "level": 255, "roles": [1, 2, 3, 4, 5, 6, 7, 255]},
        {"start": END_OF_TIME_S, "end": END_OF_TIME_S, "wanted": END_OF_TIME_S, "store": True},
        {"renews": ID, "via": ID, "despite": ID * 16, "adopts": ID * 16, "keep": ID * 1024},
    ],
    Kind.INVITE: [
        {"key": KEY, "role": 255, "not_after": END_OF_TIME_S},
        {"sealed": b"s" * 4096, "uses": 65_535},
    ],
    Kind.REVOKE_CREDENTIAL: [{"keep": ID * 1024, "until": 0, "reason": "r" * 255, "data": "manifest"}],
    Kind.REVOKE_KEY: [{"manifest": ID, "data": "d" * 16}],
    Kind.RESIGN: [{"keep": ID * 1024, "reason": "r" * 255}],
}


def act_of(kind: int, body: dict[str, Any]):
    """An act of this kind and body, by a key that may be anybody's."""
    author = key(1)
    return decode_untrusted_act(
        seal(
            {
                "v": 1,
                "gid": ID,
                "author": author.public.pid,
                "chain": b"c" * 16,
                "seq": 1,
                "level": 1,
                "hlc": 0,
                "kind": int(kind),
                "body": body,
            },
            [author],
        )
    )


def test_tables_of_these_tests_name_every_kind_and_field():
    assert set(GOOD) == set(BAD) == set(EDGES) == set(BODIES)
    for kind, body in BODIES.items():
        assert set(BAD[kind]) == set(body.__struct_fields__), kind


@pytest.mark.parametrize("kind", list(BODIES))
def test_body_with_what_it_needs_is_read(kind):
    act = act_of(kind, GOOD[kind])
    assert type(act.body) is BODIES[kind]


@pytest.mark.parametrize("kind, field", [(kind, field) for kind, body in GOOD.items() for field in body])
def test_needed_field_must_be_there(kind, field):
    with pytest.raises(RemoteProtocolError):
        act_of(kind, {name: value for name, value in GOOD[kind].items() if name != field})


@pytest.mark.parametrize("kind, field", [(kind, field) for kind, fields in BAD.items() for field in fields])
def test_field_out_of_its_bounds_is_refused(kind, field):
    for value in BAD[kind][field]:
        with pytest.raises(RemoteProtocolError):
            act_of(kind, GOOD[kind] | {field: value})


@pytest.mark.parametrize("kind, body", [(kind, body) for kind, bodies in EDGES.items() for body in bodies])
def test_bounds_themselves_are_accepted(kind, body):
    act = act_of(kind, GOOD[kind] | body)
    assert {name: getattr(act.body, name) for name in body} == body


def test_kinds_keep_their_codes():
    assert {kind.name: kind.value for kind in Kind} == {
        "ROTATE_ROOT": 1,
        "PROPERTIES": 2,
        "ANNUL": 64,
        "GRANT": 128,
        "INVITE": 129,
        "REVOKE_CREDENTIAL": 130,
        "REVOKE_KEY": 131,
        "RESIGN": 192,
    }


@pytest.mark.parametrize("kind", [3, 63, 65, 127, 132, 191, 193, 255])
def test_kind_of_a_newer_version_is_read_whatever_its_body_holds(kind):
    act = act_of(kind, {"keep": 5, "key": "no key", "more": [1, {"a": None}]})
    assert act.body == UnknownBody()
    assert act.body_map == {"keep": 5, "key": "no key", "more": [1, {"a": None}]}
