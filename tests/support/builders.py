"""Groups for tests: founded, grown by chain text, with every field of an act or a certificate open to lies.

    family = Group()                                        # alice founded it, at NOW
    bob = family.grant("grc -> alice:admin -> bob:member")  # alice's grant is there already, bob's is made
    bad = family.grant("grc -> alice:admin -> eve:admin", at_level=0)

A link `name:role` of chain text is made by the name before it. Links before the last are reused when there
is such a grant; the last is always made, and all keyword overrides are its own. What the rules admit joins
`family.view` and `family.elements` (parents first); what they do not is returned and forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import msgspec

from protocol.authority.act_set import ActStore
from protocol.authority.acts import Act, decode_untrusted_act
from protocol.authority.admission import Valid, Verdict, admit
from protocol.authority.bodies import Body, GrantBody, Kind, PropertiesBody, RotateRootBody
from protocol.authority.bundle import Bundle, decode_untrusted_bundle, make_bundle
from protocol.authority.elements import Der, Element, admit_der, make_der
from protocol.authority.founding import Founding, found_group
from protocol.authority.grants import Grant, read_untrusted_grant
from protocol.authority.kept import KeptTree
from protocol.authority.root import commitment_of
from protocol.authority.root_certificates import GroupFacts, build_root_certificate
from protocol.authority.view import View
from protocol.codec import encode
from protocol.credentials.certificates import GmcFacts, sign_gmc
from protocol.credentials.keys import PrivateKey
from protocol.credentials.roles import ADMIN, INVITING_MEMBER, MEMBER, roles_fit_level, roles_well_formed
from protocol.ids import framed
from protocol.limits import BACKDATING_S, LEVEL_INVITING_MEMBER, LEVEL_MEMBER, LEVEL_ROOT
from protocol.machines.data_ids import DataIds
from protocol.machines.members import Members
from protocol.peer_time import Moment, Window, hlc_at, hlc_s
from protocol.records.memory import MemoryStore
from tests.support.keys import named, peer_name

NOW = Moment(mono_ms=1_000_000, utc_ms=1_790_000_000_000)
NO_DATA = DataIds().summary()  # of a node without records, to whom no time has been told
DAY = 86_400
GRC = "grc"
ROLES = {"admin": ADMIN, "inviting": INVITING_MEMBER, "member": MEMBER}


def after(seconds: float, now: Moment = NOW) -> Moment:
    """So many seconds later, on both clocks."""
    return Moment(now.mono_ms + int(seconds * 1000), now.utc_ms + int(seconds * 1000))


def seal(content: dict[str, Any], signers: Sequence[PrivateKey]) -> bytes:
    """The bytes of an act of any content whatever, signed by all of `signers`."""
    raw = encode(content)
    message = framed("peerd/act/1", raw)
    return encode([raw, b"".join(key.public.raw + key.sign(message) for key in signers)])


@dataclass(frozen=True)
class Granted:
    """A grant with its certificate, and what admission said of the act."""

    act: Act
    der: Der
    verdict: Verdict

    @property
    def grant(self) -> Grant:
        return read_untrusted_grant(self.act)

    @property
    def elements(self) -> tuple[Element, ...]:
        return (self.act, self.der)


@dataclass(frozen=True)
class RecoveryNames:
    """The names of a recovery set, the first `threshold` of which sign."""

    names: tuple[str, ...]
    threshold: int = 1

    @property
    def joined(self) -> bytes:
        return b"".join(sorted(named(name).public.raw for name in self.names))

    @property
    def commitment(self) -> bytes:
        return commitment_of([named(name).public for name in self.names], self.threshold)


class Group:
    """A group that tests grow. Names are those of tests.support.keys; "grc" is its root."""

    def __init__(self, classifier: str = "family", creator: str = "alice", now: Moment = NOW) -> None:
        self.founding: Founding = found_group(
            grc=named(f"{GRC}/{classifier}"),
            creator=named(creator).public,
            creator_name=peer_name(creator),
            creator_friendly_name=creator.title(),
            classifier=classifier,
            properties=PropertiesBody(friendly=classifier.title()),
            recovery=[named(f"recovery/{classifier}").public],
            nonce=hashlib.sha256(classifier.encode()).digest(),
            now=now,
        )
        self.classifier = classifier
        self.now = now
        self.gid = self.founding.root.gid
        self.view = View(self.gid)
        self.elements: list[Element] = []
        self.granted: dict[bytes, Granted] = {}
        self._hlc = hlc_at(now.utc_ms) + 2
        self._root = self.genesis.id
        self._root_signers: tuple[str, ...] = (GRC,)
        self._recovery = {self.genesis.id: RecoveryNames((f"recovery/{classifier}",))}
        for element in self.founding.elements:
            self._keep(element)
        _, _, act, der, _ = self.founding.elements
        assert isinstance(act, Act)
        assert isinstance(der, Der)
        self.creator = self.granted[act.id] = Granted(act, der, admit(act, self.view))

    @property
    def authority(self) -> bytes:
        """The 20 bytes by which strangers name the group."""
        return self.gid[:20]

    @property
    def genesis(self) -> Act:
        first = self.founding.elements[0]
        assert isinstance(first, Act)
        return first

    def key(self, name: str) -> PrivateKey:
        """The key of a name; "grc" is this group's own."""
        return named(f"{GRC}/{self.classifier}") if name == GRC else named(name)

    # --- acts -------------------------------------------------------------------------------------------

    def act(
        self,
        author: str,
        kind: int,
        body: Body | dict[str, Any],
        *,
        signers: Sequence[str] = (),
        keep: bool = True,
        **changed: Any,
    ) -> Act:
        """The next act of a name, kept when it is admitted.

        `signers` are names, the author's if none is given; `changed` is for `content`.
        """
        signers = signers or self._signers(author)
        return self._sign(self.content(author, kind, body, signers, **changed), signers, keep)

    def _signers(self, author: str) -> Sequence[str]:
        return self._root_signers if author == GRC else (author,)

    def content(
        self, author: str, kind: int, body: Body | dict[str, Any], signers: Sequence[str] = (), **changed: Any
    ) -> dict[str, Any]:
        """The fields that `act` signs; one changed to None is left out.

        `changed`: chain (a number for one of the author's own, or 16 bytes), seq, prev, level, cred, hlc,
        gid, author_id (32 bytes), ext, v.
        """
        assert changed.keys() <= _OF_AN_ACT, changed.keys() - _OF_AN_ACT
        level, cred = self._credential(author)
        author_id = changed.pop("author_id", self.gid if author == GRC else self.key(author).public.pid)
        chain = self.chain(author, changed.pop("chain", 0))
        head = self.view.head(author_id, chain)
        self._hlc += 1000 << 16
        fields = {
            "v": 1,
            "gid": self.gid,
            "author": author_id,
            "chain": chain,
            "seq": 1 if head is None else head.seq + 1,
            "prev": None if head is None else head.id,
            "level": level,
            "cred": cred,
            "hlc": self._hlc if head is None else max(self._hlc, head.hlc + 1),
            "kind": int(kind),
            "body": body if isinstance(body, dict) else body_map(body),
        } | changed
        if fields["level"] == LEVEL_ROOT:
            fields["signers"] = b"".join(
                key.public.pid for key in self._keys(signers or self._signers(author))
            )
        return {name: value for name, value in fields.items() if value is not None}

    def _sign(self, content: dict[str, Any], signers: Sequence[str], keep: bool) -> Act:
        act = decode_untrusted_act(seal(content, self._keys(signers)))
        if keep and isinstance(admit(act, self.view), Valid):
            self._keep(act)
        return act

    def _keys(self, names: Sequence[str]) -> list[PrivateKey]:
        return sorted((self.key(name) for name in names), key=lambda key: key.public.pid)

    def chain(self, author: str, which: int | bytes = 0) -> bytes:
        """The 16 bytes of one of an author's chains; the root's chain 0 is that of genesis."""
        if isinstance(which, bytes):
            return which
        if author == GRC and which == 0:
            return self.genesis.place.chain
        return hashlib.sha256(f"{author}/{which}".encode()).digest()[:16]

    def _credential(self, name: str) -> tuple[int, bytes]:
        """Level and `cred` of a name's acts: its last grant made here, else one that fits nobody."""
        if name == GRC:
            return LEVEL_ROOT, self._root
        mine = [one for one in self.granted.values() if one.grant.pid == named(name).public.pid]
        return (mine[-1].grant.level, mine[-1].act.id) if mine else (LEVEL_MEMBER, bytes(32))

    def _keep(self, element: Element) -> None:
        if isinstance(element, Act):
            verdict = admit(element, self.view)
            assert isinstance(verdict, Valid), verdict
            if self.view.admitted(element.id) is None:
                self.view.add(element, verdict.admitted)
                self.elements.append(element)
        elif admit_der(element, self.view) is None and self.view.der_of(element.act_id) is None:
            self.view.add_der(element.act_id, element.id)
            self.elements.append(element)

    # --- grants -----------------------------------------------------------------------------------------

    def grant(self, text: str, **changed: Any) -> Granted:
        """The last grant of a line of chain text.

        `changed`: window, level, roles, wanted, friendly, name (of the grant), body (fields of GrantBody over
        all others), cert (fields of GmcFacts over the grant's), publish (False: the certificate stays out of
        the set), at_level (of the act), and what `act` takes.
        """
        names = [link.strip().partition(":") for link in text.split("->")]
        for (issuer, _, _), (subject, _, role) in pairwise(names[:-1]):
            if self._find(issuer, subject, ROLES[role]) is None:
                self._grant(issuer, subject, role)
        (issuer, _, _), (subject, _, role) = names[-2:]
        return self._grant(issuer, subject, role, **changed)

    def _find(self, issuer: str, subject: str, role: int) -> Granted | None:
        author = self.gid if issuer == GRC else named(issuer).public.pid
        pid = named(subject).public.pid
        found = [
            one
            for one in self.granted.values()
            if (one.grant.author, one.grant.pid) == (author, pid) and role in one.grant.roles
        ]
        return found[-1] if found else None

    def _grant(
        self,
        issuer: str,
        subject: str,
        role: str,
        *,
        signers: Sequence[str] = (),
        keep: bool = True,
        **changed: Any,
    ) -> Granted:
        told = {name: changed.pop(name) for name in list(changed) if name in _OF_A_GRANT}
        if "at_level" in changed:
            changed["level"] = changed.pop("at_level")
        signers = signers or self._signers(issuer)
        content = self.content(issuer, Kind.GRANT, {}, signers, **changed)
        certifier = self._certifier(issuer, signers, content)
        body = self._grant_body(content, subject, role, told)
        draft = self._sign(content | {"body": body_map(body)}, signers, keep=False)
        facts = read_untrusted_grant(draft).gmc_facts(certifier.public)
        certificate = sign_gmc(replace(_certifiable(facts), **told.get("cert", {})), certifier)
        fields = body_map(body) | {"der": hashlib.sha256(certificate.der).digest()} | told.get("body", {})
        act = self._sign(content | {"body": fields}, signers, keep)
        granted = Granted(act, make_der(act.id, certifier.public, certificate), admit(act, self.view))
        if self.view.admitted(act.id) is not None:
            self.granted[act.id] = granted
            if told.get("publish", True):
                self._keep(granted.der)
        return granted

    def _certifier(self, issuer: str, signers: Sequence[str], content: dict[str, Any]) -> PrivateKey:
        """Whose key signs the certificate: the issuer's, and of a later root the first one that signs."""
        cred = self.view.admitted(content.get("cred", b""))
        if issuer != GRC or cred is None or cred.root is None or cred.root.version == 1:
            return self.key(issuer)
        return self._keys(signers)[0]

    def _grant_body(
        self, content: dict[str, Any], subject: str, role: str, told: dict[str, Any]
    ) -> GrantBody:
        cred = self.view.admitted(content.get("cred", b""))
        above = None if cred is None else cred.grant
        outer = self.founding.root.window if above is None else above.window
        now_s = hlc_s(content["hlc"])
        window = told.get("window") or Window(
            max(now_s - BACKDATING_S, outer.start), min(now_s + 90 * DAY, outer.end)
        )
        code = ROLES[role]
        levels = {ADMIN: content["level"] + 1, INVITING_MEMBER: LEVEL_INVITING_MEMBER}
        return GrantBody(
            key=named(subject).public.raw,
            name=str(told.get("name", peer_name(subject))),
            friendly=told.get("friendly", subject.title()),
            level=told.get("level", min(levels.get(code, LEVEL_MEMBER), LEVEL_MEMBER)),
            roles=list(told.get("roles", (code,))),
            start=window.start,
            end=window.end,
            wanted=told.get("wanted", 90 * DAY),
            der=bytes(32),
            store=told.get("publish", True),
        )

    # --- rotations --------------------------------------------------------------------------------------

    def rotate(
        self,
        *operating: str,
        threshold: int = 1,
        keep: Iterable[Act] | None = None,
        cosigned: Sequence[str] = (),
        recovery: RecoveryNames | None = None,
        under: bytes | None = None,
        body: dict[str, Any] | None = None,
        stay: bool = False,
    ) -> Act:
        """Put these names into the root's place, by the recovery keys of the version `under`, the present one
        if none is given. `keep` are heads, of all chains if none are given; `body` has fields over all
        others; `stay`: the group's later acts stay under the version before.
        """
        version = under or self._root
        before = self.view.admitted(version)
        assert before is not None
        assert before.root is not None
        revealed, count = self._recovery[version], before.root.version
        recovery = recovery or RecoveryNames((f"recovery/{self.classifier}/{'/'.join(operating)}",))
        heads = self.view.heads_of(self.gid) if keep is None else tuple(act.id for act in keep)
        keys = sorted((self.key(name) for name in operating), key=lambda key: key.public.raw)
        said = RotateRootBody(
            from_version=count,
            operating=b"".join(key.public.raw for key in keys),
            threshold=threshold,
            next=recovery.commitment,
            certificates=[build_root_certificate(GroupFacts.of(before.root), key) for key in keys],
            revealed=revealed.joined,
            revealed_threshold=revealed.threshold,
            keep=b"".join(heads),
            kept=KeptTree(self._kept(version, heads)).root,
        )
        signers = (*revealed.names[: revealed.threshold], *cosigned)
        chain = hashlib.sha256(f"{count}/{operating}".encode()).digest()[:16]
        fields = body_map(said) | (body or {})
        act = self.act(GRC, Kind.ROTATE_ROOT, fields, signers=signers, chain=chain, cred=version)
        self._recovery[act.id] = recovery
        if not stay:
            self._root, self._root_signers = act.id, operating[:threshold]
        return act

    def _kept(self, version: bytes, heads: Iterable[bytes]) -> Iterator[bytes]:
        """The acts signed under a version that lie before these heads, rotations left out."""
        for head in heads:
            act = self.view.admitted(head)
            while act is not None:
                if act.place.cred == version and act.kind != Kind.ROTATE_ROOT:
                    yield act.id
                act = None if act.place.prev is None else self.view.admitted(act.place.prev)

    # --- evidence ---------------------------------------------------------------------------------------

    def raw_of(self, element_id: bytes) -> bytes | None:
        """The bytes of a kept element."""
        return next((one.raw for one in self.elements if one.id == element_id), None)

    def bundle(self, granted: Granted) -> Bundle:
        """The evidence bundle of a grant, delivered or not."""
        raw = make_bundle(self.view, granted.grant, self.raw_of, granted.der.certificate.der)
        assert raw is not None
        return decode_untrusted_bundle(raw, authority=self.authority)


