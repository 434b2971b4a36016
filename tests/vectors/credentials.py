"""Golden vectors of keys, names, roles, certificates and the documents that carry them.

Byte strings are lower-case hex, times seconds since 1970 UTC. `python -m tests.vectors.credentials` writes
the file anew; a change in it is a change of the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocol.credentials.certificates import (
    GmcFacts,
    build_gmc,
    build_grc,
    build_idc,
    decode_untrusted_certificate,
    serial_of,
)
from protocol.credentials.documents import write_identity_document
from protocol.credentials.invitation import Invitation, write_invitation
from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import name_of_group, name_of_key
from protocol.credentials.pkcs7 import write_bag
from protocol.credentials.roles import ADMIN, INVITING_MEMBER, MEMBER, ROLES
from protocol.limits import END_OF_TIME_S
from protocol.peer_time import Window

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "credentials.json"

# Inputs that a reader can tell apart in a hex dump.
SEEDS = {name: bytes([0x10 + n]) * 32 for n, name in enumerate(("root", "alice", "bob", "carol", "dave"))}
KEYS = {name: PrivateKey.from_seed(seed) for name, seed in SEEDS.items()}
GID = bytes(range(0x40, 0x60))
CHAIN = bytes(range(0x60, 0x70))
CLASSIFIER = "Gro\u00df & Klein"
START = 1_800_000_000  # in 2027: short dates
LATE = 2_600_000_000  # in 2052: long dates
SMALL_ORDER = (
    "01",
    "00",
    "00" * 31 + "80",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)

# subject, level, roles, issuer, author of the act, seq, window
_LINE = (
    ("alice", 1, (ADMIN,), "root", GID, 1, Window(START, LATE)),
    ("bob", 2, (ADMIN, MEMBER), "alice", KEYS["alice"].public.pid, 7, Window(START + 10, LATE)),
    ("carol", 254, (INVITING_MEMBER,), "bob", KEYS["bob"].public.pid, 2**32, Window(START + 20, LATE - 1)),
    ("dave", 255, (MEMBER,), "carol", KEYS["carol"].public.pid, 1, Window(START + 30, START + 40)),
)


def _group_name() -> str:
    return str(name_of_group(GID, CLASSIFIER))


def _peer_name(name: str) -> str:
    return str(name_of_key(KEYS[name].public, name))


def _keys() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "seed": SEEDS[name].hex(),
            "public": key.public.raw.hex(),
            "spki": key.public.spki.hex(),
            "pid": key.public.pid.hex(),
            "authority": key.public.authority,
            "peer_name": _peer_name(name),
            "signature_of_nothing": key.sign(b"").hex(),
        }
        for name, key in KEYS.items()
    ]


def _refused_keys() -> list[dict[str, str]]:
    second = (2**255 - 19 + 3).to_bytes(32, "little")
    return [
        *({"why": "small order", "public": point.ljust(64, "0")} for point in SMALL_ORDER),
        {"why": "second encoding", "public": second.hex()},
        {"why": "31 bytes", "public": KEYS["alice"].public.raw[:31].hex()},
    ]


def certificates() -> list[bytes]:
    """The chain of the vectors: the root's certificate and one membership below the other."""
    ders = [build_grc(GID, _group_name(), Window(START, END_OF_TIME_S), KEYS["root"])]
    for subject, level, roles, issuer, author, seq, window in _LINE:
        key = KEYS[subject].public
        facts = GmcFacts(
            gid=GID,
            level=level,
            roles=roles,
            peer_name=_peer_name(subject),
            window=window,
            serial=serial_of(author, CHAIN, seq, key.pid),
            subject=key,
            issuer=KEYS[issuer].public,
            issuer_is_root=issuer == "root",
        )
        ders.append(build_gmc(facts, KEYS[issuer]))
    return ders


def _told(der: bytes) -> dict[str, Any]:
    certificate = decode_untrusted_certificate(der)
    return {
        "kind": certificate.kind.name,
        "gid": certificate.gid.hex() if certificate.gid else None,
        "level": certificate.level,
        "roles": list(certificate.roles),
        "peer_name": certificate.peer_name,
        "key": certificate.key.raw.hex(),
        "issuer_name": certificate.issuer_name,
        "issuer_authority": certificate.issuer_authority.hex(),
        "not_before": certificate.window.start,
        "not_after": certificate.window.end,
        "serial": f"{certificate.serial:040x}",
        "der": der.hex(),
    }


def _serials() -> list[dict[str, Any]]:
    return [
        {
            "author": author.hex(),
            "chain": CHAIN.hex(),
            "seq": seq,
            "subject": KEYS[subject].public.pid.hex(),
            "serial": f"{serial_of(author, CHAIN, seq, KEYS[subject].public.pid):040x}",
        }
        for subject, _, _, _, author, seq, _ in _LINE
    ]


def build() -> dict[str, Any]:
    """All vectors of this file."""
    chain = certificates()
    idc = build_idc(KEYS["dave"], _peer_name("dave"), Window(START, END_OF_TIME_S))
    invitation = Invitation(
        chain=tuple(chain),
        bundle=b"evidence, of which this layer knows nothing",
        group_name=_group_name(),
        group_friendly_name="All of <us> & more",
        addresses=("192.0.2.7:3587", "[2001:db8::7]:3587", "node.example:3587"),
    )
    return {
        "keys": _keys(),
        "keys_refused": _refused_keys(),
        "group": {"gid": GID.hex(), "classifier": CLASSIFIER, "name": _group_name()},
        "roles": [
            {
                "code": role.code,
                "name": role.name,
                "guid": role.guid,
                "levels": [role.level_min, role.level_max],
            }
            for role in ROLES
        ],
        "serials": _serials(),
        "chain": [_told(der) for der in chain],
        "bag": write_bag(chain).hex(),
        "identity": _told(idc),
        "identity_document": write_identity_document(idc),
        "invitation": {
            "bundle": invitation.bundle.hex(),
            "group_friendly_name": invitation.group_friendly_name,
            "addresses": list(invitation.addresses),
            "document": write_invitation(invitation),
        },
    }


def write() -> None:
    """Write the file that `test_credentials` compares with."""
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
