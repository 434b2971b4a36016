"""Sets of acts for the tests of evaluation: made fast, of everything that the rules speak of, honest or not.

Evaluation looks at no signature, so acts here carry none, and their ids are drawn; only genesis is real. They
pass the real `admit`. A set is a function of its seed: 6 keys and the root, 4 levels of administrators and
both sorts of leaves, two chains a key, forks, wrong numbers, missing parents, dates that go back, cuts at
random places, and rotations of a root of two keys out of three.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from protocol.authority.acts import Act, Place, sign_act
from protocol.authority.admission import Admitted, Deferred, Valid, admit
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
    UnknownBody,
)
from protocol.authority.grants import Grant
from protocol.authority.root import commitment_of, gid_of
from protocol.authority.root_certificates import GroupFacts, build_root_certificate
from protocol.authority.view import View
from protocol.credentials.keys import PrivateKey
from protocol.credentials.roles import ADMIN, INVITING_MEMBER, MEMBER
from protocol.ids import split_ids
from protocol.limits import END_OF_TIME_S, LEVEL_INVITING_MEMBER, LEVEL_MEMBER, LEVEL_ROOT
from protocol.peer_time import hlc_at, hlc_s
from tests.support.keys import named, peer_name

START_S = 1_790_000_000
STEP_S = 100
KEYS = ("ann", "ben", "cat", "dan", "eve", "fay")
CHAINS = 2
LEVELS = (1, 2, 3, 4)
Pair = tuple[Act, Admitted]


@dataclass(frozen=True)
class RootKeys:
    """One operating set with its threshold, and the recovery set that it commits to."""

    operating: tuple[PrivateKey, ...]
    threshold: int
    recovery: tuple[PrivateKey, ...]
    recovery_threshold: int

    @property
    def pids(self) -> tuple[bytes, ...]:
        return tuple(key.public.pid for key in self.operating)

    @property
    def recovery_pids(self) -> tuple[bytes, ...]:
        return tuple(key.public.pid for key in self.recovery)

    @property
    def commitment(self) -> bytes:
        return commitment_of([key.public for key in self.recovery], self.recovery_threshold)


_LABELS: dict[tuple[bytes, ...], str] = {}


@cache
def root_keys(label: str, count: int = 3, threshold: int = 2) -> RootKeys:
    """The keys of a root version; those of "0" are genesis's."""
    keys = RootKeys(
        tuple(named(f"op/{label}/{n}") for n in range(count)),
        threshold,
        tuple(named(f"rec/{label}/{n}") for n in range(2)),
        2,
    )
    _LABELS[tuple(sorted(keys.pids))] = label
    return keys


def joined(keys: Iterable[PrivateKey]) -> bytes:
    """A list of keys as bodies hold it."""
    return b"".join(sorted(key.public.raw for key in keys))


@cache
def genesis() -> Act:
    """A real genesis whose operating set needs two of three keys."""
    keys, grc, nonce, created = root_keys("0"), named("grc"), b"n" * 32, hlc_at(START_S * 1000)
    body = RotateRootBody(
        from_version=0,
        operating=joined(keys.operating),
        threshold=keys.threshold,
        next=keys.commitment,
        grc=grc.public.raw,
        nonce=nonce,
        created=created,
    )
    place = Place(b"\0" * 32, b"\0" * 32, nonce[:16], 1, None, LEVEL_ROOT, None, created)
    gid = gid_of(sign_act(place, Kind.ROTATE_ROOT, body, [grc]))
    return sign_act(
        Place(gid, gid, nonce[:16], 1, None, LEVEL_ROOT, None, created), Kind.ROTATE_ROOT, body, [grc]
    )


GID = genesis().place.gid


@dataclass
class Known:
    """Admitted acts without a view."""

    acts: dict[bytes, Admitted] = field(default_factory=dict)
    gid: bytes = GID

    def admitted(self, act_id: bytes) -> Admitted | None:
        return self.acts.get(act_id)


