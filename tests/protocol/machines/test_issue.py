"""Issue: what this store signs next, on which chain, and that a refusal leaves no trace."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from protocol.authority.acts import Act
from protocol.authority.bodies import Kind, PropertiesBody
from protocol.authority.bundle import make_bundle
from protocol.authority.elements import Der, decode_untrusted_element
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.credentials.keys import PrivateKey, all_hold
from protocol.credentials.names import PeerName
from protocol.errors import RULES, RuleError
from protocol.limits import BUNDLE_BYTES_MAX, ELEMENTS_PER_FRAME_MAX, HLC_AHEAD_MS_MAX
from protocol.machines.chains import is_foreign, keep_chain
from protocol.machines.events import Connect, Input, Issue, LinkUp, Notice, Received, SetProperties, Tick
from protocol.machines.group import GroupMachine
from protocol.machines.issue import Issuing
from protocol.machines.link import opening
from protocol.machines.members import Members
from protocol.peer_time import Moment, Window, hlc_at, hlc_ms
from protocol.records.memory import MemoryStore
from protocol.wire.messages import News
from tests.protocol.machines.playing import LIE
from tests.support.builders import DAY, GRC, NOW, Group, Node, after
from tests.support.keys import key, named, peer_name
from tests.support.views import told_by

LATER = after(3600)


class Desk:
    """A node that issues, as the group's machine lets it."""

    def __init__(self, group: Group, name: str = "alice", seed: int = 1) -> None:
        self.group = group
        self.root: PrivateKey | None = None
        self.node = Node(Members(group.gid, named(name).public), MemoryStore())
        self.issuing = Issuing(named(name), random.Random(seed))
        self.node.take(group.elements, None)

    def hold_root(self) -> Desk:
        self.root = self.group.key(GRC)
        self.node.write(lambda store: keep_chain(self.group.founding.last, store))
        return self

    def issue(self, *requests: IssueRequest, now: Moment = LATER) -> list[tuple[Act, Der]]:
        def change(store):
            view = self.node.members.view
            signed = self.issuing.issue(Issue(requests, self.root), view, now, store)
            pairs = [(one.act, one.der) for one in signed]
            removals = [one.removal for one in signed if one.removal is not None]
            elements = [*removals, *(element for pair in pairs for element in pair)]
            assert self.node.members.take(elements, None, now, store).refused is None
            return pairs

        pairs: list[tuple[Act, Der]] = self.node.write(change)
        return pairs

    def set_properties(self, now: Moment = LATER, root: PrivateKey | None = None, **changes: Any) -> Act:
        def change(store):
            command = SetProperties(changes, root or self.group.key(GRC))
            act = self.issuing.set_properties(command, self.node.members.view, now, store)
            assert self.node.members.take([act], None, now, store).refused is None
            return act

        act: Act = self.node.write(change)
        return act

    def state(self) -> dict[str, Any]:
        """All that a refusal must leave as it is."""
        store = self.node.store
        authors = (named("alice").public.pid, self.group.gid)
        return {
            "view": told_by(self.node.members.view),
            "ids": self.node.members.ids.digest(),
            "elements": list(store.load()),
            "settings": [store.setting(f"last/{author[:16].hex()}") for author in authors],
            "events": store.last_event(),
        }


@pytest.fixture
def group():
    return Group()


@pytest.fixture
def desk(group):
    return Desk(group)


def wish(subject: str = "bob", **told: Any) -> IssueRequest:
    fields: dict[str, Any] = {"key": named(subject).public, "info": CredentialInfo(), "store": True} | told
    return IssueRequest(fields.pop("name", peer_name(subject)), **fields)


def refusal(desk: Desk, *requests: IssueRequest, now: Moment = LATER) -> RuleError:
    """The refusal, after which everything is as before."""
    before = desk.state()
    with pytest.raises(RuleError) as caught:
        desk.issue(*requests, now=now)
    assert desk.state() == before
    assert caught.value.code in RULES
    assert caught.value.hint
    return caught.value


# --- chains -----------------------------------------------------------------------------------------------


def test_first_act_begins_a_chain_of_this_store(desk):
    ((act, _),) = desk.issue(wish())
    place = act.place
    assert (place.author, place.seq, place.prev) == (named("alice").public.pid, 1, None)
    assert (place.level, place.cred) == (1, desk.group.creator.act.id)
    assert place.hlc == hlc_at(LATER.utc_ms)
    assert place.chain == random.Random(1).randbytes(16)


def test_next_act_follows_the_one_before(desk):
    ((first, _),) = desk.issue(wish())
    ((second, _),) = desk.issue(wish("carl"))
    assert (second.place.chain, second.place.seq) == (first.place.chain, 2)
    assert second.place.prev == first.id
    assert second.place.hlc == first.place.hlc + 1


