"""What is on a node's disk while its daemon is down, and what a subject can fetch from one that runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from peerd.clock import Clock
from peerd.gossip.fetching import SeekingPort, fetch_from
from peerd.gossip.offload import in_thread
from peerd.store.group_store import GroupStore
from peerd.transport.dialer import dial
from protocol.authority.acts import Act, decode_untrusted_act
from protocol.authority.bundle import Bundle
from protocol.authority.elements import stored_is_der
from protocol.credentials.certificates import build_idc
from protocol.credentials.documents import write_identity_document
from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import name_of_key
from protocol.peer_time import Window


@dataclass(frozen=True)
class Stranger:
    """A key with a document, and no daemon."""

    key: PrivateKey
    document: str


def stranger(*number: int) -> Stranger:
    """A stranger of its own for each number."""
    key = PrivateKey.from_seed(bytes(number).ljust(32, b"\0"))
    idc = build_idc(key, str(name_of_key(key.public, "stranger")), Window(1_700_000_000, 2_000_000_000))
    return Stranger(key, write_identity_document(idc))


def fetch(address: str, group: str, key: PrivateKey) -> Bundle | None:
    """What whoever listens there hands to a key that knows the group's name."""
    port = SeekingPort(bytes.fromhex(group.partition(".")[0]), key, key.seed[:16])
    return trio.run(partial(fetch_from, address, port, dial=dial, clock=Clock(), offload=in_thread))


def acts_on_disk(home: Path, group: str) -> list[Act]:
    """The acts of a group in a home, in the order of their arrival. Its daemon must be down."""
    (path,) = (home / "groups").glob(f"{group.partition('.')[0]}*.db")
    store = GroupStore(path, make=False)
    try:
        return [decode_untrusted_act(raw) for raw in store.load() if not stored_is_der(raw)]
    finally:
        store.close()


def check_chains(acts: Sequence[Act]) -> None:
    """No chain forks and none has a gap: from 1 on, each act names the one before."""
    chains: dict[tuple[bytes, bytes], list[Act]] = {}
    for act in acts:
        chains.setdefault((act.place.author, act.place.chain), []).append(act)
    for chain in chains.values():
        assert [act.place.seq for act in chain] == list(range(1, len(chain) + 1))
        assert [act.place.prev for act in chain] == [None, *(act.id for act in chain[:-1])]
