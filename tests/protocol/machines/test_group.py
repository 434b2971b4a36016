"""The group's machine: how what happens is routed, what is told, and that a refusal leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.authority.bodies import Kind, PropertiesBody
from protocol.authority.bundle import decode_untrusted_bundle
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.errors import Fault, RuleError
from protocol.limits import (
    DIGEST_DIFFERS_MS,
    HLC_AHEAD_MS_MAX,
    KNOWN_ADDRESSES_MAX,
    LINKS_MAX,
    MEMBERSHIP_RECHECK_MS,
    SESSION_GAP_MS_MAX,
    SESSION_GAP_MS_MIN,
)
from protocol.machines.chains import keep_chain
from protocol.machines.events import (
    Adopt,
    Close,
    Connect,
    Dial,
    Disconnect,
    Input,
    Issue,
    Issued,
    LinkDown,
    Notice,
    Output,
    Result,
    Send,
    SetProperties,
    Stop,
)
from protocol.machines.link import alive, opening
from protocol.peer_time import Window, hlc_at
from protocol.wire.messages import (
    NOTHING,
    Bye,
    ByeReason,
    Finish,
    Namespace,
    News,
    Reconcile,
    Taken,
    Transfer,
    Want,
)
from tests.protocol.machines.playing import (
    LIE,
    Player,
    in_transaction,
    link_up,
    news,
    only,
    said,
    told,
)
from tests.support.builders import DAY, GRC, NOW, Granted, Group, after
from tests.support.keys import key, named, peer_name
from tests.support.views import told_by


@pytest.fixture
def group():
    """Of alice, who founded it, and three members."""
    group = Group()
    for name in ("bob", "carl", "dave"):
        group.grant(f"alice -> {name}:member")
    return group


def wish(subject: str = "erin", **told: Any) -> IssueRequest:
    fields: dict[str, Any] = {"key": named(subject).public, "info": CredentialInfo(), "store": True} | told
    return IssueRequest(peer_name(subject), **fields)


def state(player: Player) -> dict[str, Any]:
    """All that a refusal must leave as it is."""
    machine, store = player.machine, player.store
    names = ["addresses", "own_bundle", *(f"last/{p[:16].hex()}" for p in (machine.own.public.pid,))]
    return {
        "view": told_by(machine.members.view),
        "summary": machine.synchronize.summary(),
        "elements": list(store.load()),
        "settings": [store.setting(name) for name in names],
        "events": player.events(),
        "links": player.neighbors(),
        "dialling": (machine.dialling.online, machine.dialling.only, machine.dialling.seeds()),
        "deadline": player.deadline(),
    }


# --- routing ----------------------------------------------------------------------------------------------


def test_news_are_passed_on_before_anything_is_said_about_them(group):
    player = Player.of(group, "bob")
    for link, name in enumerate(("alice", "carl"), start=1):
        player.meet(link, name)
    erin = group.grant("alice -> erin:member")
    orphan = group.act("alice", Kind.ANNUL, {"act": bytes(32)}, seq=90, prev=b"\x07" * 32, keep=False)
    outputs = player.hear(1, news(orphan, *erin.elements))
    assert [type(output) for output in outputs] == [Send, Notice, Notice, Send]
    assert outputs[0] == Send(2, news(*erin.elements), droppable=True)
    assert told(outputs) == ["credential-added", "member-changed"]
    assert outputs[-1] == Send(1, Want(orphan.place.prev or b""))


def test_transfer_is_passed_on_before_it_is_credited(group):
    player = Player.of(group, "bob")
    for link, name in enumerate(("alice", "carl", "dave"), start=1):
        player.meet(link, name)
    player.hear(3, alive(LIE, NOW))
    act = group.act("alice", Kind.ANNUL, {"act": bytes(32)})
    outputs = player.hear(1, Transfer(Namespace.AUTH, 4, 0, (act.raw,), False))
    assert [(one.link, type(one.message)) for one in only(Send, outputs)] == [(3, News), (1, Taken)]


def test_own_new_credential_is_adopted_before_anybody_is_called(group):
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    better = group.grant("alice -> bob:admin")
    outputs = player.hear(1, news(*better.elements), opening((), ("a:1",), LIE, NOW))
    assert told(outputs) == ["credential-added", "member-changed", "credential-adopted"]
    assert outputs[-1] == Dial("a:1")


def test_new_neighbor_is_told_of_and_then_of_nothing_else(group):
    player = Player.of(group, "bob")
    outputs = player.tell(link_up(1, "alice", "a:1"))
    assert said(outputs) == [player.open()]
    assert player.events() == [
        (
            "neighbor-connected",
            {
                "peer": named("alice").public.authority,
                "node_id": b"alice".ljust(16, b"\0").hex(),
                "address": "a:1",
                "dialled": True,
            },
        )
    ]


def test_neighbor_for_whom_there_is_no_room_leaves_no_trace(group):
    player = Player.of(group, "bob")
    for link in range(1, LINKS_MAX + 1):
        player.meet(link, "alice", node=f"n{link}")
    before = state(player)
    assert player.tell(link_up(99, "late")) == [Close(99, ByeReason.FULL, ())]
    assert state(player) == before


def test_link_that_gives_way_to_another_is_told_as_ended(group):
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    outputs = player.tell(link_up(2, "alice"))
    assert told(outputs) == ["neighbor-disconnected", "neighbor-connected"]
    assert player.neighbors() == [2]


def test_session_of_a_link_that_gave_way_is_forgotten_with_it(group):
    player = Player.of(group, "bob")
    player.meet(1, "alice", "a:1")
    player.hear(1, alive(LIE, NOW))
    player.tell(link_up(2, "alice", "a:1"))
    assert said(player.at(DIGEST_DIFFERS_MS / 1000 + 1), 1) == []
    assert player.machine.synchronize.busy == ()


def test_address_whose_link_found_no_room_is_not_called_again_at_once(group):
    player = Player.of(group, "bob")
    for link in range(1, LINKS_MAX + 1):
        player.meet(link, "alice", node=f"n{link}")
    player.hear(1, player.open(referrals=("a:1",)))
    assert [one.reason for one in only(Close, player.tell(link_up(99, "late", "a:1")))] == [ByeReason.FULL]
    left = [LinkDown(link) for link in range(1, LINKS_MAX + 1)]
    assert only(Dial, player.tell(*left)) == []
    assert only(Dial, player.at(1)) == [Dial("a:1")]


def test_only_the_first_open_begins_a_session_at_once(group):
    player = Player.of(group, "bob")
    player.meet(1, "alice", "a:1")
    assert said(player.hear(1, opening((), (), LIE, NOW))) == []
    player.tell(link_up(2, "carl", "c:1"))
    assert [type(one) for one in said(player.hear(2, opening((), (), LIE, NOW)))] == [Reconcile]


# --- what closes a link -----------------------------------------------------------------------------------


def test_element_that_breaks_a_rule_closes_the_link_with_reason_7_and_the_rest_is_kept(group):
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    player.meet(2, "carl")
    good = group.act("alice", Kind.ANNUL, {"act": bytes(32)})
    bad = group.act("alice", Kind.PROPERTIES, PropertiesBody(), keep=False)
    outputs = player.hear(1, news(bad, good))
    assert Close(1, Fault.INVALID_ELEMENT.value, ()) in outputs
    assert Fault.INVALID_ELEMENT.value == 7
    assert said(outputs, 2) == [news(good)]
    assert player.neighbors() == [2]
    assert told(outputs) == ["neighbor-disconnected"]


def test_refused_transfer_is_not_credited(group):
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    bad = group.act("alice", Kind.PROPERTIES, PropertiesBody(), keep=False)
    outputs = player.hear(1, Transfer(Namespace.AUTH, 4, 0, (bad.raw,), True))
    assert said(outputs) == []
    assert player.neighbors() == []


@pytest.mark.parametrize(
    "message",
    [NOTHING, Finish(b""), Reconcile(Namespace.AUTH, 0, 0, 0, b"", False)],
    ids=lambda message: type(message).__name__,
)
def test_message_that_does_not_belong_on_a_member_link_closes_it(message, group):
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    (close,) = only(Close, player.hear(1, message))
    fault = Fault.MALFORMED if isinstance(message, Reconcile) else Fault.OUT_OF_TURN
    assert close == Close(1, fault.value, ())
    assert player.neighbors() == []


@pytest.mark.parametrize("message", [alive(LIE, NOW), Want(bytes(32)), Taken(0, 0), News(())])
def test_message_before_open_closes_the_link_with_reason_3(message, group):
    player = Player.of(group, "bob")
    player.tell(link_up(1, "alice"))
    assert only(Close, player.hear(1, message)) == [Close(1, 3, ())]


def test_membership_that_ends_closes_the_link_at_the_next_check(group):
    group.grant("alice -> erin:member", window=Window(NOW.utc_s - 300, NOW.utc_s + 90))
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    player.meet(2, "erin")
    closed = []
    for second in range(10, 181, 10):
        outputs = player.at(second)
        closed += [(second, one) for one in only(Close, outputs)]
        for link in player.neighbors():
            player.hear(link, player.agree())
    assert closed == [(120, Close(2, ByeReason.NOT_A_MEMBER, ()))]
    assert MEMBERSHIP_RECHECK_MS == 60_000


def test_change_of_authority_has_memberships_checked_at_once(group):
    group.grant("alice -> erin:member", window=Window(NOW.utc_s - 300, NOW.utc_s + 5))
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    player.meet(2, "erin")
    player.at(6)
    assert player.neighbors() == [1, 2]
    act = group.act("alice", Kind.ANNUL, {"act": bytes(32)})
    assert Close(2, ByeReason.NOT_A_MEMBER, ()) in player.hear(1, news(act))


def test_evidence_that_a_neighbor_showed_makes_it_a_member_until_it_ends(group):
    erin = group.grant("alice -> erin:member", publish=False, window=Window(NOW.utc_s - 300, NOW.utc_s + 100))
    player = Player.of(group, "bob", [one for one in group.elements if one is not erin.act])
    player.tell(link_up(1, "erin", bundle=group.bundle(erin)))
    player.hear(1, player.open())
    player.at(30)
    player.hear(1, player.agree())
    player.at(60)
    assert player.neighbors() == [1]
    player.hear(1, player.agree())
    player.at(90)
    player.hear(1, player.agree())
    assert Close(1, ByeReason.NOT_A_MEMBER, ()) in player.at(120)


# --- our credential ---------------------------------------------------------------------------------------


def test_credential_that_gossip_brings_is_adopted_and_told_once(group):
    player = Player.of(group, "bob", group.founding.elements)
    player.meet(1, "alice")
    assert player.machine.members.own_grant(NOW.utc_s) is None
    outputs = player.hear(1, news(*group.elements))
    assert told(outputs).count("credential-adopted") == 1
    later = [*player.hear(1, news(*group.elements)), *player.at(5), *player.at(50)]
    assert "credential-adopted" not in told(later)
    assert "credential-adopted" not in told(player.again().at(60))


def test_end_of_our_credential_is_told_once_when_it_comes():
    group = Group()
    group.grant("alice -> bob:member", window=Window(NOW.utc_s - 300, NOW.utc_s + 9))
    player = Player.of(group, "bob")
    assert told(player.at(5)) == []
    assert player.deadline() is not None
    assert told(player.at(9)) == ["credential-expiring"]
    assert told(player.at(9.999)) == []
    assert told(player.at(10)) == ["credential-expired"]
    assert told(player.at(11) + player.at(100)) == []


def test_credential_of_ours_whose_time_comes_is_adopted_then(group):
    group.grant("alice -> bob:admin", window=Window(NOW.utc_s + 20, NOW.utc_s + DAY))
    player = Player.of(group, "bob")
    player.at(0)
    assert player.deadline() == after(20).mono_ms
    assert told(player.at(20)) == ["credential-adopted"]
    grant = player.machine.members.own_grant(after(20).utc_s)
    assert grant is not None
    assert grant.level == 2


def handed(group: Group, player: Player) -> tuple[Granted, list[Output]]:
    """A credential for bob that travels by hand, adopted."""
    bob = group.grant("alice -> bob:admin", publish=False)
    return bob, player.tell(Adopt(group.bundle(bob), "invitation"))


def test_evidence_of_our_own_is_adopted_and_its_certificate_published_when_its_acts_arrive(group):
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    player.meet(2, "carl")
    bob, outputs = handed(group, player)
    assert only(Result, outputs) == [Result(None)]
    assert told(outputs) == ["credential-adopted"]
    assert said(outputs) == []
    outputs = player.hear(1, news(bob.act))
    assert told(outputs) == ["credential-added", "member-changed"]
    assert said(outputs, 2) == [news(bob.act, bob.der)]
    assert player.store.get(bob.der.id) == bob.der.raw


def test_evidence_of_our_own_outlives_a_restart(group):
    player = Player.of(group, "bob")
    bob, _ = handed(group, player)
    again = player.again()
    again.meet(1, "alice")
    again.meet(2, "carl")
    assert said(again.hear(1, news(bob.act)), 2) == [news(bob.act, bob.der)]


def test_certificates_of_a_neighbor_are_published_when_its_acts_are_here(group):
    erin = group.grant("alice -> erin:member", publish=False)
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    outputs = player.tell(link_up(2, "erin", bundle=group.bundle(erin)))
    assert said(outputs, 1) == [news(erin.der)]
    assert said(outputs, 2) == [player.open()]
    assert "member-changed" in told(outputs)


def test_act_ahead_of_the_clock_counts_when_its_time_comes(group):
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    player.meet(2, "carl")
    player.at(0)
    player.at(1)
    act = group.act("alice", Kind.ANNUL, {"act": bytes(32)}, hlc=hlc_at(NOW.utc_ms + HLC_AHEAD_MS_MAX + 7000))
    assert said(player.hear(1, news(act))) == []
    assert player.deadline() == after(7).mono_ms
    assert said(player.at(7), 2) == [news(act)]


def test_end_of_a_quarantine_lets_sessions_try_again_soon(group):
    """What hung on the act came in vain meanwhile, ever more rarely; now it may be admitted."""
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    partner = player.machine.synchronize._partners[1]
    partner.auth.gap_ms, partner.auth.not_before_ms = SESSION_GAP_MS_MAX, after(300).mono_ms
    player.hear(
        1,
        news(
            group.act(
                "alice", Kind.ANNUL, {"act": bytes(32)}, hlc=hlc_at(NOW.utc_ms + HLC_AHEAD_MS_MAX + 7000)
            )
        ),
    )
    player.at(7)
    assert partner.auth.not_before_ms == after(7).mono_ms + SESSION_GAP_MS_MIN


# --- commands ---------------------------------------------------------------------------------------------


def test_issued_credentials_are_kept_flooded_told_and_answered(group):
    player = Player.of(group, "alice")
    player.meet(1, "bob")
    requests = (wish("erin"), wish("frank", store=False, invitation=True))
    outputs = player.tell(Issue(requests))
    ((answer,),) = [[one.value for one in only(Result, outputs)]]
    assert isinstance(answer, tuple)
    erin, frank = answer
    assert isinstance(erin, Issued)
    assert erin.bundle == b""
    assert decode_untrusted_bundle(frank.bundle, authority=group.gid).leaf.pid == named("frank").public.pid
    (message,) = said(outputs, 1)
    assert isinstance(message, News)
    assert len(message.elements) == 3
    assert told(outputs) == ["credential-added", "member-changed", "credential-added"]
    assert list(player.store.load())[-3:] == list(message.elements)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_of_several_requests_all_or_none_are_issued(place, group):
    player = Player.of(group, "alice")
    player.meet(1, "bob")
    requests = [wish("erin"), wish("frank"), wish("gina")]
    requests[place] = wish("zoe", info=CredentialInfo(role=77))
    before = state(player)
    with pytest.raises(RuleError):
        player.tell(Issue(tuple(requests)))
    assert state(player) == before
    assert len(only(Notice, player.tell(Issue((wish("erin"),))))) == 2


COMMANDS: dict[str, tuple[str, Input]] = {
    "to oneself": ("circular-chain", Issue((wish("alice"),))),
    "nothing asked": ("invalid-argument", Issue(())),
    "as the root without its key": ("no-key-access", Issue((wish("zoe", as_root=True),))),
    "properties without the root's key": ("no-key-access", SetProperties({"comment": "x"}, key(99))),
    "no such property": ("invalid-properties", SetProperties({"colour": "red"}, Group().key(GRC))),
    "too many addresses": (
        "invalid-argument",
        Connect(tuple(f"h:{number}" for number in range(KNOWN_ADDRESSES_MAX + 1))),
    ),
    "too many addresses alone": (
        "invalid-argument",
        Connect(tuple(f"h:{number}" for number in range(KNOWN_ADDRESSES_MAX + 1)), only=True),
    ),
}


@pytest.mark.parametrize("case", list(COMMANDS))
def test_refused_command_leaves_machine_and_store_as_they_were(case, group):
    player = Player.of(group, "alice")
    player.tell(Connect(("a:1",)))
    player.meet(1, "bob", "a:1")
    player.tell(Issue((wish("erin"),)))
    player.at(3)
    before = state(player)
    code, command = COMMANDS[case]
    with pytest.raises(RuleError) as caught:
        player.tell(command)
    assert caught.value.code == code
    assert state(player) == before


def test_properties_are_set_flooded_and_told(group):
    player = Player.of(group, "alice")
    in_transaction(player.store, lambda store: keep_chain(group.founding.last, store))
    player.meet(1, "bob")
    outputs = player.tell(SetProperties({"comment": "ours"}, group.key(GRC)))
    assert player.machine.members.view.properties.comment == "ours"
    assert told(outputs) == ["properties-changed"]
    assert outputs[-1] == Result(None)
    (message,) = said(outputs, 1)
    other = Player.of(group, "bob")
    other.meet(1, "alice")
    assert told(other.hear(1, message)) == ["properties-changed"]
    assert other.machine.members.view.properties.comment == "ours"


@pytest.mark.parametrize("end, online", [(Disconnect(), False), (Stop(), True)])
def test_disconnect_is_remembered_and_stop_is_not(end, online, group):
    player = Player.of(group, "bob")
    player.tell(Connect(("a:1", "b:2")))
    player.meet(1, "alice", "a:1")
    player.meet(2, "carl")
    outputs = player.tell(end)
    assert only(Close, outputs) == [
        Close(1, ByeReason.LEAVING, ()),
        Close(2, ByeReason.LEAVING, ()),
    ]
    assert told(outputs) == ["neighbor-disconnected"] * 2
    assert only(Dial, outputs) == []
    assert only(Dial, player.at(100)) == []
    assert player.tell(link_up(3, "carl")) == [Close(3, ByeReason.LEAVING)]
    again = player.again()
    assert again.machine.dialling.online == online
    assert bool(only(Dial, again.at(200))) == online


def test_connect_brings_a_disconnected_group_back(group):
    player = Player.of(group, "bob")
    player.tell(Connect(("a:1",)), Disconnect())
    assert player.again().tell(Connect(())) == [Dial("a:1")]


def test_bye_of_a_full_neighbor_leads_to_others(group):
    player = Player.of(group, "bob")
    player.meet(1, "alice")
    assert only(Dial, player.hear(1, Bye(ByeReason.FULL, ("c:1", "d:2")))) == [Dial("c:1"), Dial("d:2")]


def test_notices_are_in_the_event_log_under_their_numbers(group):
    player = Player.of(group, "alice")
    player.meet(1, "bob")
    player.tell(Issue((wish("erin"),)))
    player.tell(Disconnect())
    logged = player.store.events_after(0, 100)
    assert [event.number for event in logged] == [1, 2, 3, 4]
    assert [kind for kind, _ in player.events()] == [
        "neighbor-connected",
        "credential-added",
        "member-changed",
        "neighbor-disconnected",
    ]
    _, facts = player.events()[1]
    assert facts["subject"] == str(peer_name("erin"))
    assert (facts["level"], facts["roles"], facts["stored"]) == (255, ["member"], True)
    assert facts["not_before"] < facts["not_after"]
