"""What the tests of this room start from: keys by name, one group, certificates open to change."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from protocol.credentials.certificates import GmcFacts, build_gmc, build_grc, build_idc, serial_of
from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import name_of_group, name_of_key
from protocol.credentials.roles import ADMIN, INVITING_MEMBER, MEMBER
from protocol.limits import END_OF_TIME_S
from protocol.peer_time import Window

GID = hashlib.sha256(b"the group of these tests").digest()
GROUP_NAME = str(name_of_group(GID, "family"))
START = 1_790_000_000
YEAR = 31_536_000
FOREVER = Window(START, END_OF_TIME_S)


def key(name: str) -> PrivateKey:
    """The key that goes by this name in all tests."""
    return PrivateKey.from_seed(hashlib.sha256(name.encode()).digest())


def peer_name(name: str) -> str:
    """The peer name of the key of that name, with the name as its classifier."""
    return str(name_of_key(key(name).public, name))


def grc(name: str = "root", *, gid: bytes = GID, window: Window = FOREVER) -> bytes:
    """A root certificate."""
    return build_grc(gid, str(name_of_group(gid, "family")), window, key(name))


def idc(name: str = "alice", *, window: Window = FOREVER) -> bytes:
    """An identity certificate."""
    return build_idc(key(name), peer_name(name), window)


def facts(name: str, level: int, issuer: str = "root", **changed) -> GmcFacts:
    """What a membership certificate of `name`, issued by `issuer`, is to say."""
    role = INVITING_MEMBER if level == 254 else MEMBER if level == 255 else ADMIN
    subject, author = key(name).public, key(issuer).public
    usual = GmcFacts(
        gid=GID,
        level=level,
        roles=(role,),
        peer_name=peer_name(name),
        window=Window(START, START + YEAR),
        serial=serial_of(author.pid, bytes(16), level, subject.pid),
        subject=subject,
        issuer=author,
        issuer_is_root=issuer == "root",
    )
    return replace(usual, **changed)


def gmc(name: str = "alice", level: int = 1, issuer: str = "root", **changed) -> bytes:
    """A membership certificate."""
    return build_gmc(facts(name, level, issuer, **changed), key(issuer))


def chain(text: str, **changed) -> list[bytes]:
    """The certificates of a line such as `root -> alice 1 -> bob 255`; `changed` is for the last one."""
    root, *links = text.split(" -> ")
    ders, issuer = [grc(root)], root
    for link in links:
        name, level = link.split()
        ders.append(gmc(name, int(level), issuer, **(changed if link is links[-1] else {})))
        issuer = name
    return ders