def test_one_identity_on_two_machines_never_forks(group):
    one, two = Desk(group, seed=1), Desk(group, seed=2)
    ((first, _),) = one.issue(wish())
    ((second, _),) = two.issue(wish("carl"))
    assert first.place.chain != second.place.chain
    one.node.take([second])
    two.node.take([first])
    ((third, _),) = one.issue(wish("dave"))
    assert third.place.prev == first.id


def test_store_goes_on_with_its_chain_after_a_restart(desk):
    ((first, _),) = desk.issue(wish())
    desk.node = desk.node.reopened()
    ((second, _),) = desk.issue(wish("carl"))
    assert second.place.prev == first.id


def test_root_and_member_sign_on_chains_of_their_own(group):
    desk = Desk(group).hold_root()
    pairs = desk.issue(wish("bob", as_root=True), wish("carl"), wish("dave", as_root=True))
    bob, carl, dave = (act.place for act, _ in pairs)
    assert (bob.author, carl.author) == (group.gid, named("alice").public.pid)
    assert (bob.chain, bob.seq, bob.prev) == (group.genesis.place.chain, 4, group.founding.last.id)
    assert (dave.seq, dave.prev) == (5, pairs[0][0].id)
    assert (carl.seq, carl.prev) == (1, None)


def test_root_key_brought_to_another_store_begins_a_chain_there(group):
    desk = Desk(group)
    desk.root = group.key(GRC)
    ((act, _),) = desk.issue(wish(as_root=True))
    assert (act.place.seq, act.place.prev) == (1, None)
    assert act.place.chain != group.genesis.place.chain


def foreign(desk: Desk, **place: Any) -> Act:
    """An act that somebody else signed with alice's key, on the chain of alice's store."""
    author = named("alice").public.pid
    group, view = desk.group, desk.node.members.view
    chain = next(
        one.place.chain
        for act_id in view.act_ids()
        if (one := view.admitted(act_id)) is not None and one.place.author == author
    )
    act = group.act(
        "alice", Kind.ANNUL, {"act": bytes(32), "reason": "thief"}, chain=chain, keep=False, **place
    )
    assert desk.node.take([act], 7, LATER).refused is None
    return act


def test_nothing_is_built_on_an_act_that_somebody_else_signed(desk):
    ((mine, _),) = desk.issue(wish())
    theirs = foreign(desk, seq=2, prev=mine.id, hlc=mine.place.hlc + 5)
    assert desk.node.members.view.head(mine.place.author, mine.place.chain).id == theirs.id
    ((again, _),) = desk.issue(wish("carl"))
    assert (again.place.seq, again.place.prev) == (1, None)
    assert again.place.chain != mine.place.chain


def test_nothing_is_built_beside_an_act_that_somebody_else_signed(desk):
    ((first, _),) = desk.issue(wish())
    for reason in range(8):  # some of them have a larger id than ours
        foreign(desk, seq=1, prev=None, hlc=first.place.hlc + reason)
    head = desk.node.members.view.head(first.place.author, first.place.chain)
    ((again, _),) = desk.issue(wish("carl"))
    assert (again.place.prev == first.id) == (head.id == first.id)


def test_act_on_the_chain_of_this_store_that_came_from_elsewhere_is_foreign(group):
    one, two = Desk(group, seed=1), Desk(group, seed=2)
    ((mine, _),) = one.issue(wish())
    theirs = foreign(one, seq=2, prev=mine.id, hlc=mine.place.hlc + 5)
    ((other, _),) = two.issue(wish("carl"))
    view, store = one.node.members.view, one.node.store
    assert is_foreign(theirs, view, store)
    assert not is_foreign(other, view, store)
    assert not is_foreign(group.genesis, view, store)
    assert not is_foreign(theirs, two.node.members.view, two.node.store)


@pytest.mark.parametrize("ahead_ms", [0, HLC_AHEAD_MS_MAX + 1000])
def test_foreign_act_is_told_when_it_comes_or_when_its_time_comes(ahead_ms, group):
    group.grant("grc -> alice:admin -> bob:member")
    machine = GroupMachine(group.gid, named("alice"), node_id=bytes(16), rng=random.Random(1))
    node = Node(machine.members, MemoryStore())
    node.take(group.elements, None)

    def told(event: Input, now: Moment = LATER) -> list[str]:
        outputs = node.write(lambda _: machine.handle(event, now, node.store))
        notices = [output for output in outputs if isinstance(output, Notice)]
        return [notice.facts["act"] for notice in notices if notice.kind == "key-used-elsewhere"]

    assert told(Connect(())) == []
    assert told(LinkUp(1, named("bob").public, b"b" * 16, None, None, bytes(32))) == []
    assert told(Received(1, opening((), (), LIE, NOW))) == []
    assert told(Issue((wish("carl"),))) == []
    last_id = node.store.setting(f"last/{named('alice').public.pid[:16].hex()}")
    assert last_id is not None
    mine = machine.members.view.admitted(last_id)
    assert mine is not None
    place = {"chain": mine.place.chain, "seq": 2, "prev": mine.id}
    hlc = mine.place.hlc + 1 + (ahead_ms << 16)
    act = group.act("alice", Kind.ANNUL, {"act": bytes(32)}, hlc=hlc, keep=False, **place)
    arrived = told(Received(1, News((act.raw,)), (act,)))
    later = told(Tick(), Moment(LATER.mono_ms + ahead_ms, LATER.utc_ms + ahead_ms))
    assert (arrived, later) == (([], [act.id.hex()]) if ahead_ms else ([act.id.hex()], []))