def bare_act(place: Place, kind: int, body: Body, act_id: bytes, signers: Sequence[bytes] = ()) -> Act:
    """An act without bytes and signatures."""
    return Act(b"", act_id, place, int(kind), body, {}, None, tuple(signers), (), b"", ())


def causal(acts: Iterable[Act]) -> list[Pair]:
    """Those that are admitted, parents first."""
    known, pairs, waiting = Known(), [], list(acts)
    while True:
        left = []
        for act in waiting:
            verdict = admit(act, known)
            if isinstance(verdict, Valid):
                known.acts[act.id] = verdict.admitted
                pairs.append((act, verdict.admitted))
            elif isinstance(verdict, Deferred):
                left.append(act)
        if len(left) == len(waiting):
            return pairs
        waiting = left


def shuffled(pairs: Sequence[Pair], rng: Random) -> list[Pair]:
    """Another order in which they may arrive, parents first."""
    mixed, there, waiting, done = list(pairs), set[bytes](), dict[bytes, list[Pair]](), list[Pair]()
    rng.shuffle(mixed)
    for first in mixed:
        ready = [first]
        while ready:
            pair = ready.pop()
            place = pair[0].place
            missing = next((one for one in (place.prev, place.cred) if one and one not in there), None)
            if missing is not None:
                waiting.setdefault(missing, []).append(pair)
                continue
            done.append(pair)
            there.add(pair[0].id)
            ready += waiting.pop(pair[0].id, [])
    return done


def view_of_pairs(pairs: Iterable[Pair]) -> View:
    """The view of admitted acts, in this order, asked nothing before the end."""
    view = View(GID)
    for act, admitted in pairs:
        view.add(act, admitted)
    return view


@cache
def root_certificate(key: PrivateKey) -> bytes:
    """The root certificate of a key in the group of these sets."""
    return build_root_certificate(GroupFacts(GID, "", genesis().place.hlc), key)


