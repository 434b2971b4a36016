"""Evaluation of authority: a hundred thousand acts from scratch, one more grant, and the worst that one
revocation can ask for.

The acts are what a large and long-lived group has: administrators three deep, each with members that were
renewed. Their signatures and forms were checked when they arrived, so here they have none.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from protocol.authority.acts import Act, Place
from protocol.authority.admission import Admitted, Valid, admit
from protocol.authority.bodies import Body, GrantBody, Kind, RevokeKeyBody
from protocol.authority.grants import Grant
from protocol.authority.root import make_genesis
from protocol.authority.view import View
from protocol.credentials.keys import PrivateKey, PublicKey
from protocol.credentials.names import name_of_key
from protocol.credentials.roles import ADMIN, MEMBER
from protocol.ids import tagged_hash
from protocol.limits import END_OF_TIME_S, LEVEL_MEMBER, LEVEL_ROOT
from protocol.peer_time import hlc_at, hlc_ms
from scripts.bench.figures import Row, Spent

_GRC = PrivateKey.from_seed(b"g" * 32)
_CREATED = hlc_at(1_790_000_000_000)
_ADMINS = 30  # below the creator; a third of them each is one, two and three steps away
_RENEWALS = 10  # of each member: two and a half years of ninety days
_ROUNDS = 20
_STEP_MS = 1000


@dataclass(slots=True)
class Acts:
    """A group's acts as they are after their checks, parents first."""

    pairs: list[tuple[Act, Admitted]] = field(default_factory=list)
    _known: View = field(init=False)
    _last: dict[bytes, Act] = field(default_factory=dict)
    _keys: int = 0
    _hlc: int = _CREATED

    def __post_init__(self) -> None:
        """Found the group."""
        genesis = make_genesis(grc=_GRC, classifier="bench", recovery=[], nonce=bytes(32), created=_CREATED)
        self._known = View(genesis.place.gid)
        self._take(genesis)

    @property
    def gid(self) -> bytes:
        """The group."""
        return self._known.gid

    def _take(self, act: Act) -> Admitted:
        verdict = admit(act, self._known)
        assert isinstance(verdict, Valid), verdict
        self._known.add(act, verdict.admitted)
        self.pairs.append((act, verdict.admitted))
        self._last[act.place.author] = act
        return verdict.admitted

    def sign(self, under: Grant | None, kind: Kind, body: Body) -> Admitted:
        """The next act of whom a grant was made to, or of the root."""
        author = self.gid if under is None else under.pid
        before = self._last.get(author)
        self._hlc += hlc_at(_STEP_MS)
        place = Place(
            gid=self.gid,
            author=author,
            chain=self.pairs[0][0].place.chain if under is None else author[:16],
            seq=1 if before is None else before.place.seq + 1,
            prev=None if before is None else before.id,
            level=LEVEL_ROOT if under is None else under.level,
            cred=self.pairs[0][0].id if under is None else under.act_id,
            hlc=self._hlc,
        )
        act_id = tagged_hash("bench", len(self.pairs).to_bytes(4, "big"))
        signers = (_GRC.public.pid,) if under is None else ()
        return self._take(Act(b"", act_id, place, kind, body, {}, None, signers, (), b"", ()))

    def grant(self, under: Grant | None, key: PublicKey, level: int) -> Grant:
        """A grant."""
        body = GrantBody(
            key=key.raw,
            name=str(name_of_key(key, "")),
            level=level,
            roles=[MEMBER if level == LEVEL_MEMBER else ADMIN],
            start=hlc_ms(_CREATED) // 1000,
            end=END_OF_TIME_S,
            der=bytes(32),
        )
        grant = self.sign(under, Kind.GRANT, body).grant
        assert grant is not None
        return grant

    def new_key(self) -> PublicKey:
        """A key that nobody has the other half of."""
        self._keys += 1
        return PublicKey(tagged_hash("bench-key", self._keys.to_bytes(4, "big"))[:31] + b"\1")


def large_group(count: int) -> tuple[Acts, list[Grant]]:
    """About `count` acts; and the grants of the creator and of the administrators."""
    acts = Acts()
    admins = [acts.grant(None, acts.new_key(), 1)]
    for number in range(_ADMINS):
        above = admins[0] if number < _ADMINS // 3 else admins[1 + number - _ADMINS // 3]
        admins.append(acts.grant(above, acts.new_key(), above.level + 1))
    number = 0
    while len(acts.pairs) < count:
        key, admin = acts.new_key(), admins[number % len(admins)]
        for _ in range(min(_RENEWALS, count - len(acts.pairs))):
            acts.grant(admin, key, LEVEL_MEMBER)
        number += 1
    return acts, admins


def _timed(work: Callable[[], object]) -> Spent:
    spent = Spent()
    gc.collect()
    with spent.running():
        work()
    return spent


def _evaluate(gid: bytes, pairs: Sequence[tuple[Act, Admitted]]) -> View:
    view = View(gid)
    for act, admitted in pairs:
        view.add(act, admitted)
    assert view.generation == 0
    return view


def _row(what: str, spent: Spent, bound_ms: str) -> Row:
    return Row(
        what,
        f"{spent.wall_s * 1000:,.2f} ms",
        f"{spent.processor_s * 1000:,.2f} ms of processor time; {bound_ms}",
    )


def rows(count: int) -> list[Row]:
    """Evaluate, add one grant some times, revoke the creator without a cut, annul nothing."""
    acts, admins = large_group(count)
    views: list[View] = []
    table = []
    for _ in range(3):
        views.clear()
        scratch = _timed(lambda: views.append(_evaluate(acts.gid, acts.pairs)))
    table.append(_row(f"{count:,} acts from scratch", scratch, "bound 1,000 ms"))
    view = views[0]
    table.append(_row("  and their protected set", _timed(view.protected), ""))
    table += _one_more(acts, admins, view)
    return table


def _one_more(acts: Acts, admins: Sequence[Grant], view: View) -> list[Row]:
    def add() -> None:
        act, admitted = acts.pairs[-1]
        view.add(act, admitted)
        assert view.is_effective(act.id)
        assert view.is_protected(act.id)

    spent = []
    for _ in range(_ROUNDS):
        acts.grant(admins[-1], acts.new_key(), LEVEL_MEMBER)
        spent.append(_timed(add))
    median = Spent(
        statistics.median(one.wall_s for one in spent), statistics.median(one.processor_s for one in spent)
    )
    slowest = max(spent, key=lambda one: one.wall_s)
    leaf = RevokeKeyBody(key=acts.grant(admins[0], acts.new_key(), LEVEL_MEMBER).key.raw)
    view.add(*acts.pairs[-1])
    acts.sign(admins[0], Kind.REVOKE_KEY, leaf)
    member = _timed(lambda: _revoke(acts, view))
    acts.sign(None, Kind.REVOKE_KEY, RevokeKeyBody(key=admins[0].key.raw))
    whole = _timed(lambda: _revoke(acts, view))
    again = _timed(view.protected)
    return [
        _row("one GRANT more, median", median, "bound 1 ms"),
        _row(f"  slowest of {_ROUNDS}", slowest, ""),
        _row("one member revoked", member, ""),
        _row("  worst case: the creator, without a cut", whole, "everything falls"),
        _row("  and the protected set after that", again, ""),
    ]


def _revoke(acts: Acts, view: View) -> None:
    act, admitted = acts.pairs[-1]
    before = view.generation
    view.add(act, admitted)
    assert view.generation > before
