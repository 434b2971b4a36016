"""A credential reaches its subject by itself: every way in which it can, and none in which it must not."""

from __future__ import annotations

import pytest
import trio

from peerd.control import schema
from peerd.gossip.fetching import SeekingPort, fetch_from
from peerd.gossip.offload import inline
from peerd.transport.dialer import dial
from peerd.transport.secure import secure_caller
from protocol.credentials.keys import PrivateKey
from protocol.errors import RuleError
from protocol.limits import MEMBERSHIP_RECHECK_MS
from tests.peerd.transport.capture import Capture, CapturingNetwork
from tests.support.builders import DAY
from tests.support.cluster import Cluster, Node, agreed, authorities, calm, cluster, grow, until
from tests.support.keys import named

LIFE_S = 100
RECHECK_S = MEMBERSHIP_RECHECK_MS / 1000
REDIAL_S = 100  # more than the longest delay between two dials
FIVE = ("alice", "bob", "carol", "dave", "erin")


async def outlive(node: Node, group: str) -> None:
    """Let time pass until the node's credential has ended."""
    grant = node.credential(group)
    assert grant is not None
    await trio.sleep(grant.window.end + 1 - node.clock.moment().utc_s)


# --- (a) live ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "tls"), [(False, True), (True, False)])
async def test_a_connected_member_adopts_at_once_and_without_reconnecting(
    tmp_path, autojump_clock, line, tls
):
    async with cluster(tmp_path, tls=tls) as nodes:
        group = await grow(nodes, *FIVE, line=line)
        links = {node.name: node.links(group) for node in nodes.all()}
        issuer, *subjects = nodes.all()
        for subject in subjects:
            begun = trio.current_time()
            issued = await issuer.renew(group, subject)
            await calm()
            assert subject.grant_id(group) == issued
            assert trio.current_time() == begun
        assert {node.name: node.links(group) for node in nodes.all()} == links


