"""A small world in full: every set of up to five acts of three keys on three levels below the root.

Each act is every act that can be made at that point: grants plain, in spite of a removal, adopting, or
renewing; both revocations, with a cut or none; resignations; annulments of everything. The first is a grant
by the root, and keys come into play in one order, for the others are the same worlds under other names. Every
set is evaluated by the oracle, from scratch, and as one act more than the set before: so all orders of
arrival are in it too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from protocol.authority.acts import Act, Place
from protocol.authority.admission import Valid, admit
from protocol.authority.bodies import (
    AnnulBody,
    Body,
    GrantBody,
    Kind,
    ResignBody,
    RevokeBody,
    RevokeCredentialBody,
    RevokeKeyBody,
)
from protocol.authority.grants import Grant
from protocol.credentials.roles import ADMIN
from protocol.limits import END_OF_TIME_S, LEVEL_ROOT
from protocol.peer_time import hlc_at
from tests.support.act_oracle import outcome_of, told_outcome
from tests.support.act_sets import (
    GID,
    START_S,
    Known,
    Pair,
    bare_act,
    genesis,
    joined,
    root_keys,
    view_of_pairs,
)
from tests.support.keys import named, peer_name

KEYS = ("ann", "ben", "cat")
LEVELS = (1, 2, 3)
ACTS = 5
ACTS_QUICK = 3
PARTS = 8


@dataclass
class World:
    """The acts so far."""

    pairs: list[Pair] = field(default_factory=list)
    known: Known = field(default_factory=Known)

    def push(self, act: Act) -> bool:
        """Add an act if it is admitted."""
        verdict = admit(act, self.known)
        if not isinstance(verdict, Valid):
            return False
        self.known.acts[act.id] = verdict.admitted
        self.pairs.append((act, verdict.admitted))
        return True

    def pop(self) -> None:
        act, _ = self.pairs.pop()
        del self.known.acts[act.id]

    @property
    def grants(self) -> list[Grant]:
        return [admitted.grant for _, admitted in self.pairs if admitted.grant is not None]

    def last_of(self, author: bytes) -> Act | None:
        return next((act for act, _ in reversed(self.pairs) if act.place.author == author), None)

    def make(self, under: Grant | None, kind: int, body: Body) -> Act:
        """The next act in the one chain of its author."""
        author = GID if under is None else under.pid
        prev, number = self.last_of(author), len(self.pairs)
        keys = root_keys("0")
        place = Place(
            gid=GID,
            author=author,
            chain=genesis().place.chain if under is None else author[:16],
            seq=1 if prev is None else prev.place.seq + 1,
            prev=None if prev is None else prev.id,
            level=LEVEL_ROOT if under is None else under.level,
            cred=genesis().id if under is None else under.act_id,
            hlc=hlc_at((START_S + 10 * number) * 1000),
        )
        signers = sorted(keys.pids[: keys.threshold]) if under is None else ()
        return bare_act(place, kind, body, hashlib.sha256(f"small {number}".encode()).digest(), signers)

    def options(self) -> Iterator[Act]:
        """Every act that can come next."""
        for under in (None, *self.grants):
            yield from (self.make(under, Kind.GRANT, body) for body in self._grants_under(under))
            for body in self._revocations():
                kind = Kind.REVOKE_KEY if isinstance(body, RevokeKeyBody) else Kind.REVOKE_CREDENTIAL
                yield self.make(under, kind, body)
            for act, _ in self.pairs[1:]:
                yield self.make(under, Kind.ANNUL, AnnulBody(act=act.id))
            if under is not None:
                yield self.make(under, Kind.RESIGN, ResignBody())

    def _grants_under(self, under: Grant | None) -> Iterator[GrantBody]:
        granted = {grant.pid for grant in self.grants}
        met = [name for name in KEYS if named(name).public.pid in granted]
        for name in (*met, *KEYS[len(met) : len(met) + 1]):
            key = named(name).public
            for level in LEVELS:
                if level > (0 if under is None else under.level):
                    for more in self._manners(key.pid, level):
                        yield GrantBody(
                            key=key.raw,
                            name=str(peer_name(name)),
                            level=level,
                            roles=[ADMIN],
                            start=START_S,
                            end=END_OF_TIME_S,
                            der=bytes(32),
                            **more,
                        )

    def _manners(self, pid: bytes, level: int) -> Iterator[dict[str, Any]]:
        """Plain, and with each of the fields that speak of something that is there."""
        yield {}
        last = self.last_of(pid)
        for grant in self.grants:
            if grant.pid == pid and grant.level <= level:
                yield {"renews": grant.act_id}
                if grant.level == level and last is not None:
                    yield {"adopts": grant.act_id, "keep": last.id}
        for act, _ in self.pairs:
            removed = act.place.author if act.kind == Kind.RESIGN else None
            if isinstance(act.body, RevokeBody):
                removed = next(named(n).public.pid for n in KEYS if named(n).public.raw == act.body.key)
            if removed == pid:
                yield {"despite": act.id}

    def _revocations(self) -> Iterator[RevokeBody]:
        for pid, key in {grant.pid: grant.key for grant in self.grants}.items():
            yield RevokeKeyBody(key=key.raw)
            yield RevokeCredentialBody(key=key.raw)
            last = self.last_of(pid)
            if last is not None:
                yield RevokeCredentialBody(key=key.raw, keep=last.id)


def check(pairs: list[Pair]) -> None:
    """One set: the oracle, the view from scratch, the view of one act more."""
    expected = outcome_of(pairs)
    assert told_outcome(view_of_pairs(pairs), pairs) == expected
    view = view_of_pairs(pairs[:-1])
    view.protected()
    view.add(*pairs[-1])
    assert told_outcome(view, pairs) == expected


def explore(world: World, acts: int) -> int:
    """Check all worlds of up to so many acts from here; how many there were."""
    if len(world.pairs) > acts:
        return 0
    count = 0
    for act in list(world.options()):
        if world.push(act):
            check(world.pairs)
            count += 1 + explore(world, acts)
            world.pop()
    return count


def begun() -> World:
    """Genesis, and the root's grant to the first key."""
    world = World()
    assert world.push(genesis())
    body = next(world._grants_under(None))
    assert world.push(world.make(None, Kind.GRANT, body))
    assert world.grants[0].level == LEVELS[0]
    return world


def test_keys_of_the_root_are_those_of_genesis():
    assert joined(root_keys("0").operating) == getattr(genesis().body, "operating", None)


def test_every_world_of_few_acts_means_what_the_text_says():
    assert explore(begun(), ACTS_QUICK) > 500


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_every_world_of_five_acts_means_what_the_text_says(part):
    world, count = begun(), 0
    for number, act in enumerate(list(world.options())):
        if number % PARTS == part and world.push(act):
            check(world.pairs)
            count += 1 + explore(world, ACTS)
            world.pop()
    assert count > 1000
