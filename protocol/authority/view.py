"""What a set of admitted acts means: who is a member, with which credential, under which properties.

The view is a function of the set. `add` and `add_der` only collect; the first question after that has the
evaluation decide what is new (evaluation.py), and every answer goes by content (levels, hlc, ids), so any
order of adding gives the same answers; the tests shuffle. Kinds from the future are carried and counted,
nothing more.

Effective: passes evaluation. Live: effective, and hit by no revocation. Membership: a live grant whose window
holds now and whose certificate is held (design section 5, "Membership means").

What has been told may have to be taken back: `generation` rises, and `take_changed` names the grants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set as AbstractSet
from dataclasses import dataclass

from protocol.authority.acts import Act
from protocol.authority.admission import Admitted
from protocol.authority.ancestry import Node
from protocol.authority.bodies import InviteBody, PropertiesBody, ResignBody, RevokeBody
from protocol.authority.cuts import Claim, excuses_of, own_excuses
from protocol.authority.evaluation import Evaluation
from protocol.authority.grants import Grant
from protocol.authority.kept import KeptTree
from protocol.authority.linked import may_adopt, may_continue
from protocol.authority.protected import Protected
from protocol.authority.reasons import Reason, why_void
from protocol.authority.root import Root
from protocol.authority.rotation import cut_of, kept_by, precedence
from protocol.limits import CHANGED_GRANTS_MAX, LEVEL_ROOT


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


class View:
    """The outcome of evaluating a set of acts of the group `gid`."""

    def __init__(self, gid: bytes) -> None:
        """Begin with no act."""
        self.gid = gid
        self._evaluation = Evaluation()
        self._nodes = self._evaluation.linked.nodes
        self._protected = Protected()
        self._protected_at = 0
        self._pids: dict[str, bytes] = {}
        self._heads: dict[tuple[bytes, bytes], Node] = {}
        self._ders: dict[bytes, bytes] = {}
        self._properties: list[tuple[int, bytes, PropertiesBody]] = []
        self._invites: dict[bytes, InviteBody] = {}
        self._removals: dict[bytes, RevokeBody | ResignBody] = {}
        self._kept: dict[bytes, tuple[KeptTree, int]] = {}  # by rotation; of so many acts and heads

    # --- the set --------------------------------------------------------------------------------------------

    def admitted(self, act_id: bytes) -> Admitted | None:
        """An admitted act, or None."""
        node = self._nodes.get(act_id)
        return None if node is None else node.admitted

    def __len__(self) -> int:
        """How many acts have been admitted."""
        return len(self._nodes)

    def add(self, act: Act, admitted: Admitted) -> None:
        """Take in an act that `admit` found valid; adding one twice changes nothing."""
        if admitted.id in self._nodes:
            return
        node = self._evaluation.add(act, admitted)
        known = self._heads.get((node.author, node.chain))
        if known is None or known is node.prev or (node.seq, node.id) > (known.seq, known.id):
            self._heads[node.author, node.chain] = node
        if node.grant is None:
            self._note_body(act)
        elif len(self._evaluation.linked.grants_to[node.target]) == 1:
            self._pids[node.grant.key.authority] = node.target

    def _note_body(self, act: Act) -> None:
        body = act.body
        if isinstance(body, PropertiesBody):
            self._properties.append((act.place.hlc, act.id, body))
        elif isinstance(body, InviteBody):
            self._invites[act.id] = body
        elif isinstance(body, RevokeBody | ResignBody):
            self._removals[act.id] = body

    def add_der(self, act_id: bytes, element_id: bytes) -> None:
        """Note that the certificate of `act_id` is held under `element_id`."""
        self._ders[act_id] = element_id

    def der_of(self, act_id: bytes) -> bytes | None:
        """The element id of an act's certificate, or None while it has not been delivered."""
        return self._ders.get(act_id)

    def act_ids(self) -> tuple[bytes, ...]:
        """The ids of all admitted acts, in the order of their arrival here."""
        return tuple(self._nodes)

    @property
    def latest_hlc(self) -> int:
        """The largest hlc by which a clock can be judged: of the acts of P(S) that had to wait for their time
        when they came; 0 for none.
        """
        return self._protection().latest_hlc

    def head(self, author: bytes, chain: bytes) -> Head | None:
        """The last act of a chain, effective or not."""
        node = self._heads.get((author, chain))
        return None if node is None else Head(node.id, node.seq, node.admitted.place.hlc)

    def heads_of(self, author: bytes) -> tuple[bytes, ...]:
        """The ids of the last acts of all chains of an author, ascending."""
        return tuple(sorted(node.id for (one, _), node in self._heads.items() if one == author))

    # --- what is effective ----------------------------------------------------------------------------------

    @property
    def _decided(self) -> Evaluation:
        if not self._evaluation.settled:
            self._evaluation.settle()
        return self._evaluation

    def is_effective(self, act_id: bytes) -> bool:
        """Whether an act is admitted and effective."""
        node = self._decided.linked.nodes.get(act_id)
        return node is not None and bool(node.effective)

    def kind_of(self, act_id: bytes) -> int | None:
        """The code of an admitted act's kind."""
        node = self._nodes.get(act_id)
        return None if node is None else node.kind

    def is_live(self, act_id: bytes) -> bool:
        """Whether an act is effective, and no revocation hits it if it is a GRANT."""
        node = self._decided.linked.nodes.get(act_id)
        return node is not None and bool(node.effective) and (node.grant is None or node.standing == ())

    def why_void(self, act_id: bytes) -> Reason | None:
        """Why an admitted act is not effective; None when it is, or is not here."""
        node = self._decided.linked.nodes.get(act_id)
        return None if node is None else why_void(self._evaluation, node)

    def hits_of(self, grant_id: bytes) -> tuple[bytes, ...]:
        """The effective revocations that hit a grant, ascending; void grants are hit like others."""
        node = self._decided.linked.nodes.get(grant_id)
        if node is None or node.grant is None:
            return ()
        return self._evaluation.cuts.on_grant(node).ids

    def hits_on(self, grant: Grant, despite: Sequence[bytes]) -> tuple[bytes, ...]:
        """The same for a grant that somebody shows and that need not have arrived here; `despite` is what
        its body says.
        """
        evaluation = self._decided
        linked = evaluation.linked
        excuses = own_excuses(grant.pid, grant.author_level, despite, linked)
        before = None if grant.renews is None else linked.nodes.get(grant.renews)
        if before is not None and before.effective and may_continue(grant, before.grant):
            excuses |= excuses_of(before, linked)
        claim = Claim(grant.pid, grant.level, grant.author, grant.window.end, excuses)
        return evaluation.cuts.on(claim).ids

    def in_spite(self, grant: Grant, despite: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
        """The removals that a grant and the effective ones that it continues say to stand in spite of, each
        list with the level of who says so. `despite` is what its body says if it has not arrived here.
        """
        nodes = self._decided.linked.nodes
        node = nodes.get(grant.act_id)
        yield grant.author_level, despite if node is None else node.despite
        while grant.renews is not None:
            before = nodes.get(grant.renews)
            if before is None or not before.effective or not may_continue(grant, before.grant):
                return
            assert before.grant is not None
            grant = before.grant
            yield before.level, before.despite

    def is_annulled(self, act_id: bytes, level: int) -> bool:
        """Whether an effective ANNUL takes back an act of this level, which need not have arrived here."""
        annuls = self._decided.linked.annuls.get(act_id, ())
        return any(one.effective and one.level < level for one in annuls)

    def removals_of(self, pid: bytes) -> tuple[bytes, ...]:
        """The effective revocations of a key and its RESIGNs, ascending: what a grant that brings it back
        has to name in `despite`.
        """
        removals = self._decided.linked.removals.get(pid, ())
        return tuple(sorted(one.id for one in removals if one.effective))

    def data_hits(self, cred: bytes) -> tuple[Hit, ...] | None:
        """The revocations that records written under a grant have to pass; None when the grant gives nothing,
        so that they are void whatever they are.

        A grant that adopts it will do in its place: of several, the one with the fewest hits, then the grant
        itself, then the smallest id.
        """
        linked = self._decided.linked
        node = linked.nodes.get(cred)
        if node is None or node.grant is None:
            return None
        adopters = linked.adopters.get(cred, ())
        if not adopters and not node.standing:
            return None if node.standing is None else ()  # nearly always, and asked for every record
        others = [one for one in adopters if may_adopt(one.grant, node.grant)]
        standing = [one for one in (node, *others) if one.standing is not None]
        if not standing:
            return None
        best = min(standing, key=lambda one: (len(one.standing or ()), one is not node, one.id))
        return tuple(self._hit(act_id) for act_id in best.standing or ())

    def _hit(self, act_id: bytes) -> Hit:
        return data_rule(act_id, self._nodes[act_id].admitted.place.hlc, self._removals[act_id])

    @property
    def generation(self) -> int:
        """Rises when something that was told may be otherwise now: an act that was effective is void or the
        other way round, a grant told of has other hits, the root has rotated. New grants raise nothing.
        """
        return self._decided.revisions

    def take_changed(self) -> tuple[bytes, ...] | None:
        """The grants whose standing has changed since this was last asked, new ones left out: effective or
        void, hit by others, adopted. None: too many to name, so all.
        """
        revised = self._decided.revised
        self._evaluation.revised = {}
        return tuple(revised) if len(revised) <= CHANGED_GRANTS_MAX else None

    # --- P(S) -----------------------------------------------------------------------------------------------

    def _protection(self) -> Protected:
        evaluation = self._decided
        if self._protected_at != evaluation.revisions:
            self._protected, self._protected_at = Protected(), evaluation.revisions
            self._protected.grow(node for node in evaluation.linked.nodes.values() if node.effective)
        else:
            self._protected.grow(evaluation.grown)
        evaluation.grown = []
        return self._protected

    def protected(self) -> AbstractSet[bytes]:
        """The ids of P(S), in no particular order: what a node keeps, digests and passes on. Whatever else
        was admitted belongs into the side store.
        """
        return self._protection().nodes.keys()

    def is_protected(self, act_id: bytes) -> bool:
        """Whether an act belongs to P(S)."""
        return act_id in self._protection().nodes

    # --- the root -------------------------------------------------------------------------------------------

    @property
    def root(self) -> Root | None:
        """The root version that signs now; None before genesis has arrived."""
        last = self._decided.root.last
        return None if last is None else last.admitted.root

    @property
    def rotations(self) -> tuple[bytes, ...]:
        """The ids of the effective rotations, genesis first."""
        return tuple(node.id for node in self._decided.root.versions)

    @property
    def roots(self) -> tuple[Root, ...]:
        """The versions that these installed."""
        roots = (node.admitted.root for node in self._decided.root.versions)
        return tuple(root for root in roots if root is not None)

    def cut_of_root(
        self, rotation: bytes, without: Sequence[bytes], until_s: int | None
    ) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """What a rotation that replaces a version would keep of it (rotation.py, `cut_of`): the ids of the
        heads, ascending, and those of all that stands then.
        """
        nodes = [self._nodes[act_id] for act_id in without]
        last = self._last_properties()

        def matters(act: Node) -> bool:
            return act.standing == () or (last is not None and act.id == last[1])

        assert self._decided.settled
        heads, kept = cut_of(self._nodes[rotation], nodes, until_s, matters)
        return tuple(head.id for head in heads), tuple(kept)

    def would_count(self, rotation: Act) -> bool:
        """Whether a rotation that is not here yet would be followed: out of the last version, or instead of
        one that it wins over.
        """
        versions = self._decided.root.versions
        version = self._nodes.get(rotation.place.cred or b"")
        if version is None or version not in versions:
            return False
        end, root = versions[version], version.admitted.root
        assert root is not None
        return end is None or (not root.agreed_by(rotation.signers), rotation.id) < precedence(end)

    def outdoes(self, rotation: bytes, other: bytes, agreed: bool) -> bool:
        """Whether one effective rotation wins over another out of the same version: which id it has, and
        whether the keys that it replaces `agreed` to it.
        """
        return precedence(self._nodes[rotation]) < (not agreed, other)

    def kept_proof(self, grant: Grant) -> bytes | None:
        """The proof that the rotation which replaced a grant's root version keeps the grant (kept.py): empty
        when that version still signs, None when there is no proof.
        """
        version, versions = self._nodes[grant.cred], self._decided.root.versions
        if version not in versions:
            return None
        end = versions[version]
        if end is None:
            return b""
        tree, root = self._kept_tree(end), end.admitted.root
        assert root is not None
        return tree.proof(grant.act_id) if tree.root == root.kept else None

    def _kept_tree(self, rotation: Node) -> KeptTree:
        """Made anew only when acts have come that it may keep."""
        cred, heads = rotation.cred, rotation.heads or {}
        signed = 0 if cred is None else len(cred.citing or ())
        size = signed + sum(len(one.acts) for one in heads.values())
        tree, of = self._kept.get(rotation.id, (None, -1))
        if tree is None or of != size:
            tree = KeptTree(kept_by(rotation))
            self._kept[rotation.id] = (tree, size)
        return tree

    @property
    def rival_rotations(self) -> tuple[bytes, ...]:
        """Rotations out of an effective version that lost to another, ascending: somebody else holds its
        recovery keys.
        """
        evaluation = self._decided
        lost = (one for one in evaluation.linked.rotations if not one.effective)
        return tuple(sorted(one.id for one in lost if one.cred is not None and one.cred.effective))

    @property
    def properties(self) -> PropertiesBody:
        """The group's properties; the defaults before any were signed."""
        last = self._last_properties()
        return PropertiesBody() if last is None else last[2]

    @property
    def properties_hlc(self) -> int:
        """When the properties were signed; 0 before any were."""
        last = self._last_properties()
        return 0 if last is None else last[0]

    def _last_properties(self) -> tuple[int, bytes, PropertiesBody] | None:
        counting = (one for one in self._properties if self.is_effective(one[1]))
        return max(counting, key=lambda one: one[:2], default=None)

    # --- members --------------------------------------------------------------------------------------------

    def invites(self) -> list[tuple[bytes, InviteBody]]:
        """The effective INVITEs whose author still holds the credential that they were signed under, unhit;
        dates and uses are not looked at.
        """
        return [
            (act_id, body)
            for act_id, body in self._invites.items()
            if self.is_effective(act_id) and self.is_live(self._nodes[act_id].admitted.place.cred or b"")
        ]

    def _live(self, pid: bytes) -> dict[bytes, Grant]:
        return self._decided.live.get(pid, {})

    def live_grants(self, pid: bytes) -> list[Grant]:
        """Every live grant to a key, delivered or not, in no particular order."""
        return list(self._live(pid).values())

    def grants_ever(self, pid: bytes) -> list[Grant]:
        """Every admitted grant to a key, live or not, in no particular order."""
        nodes = self._evaluation.linked.grants_to.get(pid, ())
        return [node.grant for node in nodes if node.grant is not None]

    def delivered(self, pid: bytes) -> list[Grant]:
        """The live grants to a key whose certificate is held."""
        return [grant for grant in self._live(pid).values() if grant.act_id in self._ders]

    def holding(self, pid: bytes, at_s: int) -> list[Grant]:
        """Those of them whose window holds at a second UTC."""
        return [grant for grant in self.delivered(pid) if grant.window.holds(at_s)]

    def current(self, pid: bytes, at_s: int) -> Grant | None:
        """The grant that a member goes by at a second UTC, or None for no member."""
        return min(self.holding(pid, at_s), key=Grant.rank, default=None)

    def is_sole(self, pid: bytes) -> bool:
        """Whether a key is the only one with a live grant."""
        live = self._decided.live
        return len(live) == 1 and pid in live

    def grant_ids(self) -> tuple[bytes, ...]:
        """The ids of all admitted grants."""
        return tuple(one.id for one in self._nodes.values() if one.grant is not None)

    def members_at(self, at_s: int) -> int:
        """How many keys are members at a second UTC."""
        return sum(
            any(grant.act_id in self._ders and grant.window.holds(at_s) for grant in grants.values())
            for grants in self._decided.live.values()
        )

    def latest(self, pid: bytes) -> Grant | None:
        """The delivered grant that began last, valid now or not: what a renewal after expiry starts from."""
        return min(self.delivered(pid), key=_last_begun, default=None)

    def pid_of(self, authority: str) -> bytes | None:
        """The pid of the key with a live grant whose peer authority (40 hex digits) this is."""
        pid = self.pid_ever(authority)
        return pid if pid is not None and pid in self._decided.live else None

    def pid_ever(self, authority: str) -> bytes | None:
        """The same for every key that was ever granted anything, live or not."""
        return self._pids.get(authority)

    def name_of(self, pid: bytes) -> str:
        """The peer name that a subject has by its current or else its latest grant, delivered or not; of one
        that has been removed, by the latest it ever had.
        """
        grants = self.delivered(pid) or self.live_grants(pid) or self.grants_ever(pid)
        return str(min(grants, key=_last_begun).peer_name)

    def subjects(self) -> Iterator[bytes]:
        """The pids of all keys with a live grant, ascending."""
        return iter(sorted(self._decided.live))

    def path(self, grant: Grant) -> list[Grant]:
        """The grants from the one signed by the root down to `grant`, by `cred`."""
        path = [grant]
        while path[-1].author_level != LEVEL_ROOT:
            above = self._nodes[path[-1].cred].grant
            assert above is not None
            path.append(above)
        return path[::-1]


def _last_begun(grant: Grant) -> tuple[int, int, int, bytes]:
    return (-grant.window.start, *grant.rank())


def data_rule(act_id: bytes, hlc: int, body: RevokeBody | ResignBody) -> Hit:
    """What a revocation does to records written under the grants that it hits.

    Who resigns leaves what it wrote until then. A rule that is not known here, and none without a list, is
    "drop".
    """
    if isinstance(body, ResignBody) or body.data == "time":
        return Hit("time", None, hlc, act_id)
    if body.data in ("", "manifest") and body.manifest is not None:
        return Hit("manifest", body.manifest, hlc, act_id)
    return Hit("drop", None, hlc, act_id)