async def test_a_promotion_is_in_use_at_once(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        bob, carol = nodes["bob"], nodes["carol"]
        links = bob.links(group)
        with pytest.raises(RuleError) as refused:
            await bob.renew(group, carol)
        assert refused.value.code == "not-authorized"
        await nodes["alice"].renew(group, bob, role="admin")
        await calm()
        issued = await bob.renew(group, carol)
        await calm()
        assert carol.grant_id(group) == issued
        assert bob.links(group) == links


async def test_an_adoption_is_told_once(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        issued = await nodes["alice"].renew(group, nodes["bob"])
        await calm()
        adopted = [e.facts["grant_id"] for e in nodes["bob"].events() if e.kind == "credential-adopted"]
        assert adopted.count(issued) == 1
        assert len(adopted) == 2  # with the one that it joined by
        assert nodes["bob"].rings > 0


# --- (b) offline at issue -----------------------------------------------------------------------------------


async def test_a_member_that_was_down_when_it_was_renewed_picks_up_when_it_starts(tmp_path, autojump_clock):
    async with cluster(tmp_path) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        await nodes["bob"].stop()
        issued = await nodes["alice"].renew(group, nodes["bob"])
        await trio.sleep(10 * LIFE_S)
        await nodes.start("bob")
        await until(lambda: nodes["bob"].grant_id(group) == issued)


async def test_a_member_that_was_cut_off_when_it_was_renewed_picks_up_when_it_is_back(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        await nodes.unplug(nodes["bob"])
        issued = await nodes["alice"].renew(group, nodes["bob"])
        await trio.sleep(LIFE_S)
        assert nodes["bob"].grant_id(group) != issued
        nodes.plug(nodes["bob"])
        await until(lambda: nodes["bob"].grant_id(group) == issued, within_s=REDIAL_S)


async def test_a_credential_survives_its_issuer_and_the_whole_group_being_down(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        await nodes["carol"].stop()
        issued = await nodes["alice"].renew(group, nodes["carol"])
        await until(lambda: agreed(group, [nodes["alice"], nodes["bob"]]))
        for name in ("alice", "bob"):
            await nodes[name].stop()
        await nodes.start("bob", "carol")
        await until(lambda: nodes["carol"].grant_id(group) == issued, within_s=REDIAL_S)


# --- (c) expired --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [True, False])
async def test_an_expired_member_comes_back_through_any_member_while_its_issuer_is_gone(
    tmp_path, autojump_clock, tls
):
    async with cluster(tmp_path, tls=tls) as nodes:
        alice, bob, carol = await grown_with_a_short_life(nodes)
        group = alice.registry.entries()[0].group_name
        await carol.stop()
        issued = await alice.renew(group, carol, valid_s=90 * DAY)
        await until(lambda: agreed(group, [alice, bob]))
        await alice.stop()
        await trio.sleep(2 * LIFE_S)
        await nodes.start("carol")
        assert carol.credential(group) is None
        await until(lambda: carol.grant_id(group) == issued, within_s=REDIAL_S)
        await until(lambda: carol.neighbors(group) == authorities([bob]), within_s=REDIAL_S)
        assert [e.kind for e in carol.events() if e.kind.startswith("credential-")].count(
            "credential-expired"
        ) <= 1


async def test_a_member_that_expires_while_linked_comes_back_when_it_is_renewed(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, _, carol = await grown_with_a_short_life(nodes)
        group = alice.registry.entries()[0].group_name
        await outlive(carol, group)
        await trio.sleep(RECHECK_S + 1)
        assert carol.links(group) == {}
        issued = await alice.renew(group, carol, valid_s=LIFE_S)
        await until(lambda: carol.grant_id(group) == issued, within_s=REDIAL_S)
        await until(lambda: carol.links(group), within_s=REDIAL_S)


async def grown_with_a_short_life(nodes: Cluster) -> list[Node]:
    """alice, bob and carol in a group; carol's credential is good for 100 seconds, and nobody renews it by
    himself.
    """
    group = await grow(nodes, "alice", "bob")
    await nodes["alice"].renew_by_hand(group)
    (carol,) = await nodes.start("carol")
    await nodes["alice"].issue(group, carol, valid_s=LIFE_S)
    await carol.join(group, nodes["alice"], nodes["bob"])
    await until(lambda: len(carol.links(group)) == 2)
    return nodes.all()


async def test_who_was_not_renewed_is_let_go_within_a_minute_and_stays_out(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, bob, carol = await grown_with_a_short_life(nodes)
        group = alice.registry.entries()[0].group_name
        await outlive(carol, group)
        await trio.sleep(RECHECK_S + 1)
        assert carol.credential(group) is None
        for _ in range(20):
            assert carol.links(group) == {}
            assert alice.neighbors(group) == authorities([bob])
            await trio.sleep(RECHECK_S)
        assert "credential-expired" in carol.kinds()


async def test_short_credentials_are_renewed_without_people(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        (carol,) = await nodes.start("carol")
        await nodes["alice"].issue(group, carol, valid_s=LIFE_S)
        await carol.join(group, nodes["alice"], nodes["bob"])
        await until(lambda: len(carol.links(group)) == 2)
        seen = {carol.grant_id(group)}
        for _ in range(8 * LIFE_S // 10):
            await trio.sleep(10)
            assert carol.credential(group) is not None
            seen.add(carol.grant_id(group))
        assert len(seen) > 5


# --- (d) never a member -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [True, False])
async def test_who_never_was_a_member_needs_the_name_and_an_address(tmp_path, autojump_clock, tls):
    async with cluster(tmp_path, tls=tls) as nodes:
        group = await grow(nodes, "alice", "bob")
        (carol,) = await nodes.start("carol")
        joining = await carol.join(group, nodes["bob"])
        assert (joining.state, joining.credential) == ("joining", None)
        await trio.sleep(LIFE_S)
        assert carol.opened(group) is None
        issued = (await nodes["alice"].issue(group, carol)).credential.grant_id
        await until(lambda: carol.grant_id(group) == issued, within_s=REDIAL_S)
        await until(lambda: agreed(group, nodes.all()))
        assert (await carol.service.group(group)).state == "open"


async def test_joining_goes_on_after_a_restart(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        (carol,) = await nodes.start("carol")
        await carol.join(group, nodes["bob"])
        await carol.stop()
        await nodes.start("carol")
        issued = (await nodes["alice"].issue(group, carol)).credential.grant_id
        await until(lambda: carol.grant_id(group) == issued, within_s=REDIAL_S)


async def test_nobody_picks_up_the_credential_of_another(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        carol, eve = await nodes.start("carol", "eve")
        await nodes["alice"].issue(group, carol)
        await eve.join(group, nodes["alice"], nodes["bob"])
        await trio.sleep(10 * LIFE_S)
        assert eve.opened(group) is None
        assert (await eve.service.group(group)).state == "joining"


async def test_a_subject_takes_the_best_that_there_is_for_it(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        (carol,) = await nodes.start("carol")
        await nodes["alice"].issue(group, carol)
        await nodes["alice"].issue(group, carol, role="admin")
        best = await nodes["alice"].renew(group, carol)
        await carol.join(group, nodes["bob"])
        await until(lambda: carol.grant_id(group) == best)
        grant = carol.credential(group)
        assert grant is not None
        assert grant.level == 2


# --- (e) the answerer is the one who has expired ------------------------------------------------------------


async def test_an_expired_answerer_is_told_of_its_renewal_by_whoever_calls(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, _, carol = await grown_with_a_short_life(nodes)
        group = alice.registry.entries()[0].group_name
        await silenced(carol, group)
        await nodes.unplug(carol)
        issued = await alice.renew(group, carol, valid_s=90 * DAY)
        await trio.sleep(2 * LIFE_S)
        assert carol.credential(group) is None
        nodes.plug(carol)
        await alice.connect(group, carol)
        await until(lambda: carol.grant_id(group) == issued, within_s=REDIAL_S)
        assert carol.links(group) != {}


async def silenced(node: Node, group: str) -> None:
    """Let a node call nobody; it still answers."""
    await node.service.connect_group(group, schema.GroupConnect(addresses=["10.9.9.9:9"], only=True))


async def test_of_two_expired_members_one_helps_the_other_and_stays_out_itself(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        alice = nodes["alice"]
        (dave, erin) = await nodes.start("dave", "erin")
        for node in (dave, erin):
            await alice.issue(group, node, valid_s=LIFE_S)
            await node.join(group, alice)
            await until(lambda node=node: len(node.links(group)) > 2)  # type: ignore[misc]
        await erin.stop()
        issued = await alice.renew(group, erin, valid_s=90 * DAY)
        await until(lambda: agreed(group, [alice, dave]))
        for name in ("alice", "bob", "carol"):
            await nodes[name].stop()
        await trio.sleep(2 * LIFE_S)
        assert dave.credential(group) is None
        await nodes.start("erin")
        assert erin.credential(group) is None
        await until(lambda: erin.grant_id(group) == issued, within_s=REDIAL_S)
        await trio.sleep(10 * LIFE_S)
        assert dave.credential(group) is None
        assert dave.links(group) == erin.links(group) == {}


# --- (f) by hand --------------------------------------------------------------------------------------------


async def test_an_invitation_that_is_not_stored_becomes_visible_when_its_subject_links(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes["alice"], nodes["bob"]
        (carol,) = await nodes.start("carol")
        issued = await alice.issue(group, carol, invitation=True)
        grant_id = issued.credential.grant_id
        await until(lambda: agreed(group, [alice, bob]))
        for node in (alice, bob):
            shown = (await node.service.credential(group, grant_id)).credential
            assert (shown.held, shown.stored, shown.current) == (False, False, False)
            assert (await node.service.member(group, carol.peer_name)).member.state == "awaited"
        await carol.accept(invitation_in(issued))
        assert carol.grant_id(group) == grant_id
        await until(lambda: agreed(group, nodes.all()), within_s=REDIAL_S)
        for node in nodes.all():
            shown = (await node.service.credential(group, grant_id)).credential
            assert (shown.held, shown.stored, shown.current) == (True, False, True)
            assert (await node.service.member(group, carol.peer_name)).member.state == "member"


def invitation_in(issued: schema.CredentialIssued) -> str:
    assert issued.invitation is not None
    return issued.invitation


async def test_what_is_not_stored_is_handed_to_nobody(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        (carol,) = await nodes.start("carol")
        await nodes["alice"].issue(group, carol, invitation=True)
        await carol.join(group, nodes["alice"], nodes["bob"])
        await trio.sleep(LIFE_S)
        assert carol.opened(group) is None


async def test_an_invitation_that_is_stored_too_can_be_fetched_or_accepted(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        (carol,) = await nodes.start("carol")
        issued = await nodes["alice"].issue(group, carol, invitation=True, store=True)
        await carol.join(group, nodes["bob"])
        await until(lambda: carol.grant_id(group) == issued.credential.grant_id)
        links = carol.links(group)
        assert (await carol.accept(invitation_in(issued))).credential is not None
        await calm()
        assert carol.grant_id(group) == issued.credential.grant_id
        assert carol.links(group) == links


# --- strangers ----------------------------------------------------------------------------------------------


class Impostor(SeekingPort):
    """Proves its own key and shows the evidence of somebody else."""

    def __init__(self, authority: bytes, own: PrivateKey, shown: bytes) -> None:
        super().__init__(authority, own, bytes(16))
        self._shown = shown

    def own_bundle(self, at_s: int) -> bytes:
        return self._shown


async def knock(nodes: Cluster, port: SeekingPort, node: Node) -> Capture:
    """Ask a node as a stranger from elsewhere; returns what crossed the wire."""
    network = CapturingNetwork(nodes.network.host("10.7.7.7"))
    found = await fetch_from(
        node.address,
        port,
        dial=lambda address: dial(address, network=network, secure=secure_caller),
        clock=nodes.clock,
        offload=inline,
    )
    assert found is None
    (capture,) = network.captures
    return capture


async def test_strangers_get_nothing_and_see_nothing_that_depends_on_who_they_are(tmp_path, autojump_clock):
    async with cluster(tmp_path) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes["alice"], nodes["bob"]
        served = bytes.fromhex(group.partition(".")[0])
        opened = bob.opened(group)
        assert opened is not None
        bobs = opened.node.port.own_bundle(nodes.clock.moment().utc_s)
        before, members = alice.on_disk(), await alice.service.members(group, schema.Page())
        strangers = [
            SeekingPort(served, named("eve"), bytes(16)),
            SeekingPort(served, named("mallory"), bytes(16)),
        ]
        shapes = [(await knock(nodes, port, alice)).turns() for port in strangers]
        unknown = (await knock(nodes, SeekingPort(bytes(20), named("eve"), bytes(16)), alice)).turns()
        impostor = await knock(nodes, Impostor(served, named("eve"), bobs), alice)
        await calm()
        assert shapes[0] == shapes[1]
        # Who does not know the name learns from the answer that it is another, and closes there.
        assert unknown[: len(unknown) - 2] == shapes[0][: len(unknown) - 2]
        assert impostor.turns()[-1][0] == "received"
        assert alice.on_disk() == before
        assert await alice.service.members(group, schema.Page()) == members
        assert alice.neighbors(group) == authorities([bob])


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"store": False, "invitation": False}, "invalid-argument"),
        ({"role": "member"}, "needs-revocation"),
        ({"role": "owner"}, "invalid-role"),
        ({"valid_s": 1}, "needs-revocation"),
        ({"subject": "nobody"}, "identity-not-found"),
        ({"subject": f"{'0' * 40}.nobody"}, "identity-not-found"),
        ({"document": "<PEERIDENTITYINFO/>"}, "invitation-not-trusted"),
        ({"friendly_name": "a\u202eb"}, "invalid-friendly-name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
async def test_a_refused_issue_changes_nothing_anywhere(tmp_path, autojump_clock, wish, code):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes["alice"], nodes["bob"]
        await alice.renew(group, bob, role="inviting_member")
        await until(lambda: agreed(group, nodes.all()))
        before = [node.on_disk() for node in nodes.all()]
        with pytest.raises(RuleError) as refused:
            await alice.issue_all(group, [{"subject": bob.peer_name, "store": True} | wish])
        assert refused.value.code == code
        await calm()
        assert [node.on_disk() for node in nodes.all()] == before


async def test_of_a_batch_all_are_issued_or_none(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes["alice"], nodes["bob"]
        carol, dave = await nodes.start("carol", "dave")
        good = [{"document": node.identify(), "store": True} for node in (carol, dave)]
        before = [node.on_disk() for node in (alice, bob)]
        with pytest.raises(RuleError):
            await alice.issue_all(group, [*good, {"subject": bob.peer_name, "store": True, "valid_s": 1}])
        await calm()
        assert [node.on_disk() for node in (alice, bob)] == before
        issued = await alice.issue_all(group, [*good, {"subject": bob.peer_name, "store": True}])
        await calm()
        assert bob.grant_id(group) == issued[2].credential.grant_id
        for node, one in zip((carol, dave), issued, strict=False):
            await node.join(group, bob)
            await until(lambda node=node, one=one: node.grant_id(group) == one.credential.grant_id)  # type: ignore[misc]