_OF_AN_ACT = frozenset({"chain", "seq", "prev", "level", "cred", "hlc", "gid", "author_id", "ext", "v"})
_OF_A_GRANT = frozenset({"window", "level", "roles", "wanted", "friendly", "name", "body", "cert", "publish"})


def _certifiable(facts: GmcFacts) -> GmcFacts:
    """What a certificate can say: a grant that breaks the rules is given one that goes with no grant."""
    if roles_well_formed(facts.roles) and roles_fit_level(facts.roles, facts.level):
        return facts if facts.window.start <= facts.window.end else replace(facts, window=Window(0, 1))
    return _certifiable(replace(facts, level=LEVEL_MEMBER, roles=(MEMBER,)))


def body_map(body: Body) -> dict[str, Any]:
    """A body as its map, without the fields that say nothing."""
    fields = msgspec.to_builtins(body, builtin_types=(bytes,))
    return {name: value for name, value in fields.items() if value is not None}


# --- a node's members -----------------------------------------------------------------------------------


@dataclass
class Node:
    """Members over a store in memory, each call in a transaction of its own."""

    members: Members
    store: MemoryStore

    def take(self, elements: Iterable[Element], source: int | None = 1, now: Moment = NOW) -> Any:
        return self.write(lambda store: self.members.take(elements, source, now, store))

    def expire(self, now: Moment) -> Any:
        return self.write(lambda store: self.members.expire(now, store))

    def adopt(self, bundle: Bundle, now: Moment = NOW) -> Any:
        return self.write(lambda store: self.members.adopt(bundle, now, store))

    def write(self, change: Callable[[ActStore], Any]) -> Any:
        """Run a change and commit it; one that raises is rolled back."""
        self.store.begin()
        try:
            result = change(self.store)
        except BaseException:
            self.store.rollback()
            raise
        self.store.commit()
        return result

    def reopened(self) -> Node:
        """What a node finds when it starts again."""
        own = self.members._own
        again = Node(Members(self.members.view.gid, own), self.store.reopened())
        again.members.load(again.store)
        return again


def node_of(group: Group, name: str) -> Node:
    """A node of `name` that holds nothing of the group yet."""
    return Node(Members(group.gid, named(name).public), MemoryStore())


def fed(group: Group, name: str, batches: Iterable[Iterable[Element]], now: Moment = NOW) -> Node:
    """A node of `name` to which these batches came, each over a link of its own."""
    node = node_of(group, name)
    for source, batch in enumerate(batches):
        node.take(batch, source, now)
    return node
