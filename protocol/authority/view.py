"""What a set of admitted acts means: who is a member, with which credential, under which properties.

The view is a function of the set. `add` and `add_der` only collect, and every question is answered by an
order over content (levels, hlc, ids), so any order of adding gives the same answers; the tests shuffle. Acts
of a kind that this release does not evaluate are carried and counted, nothing more: INVITE, the revocations,
ANNUL, RESIGN, rotations after genesis, and kinds from the future.

Effective here: an act whose `cred` is effective, down to genesis. Live: the same, since nothing is revoked
yet. Membership: a live grant whose window holds now and whose certificate is held (design section 5,
"Membership means").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from protocol.authority.acts import Act
from protocol.authority.admission import Admitted
from protocol.authority.bodies import Kind, PropertiesBody
from protocol.authority.grants import Grant
from protocol.authority.root import Root
from protocol.limits import LEVEL_ROOT


@dataclass(frozen=True, slots=True)
class Head:
    """The last act of one chain."""

    id: bytes
    seq: int
    hlc: int


@dataclass(frozen=True, slots=True)
class Hit:
    """One revocation as records see it: by which rule it lets a version stand that was written under the
    grant it hits.

    `rule` is "drop", "time" (versions not later than `hlc` stand) or "manifest" (those in the list whose hash
    is `manifest` stand); `act_id` is the revocation.
    """

    rule: str
    manifest: bytes | None
    hlc: int
    act_id: bytes


@dataclass(slots=True)
class View:
    """The outcome of evaluating a set of acts of the group `gid`."""

    gid: bytes
    root: Root | None = None
    _admitted: dict[bytes, Admitted] = field(default_factory=dict)
    _effective: dict[bytes, bool] = field(default_factory=dict)
    _grants: dict[bytes, list[Grant]] = field(default_factory=dict)
    _pids: dict[str, bytes] = field(default_factory=dict)
    _heads: dict[tuple[bytes, bytes], Head] = field(default_factory=dict)
    _ders: dict[bytes, bytes] = field(default_factory=dict)
    _properties: tuple[int, bytes, PropertiesBody] | None = None
    _latest_hlc: int = 0

    def admitted(self, act_id: bytes) -> Admitted | None:
        """An admitted act, or None."""
        return self._admitted.get(act_id)

    def __len__(self) -> int:
        """How many acts have been admitted."""
        return len(self._admitted)

    def add(self, act: Act, admitted: Admitted) -> None:
        """Take in an act that `admit` found valid; adding one twice changes nothing."""
        if admitted.id in self._admitted:
            return
        effective = self._is_effective(admitted)
        self._admitted[admitted.id] = admitted
        self._effective[admitted.id] = effective
        self._latest_hlc = max(self._latest_hlc, admitted.place.hlc)
        self._note_head(admitted)
        if not effective:
            return
        if admitted.root is not None:
            self.root = admitted.root
        if admitted.grant is not None:
            self._grants.setdefault(admitted.grant.pid, []).append(admitted.grant)
            self._pids[admitted.grant.key.authority] = admitted.grant.pid
        if isinstance(act.body, PropertiesBody):
            self._note_properties(act, act.body)

    def _is_effective(self, admitted: Admitted) -> bool:
        cred = admitted.place.cred
        if cred is None:
            return admitted.root is not None
        if admitted.kind == Kind.ROTATE_ROOT:
            return False
        return self._effective[cred]

    def _note_head(self, admitted: Admitted) -> None:
        place = admitted.place
        head = Head(admitted.id, place.seq, place.hlc)
        known = self._heads.get((place.author, place.chain))
        if known is None or (head.seq, head.id) > (known.seq, known.id):
            self._heads[place.author, place.chain] = head

    def _note_properties(self, act: Act, body: PropertiesBody) -> None:
        key = (act.place.hlc, act.id)
        if self._properties is None or key > self._properties[:2]:
            self._properties = (*key, body)

    def add_der(self, act_id: bytes, element_id: bytes) -> None:
        """Note that the certificate of `act_id` is held under `element_id`."""
        self._ders[act_id] = element_id

    def der_of(self, act_id: bytes) -> bytes | None:
        """The element id of an act's certificate, or None while it has not been delivered."""
        return self._ders.get(act_id)

    @property
    def properties(self) -> PropertiesBody:
        """The group's properties; the defaults before any were signed."""
        return PropertiesBody() if self._properties is None else self._properties[2]

    @property
    def properties_hlc(self) -> int:
        """When the properties were signed; 0 before any were."""
        return 0 if self._properties is None else self._properties[0]

    @property
    def latest_hlc(self) -> int:
        """The largest hlc of all admitted acts; 0 for none."""
        return self._latest_hlc

    def head(self, author: bytes, chain: bytes) -> Head | None:
        """The last act of a chain."""
        return self._heads.get((author, chain))

    def is_effective(self, act_id: bytes) -> bool:
        """Whether an act is admitted and effective."""
        return self._effective.get(act_id, False)

    def data_hits(self, cred: bytes) -> tuple[Hit, ...] | None:
        """The revocations that records written under a grant have to pass; None when the grant gives nothing,
        so that they are void whatever they are.
        """
        return () if self.is_effective(cred) else None

    def live_grants(self, pid: bytes) -> list[Grant]:
        """Every live grant to a key, delivered or not, in no particular order."""
        return list(self._grants.get(pid, ()))

    def delivered(self, pid: bytes) -> list[Grant]:
        """The live grants to a key whose certificate is held."""
        return [grant for grant in self._grants.get(pid, ()) if grant.act_id in self._ders]

    def holding(self, pid: bytes, at_s: int) -> list[Grant]:
        """Those of them whose window holds at a second UTC."""
        return [grant for grant in self.delivered(pid) if grant.window.holds(at_s)]

    def current(self, pid: bytes, at_s: int) -> Grant | None:
        """The grant that a member goes by at a second UTC, or None for no member."""
        return min(self.holding(pid, at_s), key=Grant.rank, default=None)

    def is_sole(self, pid: bytes) -> bool:
        """Whether a key is the only one with a live grant."""
        return len(self._grants) == 1 and pid in self._grants

    def members_at(self, at_s: int) -> int:
        """How many keys are members at a second UTC."""
        return sum(
            any(grant.act_id in self._ders and grant.window.holds(at_s) for grant in grants)
            for grants in self._grants.values()
        )

    def latest(self, pid: bytes) -> Grant | None:
        """The delivered grant that began last, valid now or not: what a renewal after expiry starts from."""
        return min(self.delivered(pid), key=lambda grant: (-grant.window.start, *grant.rank()), default=None)

    def pid_of(self, authority: str) -> bytes | None:
        """The pid of the key with a live grant whose peer authority (40 hex digits) this is."""
        return self._pids.get(authority)

    def name_of(self, pid: bytes) -> str:
        """The peer name that a subject has by its current or else its latest grant, delivered or not."""
        grants = self.delivered(pid) or self._grants[pid]
        return str(min(grants, key=lambda grant: (-grant.window.start, *grant.rank())).peer_name)

    def act_ids(self) -> tuple[bytes, ...]:
        """The ids of all admitted acts, in the order of their arrival here."""
        return tuple(self._admitted)

    def subjects(self) -> Iterator[bytes]:
        """The pids of all keys with a live grant, ascending."""
        return iter(sorted(self._grants))

    def path(self, grant: Grant) -> list[Grant]:
        """The grants from the one signed by the root down to `grant`, by `cred`."""
        path = [grant]
        while path[-1].author_level != LEVEL_ROOT:
            above = self._admitted[path[-1].cred].grant
            assert above is not None
            path.append(above)
        return path[::-1]