@pytest.mark.parametrize("late_ms, same", [(HLC_AHEAD_MS_MAX - 1, True), (HLC_AHEAD_MS_MAX, False)])
def test_chain_whose_last_act_is_far_ahead_of_the_clock_is_left(late_ms, same, desk):
    ((first, _),) = desk.issue(wish())
    earlier = Moment(LATER.mono_ms, LATER.utc_ms - late_ms)
    ((second, _),) = desk.issue(wish("carl"), now=earlier)
    assert (second.place.chain == first.place.chain) == same
    assert second.place.hlc == (first.place.hlc + 1 if same else hlc_at(earlier.utc_ms))


def test_own_act_is_never_further_ahead_than_is_admitted_at_once(desk):
    desk.issue(*(wish(f"subject{number}") for number in range(ELEMENTS_PER_FRAME_MAX)))
    earlier = Moment(LATER.mono_ms, LATER.utc_ms - HLC_AHEAD_MS_MAX + 1)
    desk.issue(*(wish(f"subject{number}") for number in range(ELEMENTS_PER_FRAME_MAX)), now=earlier)
    assert desk.node.members.quarantined == 0
    assert hlc_ms(desk.node.members.view.latest_hlc) <= earlier.utc_ms + HLC_AHEAD_MS_MAX


# --- batches ----------------------------------------------------------------------------------------------


def test_batch_is_signed_in_order_on_one_chain(desk):
    pairs = desk.issue(*(wish(f"subject{number}") for number in range(ELEMENTS_PER_FRAME_MAX)))
    places = [act.place for act, _ in pairs]
    assert [place.seq for place in places] == list(range(1, ELEMENTS_PER_FRAME_MAX + 1))
    assert [place.prev for place in places] == [None, *(act.id for act, _ in pairs[:-1])]
    assert all(a.hlc < b.hlc for a, b in pairwise(places))
    for number in (0, 100, 255):
        act, der = pairs[number]
        assert all_hold([*act.checks(), *der.checks()])
        assert act.body.name == str(peer_name(f"subject{number}"))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_batch_with_one_bad_request_issues_nothing(place, desk):
    requests = [wish("bob"), wish("carl"), wish("dave")]
    requests[place] = replace(requests[place], info=CredentialInfo(role=77))
    assert refusal(desk, *requests).code == "invalid-role"


def test_batch_is_for_different_subjects(desk):
    assert refusal(desk, wish("bob"), wish("bob")).code == "invalid-argument"
    robert = PeerName(peer_name("bob").authority, "Robert")
    assert refusal(desk, wish("bob"), wish("bob", name=robert)).code == "invalid-argument"


@pytest.mark.parametrize("count", [0, ELEMENTS_PER_FRAME_MAX + 1])
def test_batch_is_of_one_to_256(count, desk):
    assert refusal(desk, *(wish(f"subject{number}") for number in range(count))).code == "invalid-argument"


# --- refusals: each by name, and nothing has changed ------------------------------------------------------


def _ready(group: Group) -> Desk:
    group.grant("grc -> alice:admin -> bob:admin -> carl:admin")
    group.grant("alice -> mo:member", window=Window(NOW.utc_s - 300, NOW.utc_s + 50 * DAY))
    return Desk(group)


REFUSALS: dict[str, tuple[str, dict[str, Any]]] = {
    "neither stored nor returned": ("invalid-argument", {"store": False}),
    "unknown, nothing given": ("identity-not-found", {"subject": "eve", "key": None, "info": None}),
    "unknown, no key": ("invalid-credential-info", {"subject": "eve", "key": None}),
    "another key": ("key-mismatch", {"subject": "mo", "key": named("eve").public}),
    "the issuer itself": ("circular-chain", {"subject": "alice"}),
    "demotion": ("needs-revocation", {"subject": "bob", "info": CredentialInfo(role=3)}),
    "shortening": ("needs-revocation", {"subject": "mo", "info": CredentialInfo(valid_s=DAY)}),
    "no such role": ("invalid-role", {"info": CredentialInfo(role=9)}),
    "ended already": ("invalid-time-period", {"info": CredentialInfo(not_after=NOW.utc_s)}),
    "two ends": ("invalid-argument", {"info": CredentialInfo(not_after=LATER.utc_s + 9, valid_s=9)}),
    "bad name": ("invalid-friendly-name", {"info": CredentialInfo(friendly_name="a\0")}),
    "as the root": ("no-key-access", {"as_root": True}),
}