class Maker:
    """Makes one set, act by act; every choice comes from `rng`."""

    def __init__(self, rng: Random, keys: Sequence[str] = KEYS, levels: Sequence[int] = LEVELS) -> None:
        self.rng = rng
        self.keys = keys
        self.levels = levels
        self.known = Known()
        self.acts: list[Act] = []
        self.by_author: dict[bytes, list[Act]] = {}
        self.grants: list[Grant] = []
        self.removals: dict[bytes, list[bytes]] = {}
        self.versions: list[tuple[bytes, str]] = []
        self._count = 0
        self._salt = rng.randbytes(8)
        self._now_s = START_S
        self.keep(genesis())

    @classmethod
    def after(cls, rng: Random, pairs: Iterable[Pair]) -> Maker:
        """One that goes on where these acts end."""
        maker = cls(rng)
        for act, _ in pairs:
            if act.id not in maker.known.acts:
                maker.keep(act)
        maker._now_s = max(second_of(act) for act in maker.acts)
        return maker

    # --- keeping ----------------------------------------------------------------------------------------

    def new_id(self) -> bytes:
        """An id that nothing has yet."""
        self._count += 1
        return hashlib.sha256(self._salt + self._count.to_bytes(4, "big")).digest()

    def keep(self, act: Act) -> Act:
        """Put an act into the set; it is told whether it is admitted by `known`."""
        self.acts.append(act)
        verdict = admit(act, self.known)
        if isinstance(verdict, Valid):
            self.known.acts[act.id] = verdict.admitted
            self.by_author.setdefault(act.place.author, []).append(act)
            if verdict.admitted.grant is not None:
                self.grants.append(verdict.admitted.grant)
            if verdict.admitted.root is not None:
                label = _LABELS[tuple(sorted(verdict.admitted.root.operating))]
                self.versions.append((act.id, label))
            if act.kind in (Kind.REVOKE_CREDENTIAL, Kind.REVOKE_KEY):
                key = act.body.key  # type: ignore[attr-defined]
                self.removals.setdefault(_pid(key), []).append(act.id)
            if act.kind == Kind.RESIGN:
                self.removals.setdefault(act.place.author, []).append(act.id)
        return act

    def act(self, under: Grant | None, kind: int, body: Body, **changed: Any) -> Act:
        """The next act under a grant, or of the root; `changed` are fields of Place, `signers`, `chain`
        (a number).
        """
        rng = self.rng
        author = GID if under is None else under.pid
        level = LEVEL_ROOT if under is None else under.level
        version = rng.choice(self.versions) if under is None else None
        chain = hashlib.sha256(author + bytes([changed.pop("chain", rng.randrange(CHAINS))])).digest()[:16]
        mine = [one for one in self.by_author.get(author, ()) if one.place.chain == chain]
        if not mine:
            prev = None
        elif rng.random() < 0.85:
            prev = max(mine, key=lambda one: one.place.seq)
        else:
            prev = rng.choice([*mine, None])
        self._now_s += rng.randrange(STEP_S)
        hlc = hlc_at(self._now_s * 1000)
        if rng.random() < 0.1:
            hlc -= hlc_at(rng.randrange(20 * STEP_S) * 1000)
        if prev is not None:
            hlc = max(hlc, prev.place.hlc + 1)
        signers = changed.pop("signers", None)
        if version is not None and signers is None:
            signers = self._signers(root_keys(version[1]))
        fields: dict[str, Any] = {
            "gid": GID,
            "author": author,
            "chain": chain,
            "seq": 1 if prev is None else prev.place.seq + 1,
            "prev": None if prev is None else prev.id,
            "level": level,
            "cred": under.act_id if under is not None else None if version is None else version[0],
            "hlc": hlc,
        } | changed
        return self.keep(bare_act(Place(**fields), kind, body, self.new_id(), signers or ()))

    def _signers(self, keys: RootKeys) -> list[bytes]:
        """Mostly enough of them."""
        count = keys.threshold if self.rng.random() < 0.95 else keys.threshold - 1
        return sorted(self.rng.sample(keys.pids, count))

    # --- choosing ---------------------------------------------------------------------------------------

    def issuer(self, below: int = 256) -> Grant | None:
        """A grant that may issue at a level smaller than `below`, or None for the root."""
        able = [one for one in self.grants if one.level < below and one.level != LEVEL_MEMBER]
        return self.rng.choice(able) if able and self.rng.random() < 0.85 else None

    def cut(self, pid: bytes, most: int = 3) -> bytes:
        """Heads for a `keep`: some of a key's acts, and now and then somebody else's or nobody's."""
        rng, mine = self.rng, self.by_author.get(pid, [])
        heads = [one.id for one in (mine[-1:] if rng.random() < 0.5 else [])]
        heads += [rng.choice(mine).id for _ in range(rng.randrange(most)) if mine]
        if rng.random() < 0.1:
            heads.append(rng.choice(self.acts).id)
        if rng.random() < 0.05:
            heads.append(rng.randbytes(32))
        return b"".join(heads)

    # --- acts -------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One more act of some kind."""
        roll = self.rng.random()
        makers = (
            (0.34, self.grant),
            (0.52, self.grant_again),
            (0.72, self.revoke),
            (0.80, self.resign),
            (0.87, self.annul),
            (0.92, self.rotate),
            (0.97, self.other),
            (1.00, self.lie),
        )
        next(make for bound, make in makers if roll < bound)()

    def grant(self) -> None:
        """A grant to anybody at any level that fits."""
        cred = self.issuer()
        level = self._level_below(LEVEL_ROOT if cred is None else cred.level)
        self.act(cred, Kind.GRANT, self.grant_body(cred, self._subject(cred), level))

    def _level_below(self, level: int) -> int:
        if level == LEVEL_INVITING_MEMBER:
            return LEVEL_MEMBER
        able = [one for one in self.levels if one > level]
        return self.rng.choice([*able, *able, LEVEL_INVITING_MEMBER, LEVEL_MEMBER])

    def _subject(self, cred: Grant | None) -> str:
        line = () if cred is None else self.known.acts[cred.act_id].line
        able = [name for name in self.keys if named(name).public.pid not in line]
        return self.rng.choice(able or list(self.keys))

    def grant_body(self, cred: Grant | None, subject: str, level: int, **more: Any) -> GrantBody:
        rng = self.rng
        start, end = (START_S - 300, END_OF_TIME_S) if cred is None else (cred.window.start, cred.window.end)
        if rng.random() < 0.2:
            end = min(end, self._now_s + rng.randrange(1, 40 * STEP_S))
        if rng.random() < (0.4 if "adopts" in more else 0.1):
            start = min(end - 1, max(start, self._now_s - rng.randrange(20 * STEP_S)))
        role = {LEVEL_INVITING_MEMBER: INVITING_MEMBER, LEVEL_MEMBER: MEMBER}.get(level, ADMIN)
        return GrantBody(
            key=named(subject).public.raw,
            name=str(peer_name(subject)),
            level=level,
            roles=[role],
            start=start,
            end=end,
            der=bytes(32),
            **more,
        )

    def grant_again(self) -> None:
        """A grant to somebody who has one: a renewal, an adoption, a re-admission, or several of these."""
        if not self.grants:
            return self.grant()
        rng, old = self.rng, self.rng.choice(self.grants)
        cred = self.issuer(below=old.level)
        level = (
            old.level if rng.random() < 0.7 else self._level_below(LEVEL_ROOT if cred is None else cred.level)
        )
        if cred is not None and cred.level == LEVEL_INVITING_MEMBER:
            level = LEVEL_MEMBER
        more: dict[str, Any] = {}
        if rng.random() < 0.6:
            more["renews"] = old.act_id if rng.random() < 0.85 else rng.choice(self.acts).id
        if rng.random() < 0.4:
            mine = [one.act_id for one in self.grants if one.pid == old.pid]
            others = [rng.choice(mine), rng.choice(self.acts).id]
            more["adopts"] = old.act_id + b"".join(one for one in others if rng.random() < 0.2)
        if "adopts" in more or rng.random() < 0.05:
            more["keep"] = self.cut(old.pid)
        removals = self.removals.get(
            old.pid if rng.random() < 0.9 else self.rng.choice(self.acts).place.author, []
        )
        if removals and rng.random() < 0.6:
            more["despite"] = b"".join(rng.sample(removals, rng.randrange(1, min(3, len(removals)) + 1)))
        subject = next(name for name in self.keys if named(name).public.pid == old.pid)
        self.act(cred, Kind.GRANT, self.grant_body(cred, subject, level, **more))

    def revoke(self) -> None:
        """Anybody who may issue revokes anybody."""
        rng = self.rng
        target = named(rng.choice(self.keys)).public
        ends = [one.window.end for one in self.grants if one.pid == target.pid]
        fields: dict[str, Any] = {"key": target.raw, "keep": self.cut(target.pid)}
        if rng.random() < 0.2:
            fields["until"] = rng.choice([*ends, self._now_s])
        if rng.random() < 0.75:
            self.act(self.issuer(), Kind.REVOKE_CREDENTIAL, RevokeCredentialBody(**fields))
        else:
            self.act(self.issuer(), Kind.REVOKE_KEY, RevokeKeyBody(**fields))

    def resign(self) -> None:
        if self.grants:
            cred = self.rng.choice(self.grants)
            self.act(cred, Kind.RESIGN, ResignBody(keep=self.cut(cred.pid)))

    def annul(self) -> None:
        """Of a removal more often than of anything else, of a level that fits or not."""
        rng = self.rng
        targets = [one for ids in self.removals.values() for one in ids]
        if not targets or rng.random() < 0.5:
            targets = [one.id for one in self.acts]
        target = rng.choice(targets) if rng.random() < 0.95 else rng.randbytes(32)
        senior = [one for one in self.grants if one.level in self.levels]
        cred = rng.choice(senior) if senior and rng.random() < 0.7 else None
        self.act(cred, Kind.ANNUL, AnnulBody(act=target))

    def rotate(self) -> None:
        """Out of any version, by its recovery set, with or without those that it replaces."""
        rng = self.rng
        version, label = rng.choice(self.versions)
        old, new = root_keys(label), root_keys(label + rng.choice("abc"))
        extra = rng.sample(old.pids, rng.choice((0, 0, 1, 2)))
        pids = old.recovery_pids
        signers = sorted({*(pids if rng.random() < 0.95 else pids[:1]), *extra})
        body = RotateRootBody(
            from_version=len(label),
            operating=joined(new.operating),
            threshold=new.threshold,
            next=new.commitment,
            revealed=joined(old.recovery),
            revealed_threshold=old.recovery_threshold,
            keep=self.cut(GID),
            certificates=self._certificates(new),
            kept=rng.choice((None, None, rng.randbytes(32))),
        )
        self.act(None, Kind.ROTATE_ROOT, body, cred=version, signers=signers)

    def _certificates(self, new: RootKeys) -> list[bytes]:
        """Of none of the keys, of some or of all, and seldom such that the rotation is refused."""
        keys = sorted(new.operating, key=lambda key: key.public.raw)
        chosen = [key for key in keys if self.rng.random() < 0.5]
        if self.rng.random() < 0.05:
            chosen.append(self.rng.choice((named("eve"), *keys)))
        return [root_certificate(key) for key in chosen]

    def other(self) -> None:
        """Kinds that take nothing from anybody."""
        rng = self.rng
        kind = rng.choice((Kind.PROPERTIES, Kind.INVITE, 3, 150, 200))
        if kind == Kind.PROPERTIES:
            self.act(None, kind, PropertiesBody(friendly=str(rng.randrange(9))))
        elif kind == Kind.INVITE:
            self.act(self.issuer(), kind, InviteBody(role=MEMBER, not_after=END_OF_TIME_S))
        else:
            self.act(rng.choice([None, *self.grants]), kind, UnknownBody())

    def lie(self) -> None:
        """An act that is not what it says, which admission has to find."""
        rng, cred = self.rng, self.issuer()
        lies: tuple[dict[str, Any], ...] = (
            {"seq": rng.randrange(1, 9)},
            {"prev": rng.randbytes(32), "seq": 2},
            {"prev": rng.choice(self.acts).id, "seq": rng.randrange(2, 5)},
            {"level": rng.choice((1, 2, 3, 254, 255))},
            {"cred": rng.choice(self.acts).id},
            {"gid": bytes(32)},
            {"hlc": 0},
            {"author": named(rng.choice(self.keys)).public.pid},
        )
        changed = rng.choice(lies)
        if rng.random() < 0.5:
            self.act(cred, Kind.RESIGN, ResignBody(), **changed)
        else:
            body = self.grant_body(cred, self._subject(cred), rng.choice((*LEVELS, 254, 255)))
            self.act(cred, Kind.GRANT, body, **changed)


def _pid(raw: bytes) -> bytes:
    return _PIDS[raw]


_PIDS = {named(name).public.raw: named(name).public.pid for name in (*KEYS, "new")}


def make_set(rng: Random, size: int, lost: float = 0.05) -> list[Act]:
    """A set of about so many acts; a part of them never arrived, and what follows those neither."""
    maker = Maker(rng)
    for _ in range(size):
        maker.step()
    return [maker.acts[0], *(act for act in maker.acts[1:] if rng.random() >= lost)]


def pairs_of(seed: int, largest: int = 50) -> tuple[Random, list[Pair]]:
    """The set of a seed, what is admitted of it; and the source of further choices."""
    rng = Random(seed)
    acts = make_set(rng, rng.randrange(5, largest), lost=rng.choice((0, 0, 0.03, 0.1)))
    return rng, causal(acts)


def heads_in(act: Act) -> tuple[bytes, ...]:
    """The ids that an act's `keep` names."""
    return split_ids(getattr(act.body, "keep", b""))


def second_of(act: Act) -> int:
    """The second that an act is dated."""
    return hlc_s(act.place.hlc)
