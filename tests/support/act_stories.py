"""Small sets of acts told as a story: who does what to whom, by name, one line an act.

    story = Story()
    story.grant("root", "ann", 1)
    story.grant("ann", "ben", 2)
    cut = story.revoke("root", "ann", keep=["ann"])     # all that ann has signed so far
    assert story.is_member("ben")

An author acts under the last grant that was made to it, and goes on with its first chain; `under`, `chain`
and `after` say otherwise. Acts are as those of act_sets: admitted by the real rules, without signatures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from protocol.authority.acts import Act, Place
from protocol.authority.admission import Admitted, Valid, admit
from protocol.authority.bodies import (
    AnnulBody,
    Body,
    GrantBody,
    InviteBody,
    Kind,
    PropertiesBody,
    ResignBody,
    RevokeCredentialBody,
    RevokeKeyBody,
    RotateRootBody,
)
from protocol.authority.view import View
from protocol.credentials.roles import ADMIN, INVITING_MEMBER, MEMBER
from protocol.limits import END_OF_TIME_S, LEVEL_INVITING_MEMBER, LEVEL_MEMBER, LEVEL_ROOT
from protocol.peer_time import hlc_at
from tests.support.act_sets import GID, START_S, Pair, RootKeys, bare_act, genesis, joined, root_keys
from tests.support.keys import named, peer_name

ROOT = "root"


class Story:
    """One group; `view` knows everything that has been told so far."""

    def __init__(self) -> None:
        self.view = View(GID)
        self.pairs: list[Pair] = []
        self.now_s = START_S + 1000
        self._last: dict[tuple[str, int], Act] = {}
        self._under: dict[str, bytes] = {}
        self._labels: dict[bytes, RootKeys] = {genesis().id: root_keys("0")}
        self._take(genesis(), ROOT, 0)
        self._under[ROOT] = genesis().id

    def _take(self, act: Act, by: str, chain: int) -> Act:
        verdict = admit(act, self.view)
        assert isinstance(verdict, Valid), verdict
        self.view.add(act, verdict.admitted)
        self.pairs.append((act, verdict.admitted))
        self._last[by, chain] = act
        return act

    def act(
        self,
        by: str,
        kind: int,
        body: Body,
        *,
        under: Act | None = None,
        chain: int = 0,
        after: Act | None = None,
        at_s: int | None = None,
        signers: Sequence[bytes] | None = None,
    ) -> Act:
        """The next act of a name."""
        self.now_s += 10
        cred = self._under[by] if under is None else under.id
        admitted = self.view.admitted(cred)
        assert admitted is not None
        grant = admitted.grant
        prev = self._last.get((by, chain)) if after is None else after
        hlc = hlc_at((self.now_s if at_s is None else at_s) * 1000)
        author = GID if by == ROOT else named(by).public.pid
        if signers is None:
            keys = self._labels.get(cred)
            signers = () if keys is None else sorted(keys.pids[: keys.threshold])
        place = Place(
            gid=GID,
            author=author,
            chain=genesis().place.chain if (by, chain) == (ROOT, 0) else self._chain(by, chain),
            seq=1 if prev is None else prev.place.seq + 1,
            prev=None if prev is None else prev.id,
            level=LEVEL_ROOT if grant is None else grant.level,
            cred=cred,
            hlc=hlc if prev is None else max(hlc, prev.place.hlc + 1),
        )
        act_id = hashlib.sha256(f"act {len(self.pairs)}".encode()).digest()
        return self._take(bare_act(place, kind, body, act_id, signers), by, chain)

    def _chain(self, by: str, chain: int) -> bytes:
        return hashlib.sha256(f"{by}/{chain}".encode()).digest()[:16]

    # --- what is done -----------------------------------------------------------------------------------

    def grant(
        self,
        by: str,
        to: str,
        level: int = LEVEL_MEMBER,
        *,
        despite: Iterable[Act] = (),
        adopts: Iterable[Act] = (),
        keep: Iterable[Act | str] = (),
        renews: Act | None = None,
        start: int = START_S,
        end: int = END_OF_TIME_S,
        **place: Any,
    ) -> Act:
        role = {LEVEL_INVITING_MEMBER: INVITING_MEMBER, LEVEL_MEMBER: MEMBER}.get(level, ADMIN)
        body = GrantBody(
            key=named(to).public.raw,
            name=str(peer_name(to)),
            level=level,
            roles=[role],
            start=start,
            end=end,
            der=bytes(32),
            renews=None if renews is None else renews.id,
            despite=b"".join(one.id for one in despite),
            adopts=b"".join(one.id for one in adopts),
            keep=self.heads(keep),
        )
        act = self.act(by, Kind.GRANT, body, **place)
        self._under[to] = act.id
        return act

    def heads(self, keep: Iterable[Act | str]) -> bytes:
        """Acts, or names for the last act of each of their chains."""
        found: list[bytes] = []
        for one in keep:
            if isinstance(one, str):
                found += [act.id for (name, _), act in self._last.items() if name == one]
            else:
                found.append(one.id)
        return b"".join(found)

    def revoke(
        self,
        by: str,
        whom: str,
        *,
        keep: Iterable[Act | str] = (),
        for_ever: bool = False,
        until: int | None = None,
        data: str = "",
        manifest: bytes | None = None,
        **place: Any,
    ) -> Act:
        body = (RevokeKeyBody if for_ever else RevokeCredentialBody)(
            key=named(whom).public.raw, keep=self.heads(keep), until=until, data=data, manifest=manifest
        )
        return self.act(by, Kind.REVOKE_KEY if for_ever else Kind.REVOKE_CREDENTIAL, body, **place)

    def resign(self, by: str, *, keep: Iterable[Act | str] = (), **place: Any) -> Act:
        return self.act(by, Kind.RESIGN, ResignBody(keep=self.heads(keep)), **place)

    def annul(self, by: str, act: Act, **place: Any) -> Act:
        return self.act(by, Kind.ANNUL, AnnulBody(act=act.id), **place)

    def invite(self, by: str, **place: Any) -> Act:
        return self.act(by, Kind.INVITE, InviteBody(role=MEMBER, not_after=END_OF_TIME_S), **place)

    def properties(self, friendly: str, **place: Any) -> Act:
        return self.act(ROOT, Kind.PROPERTIES, PropertiesBody(friendly=friendly), **place)

    def rotate(
        self, label: str, *, keep: Iterable[Act | str] = (), cosigned: bool = False, under: Act | None = None
    ) -> Act:
        """Install the root keys of a label over the version that `under` installed, or that acts go by."""
        cred = self._under[ROOT] if under is None else under.id
        old, new = self._labels[cred], root_keys(label)
        root = self.view.admitted(cred)
        assert root is not None
        assert root.root is not None
        body = RotateRootBody(
            from_version=root.root.version,
            operating=joined(new.operating),
            threshold=new.threshold,
            next=new.commitment,
            revealed=joined(old.recovery),
            revealed_threshold=old.recovery_threshold,
            keep=self.heads(keep),
        )
        signers = {*old.recovery_pids, *(old.pids[: old.threshold] if cosigned else ())}
        chain = len(self.pairs)  # whoever rotates has another store than whoever lost the keys
        act = self.act(
            ROOT, Kind.ROTATE_ROOT, body, under=self._act(cred), chain=chain, signers=sorted(signers)
        )
        self._labels[act.id] = new
        self._under[ROOT] = act.id
        return act

    def _act(self, act_id: bytes) -> Act:
        return next(act for act, _ in self.pairs if act.id == act_id)

    # --- what it comes to -------------------------------------------------------------------------------

    def is_member(self, name: str) -> bool:
        """Whether a name has a live grant."""
        return bool(self.view.live_grants(named(name).public.pid))

    def level(self, name: str) -> int | None:
        """The smallest level that a name has."""
        grants = self.view.live_grants(named(name).public.pid)
        return min((grant.level for grant in grants), default=None)

    def counts(self, *acts: Act) -> list[bool]:
        """Which acts are effective."""
        return [self.view.is_effective(act.id) for act in acts]

    def without(self, *acts: Act) -> View:
        """The view of all the rest."""
        view = View(GID)
        for act, admitted in self.pairs:
            if act not in acts:
                view.add(act, admitted)
        return view

    def admitted(self, act: Act) -> Admitted:
        """An act as evaluation takes it."""
        found = self.view.admitted(act.id)
        assert found is not None
        return found