@pytest.mark.parametrize("case", list(REFUSALS))
def test_refused_call_changes_nothing(case, group):
    code, told = REFUSALS[case]
    fields = dict(told)
    assert refusal(_ready(group), wish(fields.pop("subject", "zoe"), **fields)).code == code


def test_member_issues_nothing(group):
    group.grant("grc -> alice:admin -> mo:member")
    assert refusal(Desk(group, "mo"), wish()).code == "not-authorized"
    assert refusal(Desk(group, "eve"), wish()).code == "not-authorized"


def test_group_whose_acts_have_not_arrived_is_not_ready(group):
    desk = Desk(group)
    desk.node = Node(Members(group.gid, named("alice").public), MemoryStore())
    assert refusal(desk, wish()).code == "group-not-ready"


def test_issuer_whose_proof_is_not_whole_here_is_not_ready(group):
    bob = group.grant("grc -> alice:admin -> bob:admin")
    desk = Desk(group, "bob")
    desk.node = Node(Members(group.gid, named("bob").public), MemoryStore())
    desk.node.take([e for e in group.elements if e is not group.creator.der], None)
    assert desk.node.members.view.current(bob.grant.pid, LATER.utc_s) == bob.grant
    assert refusal(desk, wish("carl")).code == "group-not-ready"
    desk.node.take([group.creator.der], None)
    assert len(desk.issue(wish("carl"))) == 1


def test_credential_whose_proof_would_be_too_long_is_refused(group, monkeypatch):
    desk = Desk(group)
    ((act, _),) = desk.issue(wish())
    admitted = desk.node.members.view.admitted(act.id)
    assert admitted is not None
    assert admitted.grant is not None
    proof = make_bundle(desk.node.members.view, admitted.grant, desk.node.store.get)
    assert proof is not None
    assert len(proof) + 16 < BUNDLE_BYTES_MAX
    monkeypatch.setattr("protocol.machines.issue.BUNDLE_BYTES_MAX", len(proof) + 16)
    assert len(Desk(group).issue(wish())) == 1
    monkeypatch.setattr("protocol.machines.issue.BUNDLE_BYTES_MAX", len(proof) - 1)
    assert refusal(Desk(group), wish()).code == "chain-too-long"


def test_clock_behind_the_group_signs_nothing_unless_told_to(desk):
    desk.issue(wish())
    early = Moment(0, LATER.utc_ms - HLC_AHEAD_MS_MAX - 1)
    assert refusal(desk, wish("carl"), now=early).code == "clock-not-trusted"
    ((act, _),) = desk.issue(wish("carl", trust_clock=True), now=early)
    assert act.place.hlc == hlc_at(early.utc_ms)
    before = desk.state()
    with pytest.raises(RuleError) as caught:
        desk.set_properties(now=early, comment="x")
    assert (caught.value.code, desk.state()) == ("clock-not-trusted", before)


# --- properties -------------------------------------------------------------------------------------------


def test_properties_are_changed_one_by_one(group):
    desk = Desk(group).hold_root()
    act = desk.set_properties(comment="ours")
    assert act.body == PropertiesBody(friendly="Family", comment="ours")
    assert (act.place.author, act.place.level, act.place.seq) == (group.gid, 0, 4)
    assert desk.node.members.view.properties == act.body
    desk.set_properties(friendly="Kin", default_life=DAY)
    assert desk.node.members.view.properties == PropertiesBody(
        friendly="Kin", comment="ours", default_life=DAY
    )


def test_properties_set_later_count_although_the_clock_lies_behind_the_last_ones(group):
    desk = Desk(group)
    desk.set_properties(comment="first")
    other = Desk(group, seed=2)
    other.node.take(list(map(decode_untrusted_element, list(desk.node.store.load()))), None, LATER)
    early = Moment(LATER.mono_ms, LATER.utc_ms - 60_000)
    act = other.set_properties(now=early, comment="second")
    assert act.place.prev is None
    assert other.node.members.view.properties.comment == "second"


def test_properties_need_the_roots_key(desk):
    before = desk.state()
    with pytest.raises(RuleError) as caught:
        desk.set_properties(root=key(99), comment="x")
    assert (caught.value.code, desk.state()) == ("no-key-access", before)
