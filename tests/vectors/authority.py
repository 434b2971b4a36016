"""Golden vectors of AUTH: genesis, acts of every kind, certificates as elements, evidence, and the rules.

Byte strings are lower-case hex, times seconds since 1970 UTC but for `hlc`. What a field of an act holds is
told as the map that is encoded: a text that stands for bytes is marked by a key that ends in `:hex`.
`python -m tests.vectors.authority` writes the file anew; a change in it is a change of the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocol.authority.acts import Act
from protocol.authority.bodies import BODIES, Kind
from protocol.authority.elements import Der
from protocol.authority.root import commitment_of
from protocol.authority.root_certificates import GroupFacts, build_root_certificate
from protocol.codec import decode_untrusted, encode
from protocol.limits import ACT_BYTES_MAX, END_OF_TIME_S
from protocol.peer_time import Window
from tests.protocol.authority.bad_acts import BAD, RECOVERY, rotation
from tests.support.builders import GRC, NOW, Group
from tests.support.keys import named, peer_name

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "authority.json"
LINE = "grc -> alice:admin -> bob:admin -> ivy:inviting -> mo:member"
NAMES = ("alice", "bob", "ivy", "mo", "eve")
TOO_LONG = ("grant_line_has_room",)  # 24 administrators would fill the file


def _json(value: Any) -> Any:
    """A decoded value as JSON can hold it."""
    if isinstance(value, dict):
        return {f"{key}:hex" if isinstance(item, bytes) else key: _json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [{"hex": item.hex()} if isinstance(item, bytes) else _json(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _act(what: str, act: Act) -> dict[str, Any]:
    return {
        "what": what,
        "fields": _json(decode_untrusted(act.content, bytes_max=ACT_BYTES_MAX)),
        "content": act.content.hex(),
        "id": act.id.hex(),
        "element": act.raw.hex(),
    }


def _der(what: str, der: Der) -> dict[str, Any]:
    return {
        "what": what,
        "act_id": der.act_id.hex(),
        "issuer_key": der.issuer_key.raw.hex(),
        "der": der.certificate.der.hex(),
        "id": der.id.hex(),
        "element": der.raw.hex(),
    }


def _keys(group: Group) -> dict[str, Any]:
    keys = {name: named(name) for name in (*NAMES, RECOVERY, "new root")} | {GRC: group.key(GRC)}
    return {
        name: {"seed": one.seed.hex(), "public": one.public.raw.hex(), "pid": one.public.pid.hex()}
        for name, one in keys.items()
    }


def _genesis(group: Group) -> dict[str, Any]:
    genesis, grc, *_ = group.founding.elements
    assert isinstance(genesis, Act)
    assert isinstance(grc, Der)
    pair = [named(RECOVERY).public, named("eve").public]
    return {
        "gid": group.gid.hex(),
        "group_name": group.founding.group_name,
        "act": _act("genesis", genesis),
        "root_certificate": _der("root certificate", grc),
        "commitments": [
            {
                "keys": [key.raw.hex() for key in keys],
                "threshold": threshold,
                "commitment": commitment_of(keys, threshold).hex(),
            }
            for keys, threshold in ((pair[:1], 1), (pair, 1), (pair, 2))
        ],
    }


def _kinds(group: Group) -> list[dict[str, Any]]:
    """One act of each kind, with something in every field, and two of kinds that nobody knows yet."""
    key, heads = named("mo").public.raw, group.creator.act.id * 2
    second = NOW.utc_s + 86_400
    revoke = {"key": key, "keep": heads, "until": second, "reason": "left", "data": "time"}
    code = {"key": key, "role": 3, "not_after": second, "grant_not_after": second, "uses": 2}
    extra = {"colour": "blue", "numbers": [0, -1, 2**64 - 1], "nested": {"bytes": b"\x00\xff", "none": None}}
    bodies: list[tuple[str, str, int, Any]] = [
        ("properties", GRC, Kind.PROPERTIES, {
            "friendly": "Groß & Klein", "comment": "家", "default_life": 86_400, "presence": False,
            "join": {"code": True}, "renewal": {}, "quotas": {"ids": 5}, "extra": extra,
        }),
        ("annul", "alice", Kind.ANNUL, {"act": group.creator.act.id}),
        ("invite by code", "ivy", Kind.INVITE, code),
        ("invite by password", "alice", Kind.INVITE, {"sealed": b"sealed", "role": 3, "not_after": second}),
        ("revoke credential", "bob", Kind.REVOKE_CREDENTIAL, revoke),
        ("revoke key", "alice", Kind.REVOKE_KEY, {"key": key, "data": "manifest", "manifest": bytes(32)}),
        ("resign", "mo", Kind.RESIGN, {"keep": heads, "reason": "moved away"}),
        ("unknown kind of the root", GRC, 63, {"later": 1}),
        ("unknown kind of a member", "mo", 255, {"later": [b"\x01"]}),
        ("unknown body field", "mo", Kind.RESIGN, {"later": 1}),
    ]  # fmt: skip
    acts = [_act(what, group.act(author, kind, body)) for what, author, kind, body in bodies]
    acts.append(_act("ext", group.act("mo", Kind.RESIGN, {}, ext={"hint": b"\x01"})))
    acts.append(_act("rotation", group.act(GRC, Kind.ROTATE_ROOT, rotation(), signers=(RECOVERY,))))
    certificate = build_root_certificate(GroupFacts.of(group.founding.root), named("new root"))
    both = rotation(certificates=[certificate], keep=heads, kept=bytes(32))
    acts.append(
        _act("rotation, two signers", group.act(GRC, Kind.ROTATE_ROOT, both, signers=(GRC, RECOVERY)))
    )
    full = {
        "renews": group.creator.act.id, "via": bytes(32), "despite": heads, "adopts": heads, "keep": heads,
    }  # fmt: skip
    window = Window(NOW.utc_s, END_OF_TIME_S)
    granted = group.grant(
        "alice -> eve:admin", window=window, wanted=0, roles=(1, 9), friendly="Ève", body=full
    )
    return [*acts, _act("grant with every field", granted.act)]


def _line(group: Group) -> list[dict[str, Any]]:
    """The grants of LINE with their certificates, one of each level that matters."""
    group.grant(LINE)
    told = []
    for granted in group.granted.values():
        grant = granted.grant
        told.append(
            {
                "subject": str(grant.peer_name),
                "serial": f"{grant.serial:040x}",
                "act": _act(f"level {grant.level}", granted.act),
                "certificate": _der(f"level {grant.level}", granted.der),
            }
        )
    return told


def _bundle(group: Group) -> dict[str, Any]:
    leaf = list(group.granted.values())[-1]
    bundle = group.bundle(leaf)
    return {
        "authority": group.authority.hex(),
        "leaf": leaf.act.id.hex(),
        "subject": str(peer_name("mo")),
        "signatures": len(bundle.checks()),
        "bundle": bundle.raw.hex(),
    }


def _refused_elements(group: Group) -> list[dict[str, str]]:
    """Elements that no decoder takes, whatever is known of the group."""
    content, entries = decode_untrusted(group.creator.act.raw, bytes_max=ACT_BYTES_MAX)
    act_id, key, der = decode_untrusted(group.creator.der.raw, bytes_max=ACT_BYTES_MAX)
    bad = [
        ("one part", encode([content])),
        ("four parts", encode([act_id, key, der, b""])),
        ("no signature", encode([content, b""])),
        ("half an entry", encode([content, entries[:95]])),
        ("a key twice", encode([content, entries * 2])),
        ("somebody else's key", encode([content, named("eve").public.raw + entries[32:]])),
        ("key of small order", encode([content, bytes(32) + entries[32:]])),
        ("content that is no map", encode([encode([]), entries])),
        (
            "content in a second form",
            encode([b"\xde\x00" + bytes([content[0] & 0x0F]) + content[1:], entries]),
        ),
        ("bytes behind the end", encode([content, entries]) + b"\x00"),
        ("act named by 31 bytes", encode([act_id[1:], key, der])),
        ("certificate cut short", encode([act_id, key, der[:-1]])),
    ]
    return [{"why": why, "element": raw.hex()} for why, raw in bad]


def _refused_by_rules() -> list[dict[str, Any]]:
    """For each rule of admission acts that it alone refuses, once the founding and `given` are admitted."""
    told = []
    for rule, makers in BAD.items():
        for make in makers:
            if rule in TOO_LONG:
                continue
            group = Group()
            founding = len(group.elements)
            act = make(group)
            given = [element.raw.hex() for element in group.elements[founding:]]
            told.append(
                {"rule": rule, "what": make.__name__.replace("_", " "), "given": given, "act": act.raw.hex()}
            )
    return told


def build() -> dict[str, Any]:
    """All vectors of this file."""
    group = Group()
    line = _line(group)
    return {
        "keys": _keys(group),
        "kinds": {BODIES[kind].__name__: int(kind) for kind in BODIES},
        "genesis": _genesis(group),
        "founding": [element.raw.hex() for element in group.founding.elements],
        "grants": line,
        "bundle": _bundle(group),
        "acts": _kinds(group),
        "refused_elements": _refused_elements(group),
        "refused_by_rules": _refused_by_rules(),
    }


def write() -> None:
    """Write the file that `test_authority` compares with."""
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
