"""Groups as a user meets them: created, joined, connected, described, forgotten; and every refusal first."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from peerd.clock import Clock
from peerd.control import schema
from peerd.control.limits import SECONDS_MAX
from peerd.errors import Conflict, NotFound, NotReady, PeerdError, StoreFull
from protocol.authority.root import commitment_of
from protocol.credentials.keys import PrivateKey
from protocol.credentials.recovery import parse_recovery_key
from protocol.errors import RuleError
from protocol.limits import DEFAULT_LIFE_S, INVITATION_ADDRESSES_MAX, KNOWN_ADDRESSES_MAX
from tests.support.builders import DAY
from tests.support.cluster import Cluster, Node, agreed, calm, cluster, grow, until
from tests.support.keys import named

REDIAL_S = 100
NOWHERE = "10.9.9.9:9"
TEN_MINUTES_S = 600


def create(node: Node, classifier: str = "family", **wish: object) -> schema.GroupCreate:
    """A wish for a group, with a token of its own unless it brings one."""
    if "recovery_token" not in wish:
        wish["recovery_token"] = node.service.make_recovery_key().recovery_token
    return schema.GroupCreate(classifier=classifier, recovery_delivered=True, **wish)  # type: ignore[arg-type]


async def refusal(node: Node, wish: object) -> str:
    """The slug under which a wish is refused, with a hint, and with nothing changed on the disk."""
    calls = {
        schema.GroupCreate: node.service.create_group,
        schema.GroupJoin: node.service.join_group,
    }
    before = node.on_disk()
    with pytest.raises((RuleError, PeerdError)) as refused:
        await calls[type(wish)](wish)  # type: ignore[index, operator]
    error = refused.value
    assert isinstance(error, RuleError | PeerdError)
    assert error.hint
    assert node.on_disk() == before
    return error.code


# --- creating ---------------------------------------------------------------------------------------------


async def test_a_new_group_is_open_and_its_creator_administers_it(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        alice.identify()
        wish = create(alice, "pizza", friendly_name="Pizza", comment="On Fridays", identity="alice")
        group = await alice.service.create_group(wish)
        assert (group.state, group.classifier, group.friendly_name) == ("open", "pizza", "Pizza")
        assert group.peer_name == alice.peer_name
        assert group.credential is not None
        assert (group.credential.roles, group.credential.level) == (["admin"], 1)
        assert (group.credential.issuer, group.credential.not_after) == (group.group, None)
        properties = await alice.service.properties("pizza")
        assert (properties.friendly_name, properties.comment) == ("Pizza", "On Fridays")
        assert properties.default_life_s == DEFAULT_LIFE_S


async def test_without_an_identity_the_first_group_makes_one(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        group = await alice.service.create_group(create(alice))
        assert [one.peer_name for one in alice.service.identities().identities] == [group.peer_name]
        again = await alice.service.create_group(create(alice))
        assert again.peer_name == group.peer_name
        assert again.group != group.group


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"classifier": "a" * 150}, "classifier-too-long"),
        ({"classifier": "a\x07b"}, "invalid-classifier"),
        ({"friendly_name": "a" * 256}, "invalid-friendly-name"),
        ({"friendly_name": "a\u202eb"}, "invalid-friendly-name"),
        ({"comment": "a" * 256}, "invalid-properties"),
        ({"comment": "a\x00b"}, "invalid-properties"),
        ({"identity": "nobody"}, "identity-not-found"),
        ({"recovery_token": ""}, "invalid-argument"),
        ({"recovery_token": "0" * 32}, "invalid-argument"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_is_refused_is_refused_before_anything_is_made(tmp_path, autojump_clock, wish, code):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        assert await refusal(alice, create(alice, **wish)) == code
        assert alice.service.identities().identities == []
        assert list(alice.home.root_keys.iterdir()) == list(alice.home.groups.iterdir()) == []


async def test_the_longest_names_and_the_longest_life_are_not_refused(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, bob = await nodes.start("alice", "bob")
        wish = {"friendly_name": "\U0001f355" * 255, "comment": "\U0001f355" * 255}
        group = await alice.found("\U0001f355" * 149, default_life_s=SECONDS_MAX, **wish)
        properties = await alice.service.properties(group)
        assert (properties.friendly_name, properties.comment) == (wish["friendly_name"], wish["comment"])
        assert properties.default_life_s == SECONDS_MAX
        assert (await alice.issue(group, bob)).credential.not_after is None
        await alice.stop()
        await nodes.start("alice")
        assert await alice.service.properties(group) == properties


async def test_a_refused_wish_leaves_the_recovery_token_as_it_was(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        token = alice.service.make_recovery_key().recovery_token
        assert await refusal(alice, create(alice, "a\nb", recovery_token=token)) == "invalid-classifier"
        assert (await alice.service.create_group(create(alice, recovery_token=token))).state == "open"


# --- recovery keys ----------------------------------------------------------------------------------------


async def test_the_group_is_committed_to_the_recovery_key_and_keeps_none_of_it(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        recovery = alice.service.make_recovery_key()
        group = await alice.service.create_group(create(alice, recovery_token=recovery.recovery_token))
        seed = parse_recovery_key(recovery.recovery_key)
        opened = alice.opened(group.group)
        assert opened is not None
        assert opened.machine.members.view.root is not None
        committed = opened.machine.members.view.root.commitment
        assert committed == commitment_of([PrivateKey.from_seed(seed).public], 1)
        kept = [path.read_bytes() for path in alice.home.directory.rglob("*") if path.is_file()]
        assert kept
        assert not any(seed in content or recovery.recovery_key.encode() in content for content in kept)


async def test_a_recovery_token_is_good_once(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        token = alice.service.make_recovery_key().recovery_token
        await alice.service.create_group(create(alice, recovery_token=token))
        assert await refusal(alice, create(alice, recovery_token=token)) == "invalid-argument"


async def test_of_two_wishes_with_one_recovery_token_one_is_granted(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        wish = create(alice)
        outcomes: list[str] = []

        async def try_it() -> None:
            try:
                outcomes.append((await alice.service.create_group(wish)).state)
            except RuleError as error:
                outcomes.append(error.code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_it)
            nursery.start_soon(try_it)
        assert sorted(outcomes) == ["invalid-argument", "open"]
        assert len((await alice.service.groups()).groups) == 1


async def test_a_recovery_token_is_good_for_ten_minutes(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        now = schema.time_at_ms(alice.clock.moment().utc_ms)
        first, second = (alice.service.make_recovery_key() for _ in range(2))
        assert first.expires == second.expires == now + timedelta(minutes=10)
        await trio.sleep(TEN_MINUTES_S - 1)
        await alice.service.create_group(create(alice, recovery_token=first.recovery_token))
        await trio.sleep(1)
        assert await refusal(alice, create(alice, recovery_token=second.recovery_token)) == "invalid-argument"


async def test_recovery_keys_are_bounded_and_the_oldest_goes_first(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        tokens = [alice.service.make_recovery_key().recovery_token for _ in range(17)]
        assert len(set(tokens)) == 17
        assert await refusal(alice, create(alice, recovery_token=tokens[0])) == "invalid-argument"
        for token in tokens[1:3]:
            await alice.service.create_group(create(alice, recovery_token=token))


async def test_no_two_recovery_keys_are_the_same(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        assert len({alice.service.make_recovery_key().recovery_key for _ in range(20)}) == 20


# --- joining ----------------------------------------------------------------------------------------------

SOMEWHERE = f"{'ab' * 20}.pizza"


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({}, "invalid-argument"),
        ({"invitation": "<PEERINVITATION/>", "group": SOMEWHERE}, "invalid-argument"),
        ({"group": SOMEWHERE}, "invalid-argument"),
        ({"group": SOMEWHERE, "addresses": ["nowhere"]}, "invalid-argument"),
        ({"group": SOMEWHERE, "addresses": [NOWHERE, "10.0.0.1:0"]}, "invalid-argument"),
        ({"group": "pizza", "addresses": [NOWHERE]}, "invalid-peer-name"),
        ({"group": "ab.pizza", "addresses": [NOWHERE]}, "invalid-peer-name"),
        ({"group": SOMEWHERE, "addresses": [NOWHERE], "identity": "nobody"}, "identity-not-found"),
        ({"invitation": "no XML"}, "invitation-not-trusted"),
        ({"invitation": "<PEERINVITATION/>"}, "invitation-not-trusted"),
    ],
    ids=["neither", "both", "nowhere", "address", "port", "short", "authority", "identity", "text", "empty"],
)
async def test_a_refused_join_makes_neither_a_group_nor_an_identity(tmp_path, autojump_clock, wish, code):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        assert await refusal(alice, schema.GroupJoin(**wish)) == code
        assert alice.service.identities().identities == []
        assert (await alice.service.groups()).groups == []


async def invited(nodes: Cluster, group: str, subject: Node, **wish: object) -> str:
    """The invitation of a subject, by alice."""
    issued = await nodes["alice"].issue(group, subject, invitation=True, **wish)
    assert issued.invitation is not None
    return issued.invitation


async def test_who_joins_by_half_a_name_is_told_where_the_whole_one_is_to_be_had(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        wish = schema.GroupJoin(group="pizza", addresses=[NOWHERE])
        with pytest.raises(RuleError, match="“pizza” is no full name of a group") as refused:
            await alice.service.join_group(wish)
        assert refused.value.hint == "a member tells it: peerd group list"


async def test_an_invitation_for_somebody_else_is_refused(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        bob, carol = await nodes.start("bob", "carol")
        xml = await invited(nodes, group, bob)
        assert await refusal(carol, schema.GroupJoin(invitation=xml)) == "identity-not-found"
        carol.identify()
        assert await refusal(carol, schema.GroupJoin(invitation=xml)) == "identity-not-found"
        wish = schema.GroupJoin(invitation=xml, identity="carol")
        assert await refusal(carol, wish) == "invitation-not-trusted"
        assert (await bob.accept(xml)).peer_name == bob.peer_name


async def test_an_invitation_is_good_while_its_credential_is(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        bob, carol, dave = await nodes.start("bob", "carol", "dave")
        begin = schema.time_at(nodes.clock.moment().utc_s + DAY)
        early = await invited(nodes, group, bob, not_before=begin)
        short = [await invited(nodes, group, node, valid_s=100) for node in (carol, dave)]
        assert await refusal(bob, schema.GroupJoin(invitation=early)) == "invalid-time-period"
        await trio.sleep(99)
        assert (await carol.accept(short[0])).state == "open"
        await trio.sleep(2)
        assert await refusal(dave, schema.GroupJoin(invitation=short[1])) == "invalid-time-period"


async def test_an_invitation_names_where_its_issuer_and_its_neighbors_are(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        (carol,) = await nodes.start("carol")
        joined = await carol.accept(await invited(nodes, group, carol))
        assert joined.addresses == [nodes["alice"].address, nodes["bob"].address]
        await until(lambda: carol.links(group))


async def test_joining_again_with_the_same_invitation_changes_nothing(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        xml = await invited(nodes, group, bob)
        await bob.accept(xml)
        await until(lambda: bob.links(group))
        await until(lambda: agreed(group, nodes.all()), within_s=REDIAL_S)
        shown, links, rows = await bob.service.group(group), bob.links(group), bob.on_disk()
        again = await bob.accept(xml)
        await calm()
        assert (again, bob.links(group)) == (shown, links)
        assert bob.on_disk() == rows


async def test_an_invitation_to_an_open_group_is_adopted_at_once(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        bob = nodes["bob"]
        await nodes.unplug(bob)
        await trio.sleep(REDIAL_S)
        xml = await invited(nodes, group, bob, role="admin")
        before, links = bob.grant_id(group), bob.links(group)
        assert links == {}
        joined = await bob.accept(xml)
        assert joined.credential is not None
        assert joined.credential.grant_id == bob.grant_id(group) != before
        assert joined.credential.roles == ["admin"]


async def test_an_invitation_that_is_no_better_changes_no_credential(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        bob = nodes["bob"]
        xml = await invited(nodes, group, bob)
        best = await nodes["alice"].renew(group, bob, role="admin")
        await until(lambda: bob.grant_id(group) == best)
        joined = await bob.accept(xml)
        assert joined.credential is not None
        assert joined.credential.grant_id == best


async def test_an_invitation_with_too_many_addresses_for_an_open_group_is_not_half_accepted(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        bob = nodes["bob"]
        addresses = [f"10.8.0.{number}:1" for number in range(KNOWN_ADDRESSES_MAX)]
        for start in range(0, KNOWN_ADDRESSES_MAX, INVITATION_ADDRESSES_MAX):
            part = addresses[start : start + INVITATION_ADDRESSES_MAX]
            await bob.service.connect_group(group, schema.GroupConnect(addresses=part, only=start == 0))
        await nodes.unplug(bob)
        xml = await invited(nodes, group, bob, role="admin")
        before = bob.grant_id(group)
        assert await refusal(bob, schema.GroupJoin(invitation=xml)) == "invalid-argument"
        assert bob.grant_id(group) == before


async def test_an_invitation_adds_its_addresses_to_those_that_were_asked_already(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        bob.identify()
        await bob.service.join_group(schema.GroupJoin(group=group, addresses=[NOWHERE]))
        joined = await bob.accept(await invited(nodes, group, bob))
        assert joined.addresses == [NOWHERE, nodes["alice"].address]


async def test_joining_a_group_that_is_open_dials_what_is_given(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        bob = nodes["bob"]
        again = await bob.service.join_group(schema.GroupJoin(group=group))
        assert (again.state, again.addresses) == ("open", [nodes["alice"].address])
        more = await bob.service.join_group(schema.GroupJoin(group=group, addresses=[NOWHERE]))
        assert more.addresses == [nodes["alice"].address, NOWHERE]
        assert bob.links(group)


# --- links ------------------------------------------------------------------------------------------------


async def test_only_needs_the_addresses_that_it_means(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        with pytest.raises(RuleError) as refused:
            await nodes["alice"].service.connect_group(group, schema.GroupConnect(only=True))
        assert (refused.value.code, bool(refused.value.hint)) == ("invalid-argument", True)
        with pytest.raises(RuleError):
            await nodes["alice"].service.connect_group(group, schema.GroupConnect(addresses=["nowhere"]))
        assert (await nodes["alice"].service.group(group)).addresses == []


async def test_a_group_that_is_joining_is_asked_for_at_more_addresses_and_cannot_be_disconnected(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        bob.identify()
        await nodes["alice"].issue(group, bob)
        await bob.service.join_group(schema.GroupJoin(group=group, addresses=[NOWHERE]))
        for call in (
            bob.service.disconnect_group,
            bob.service.properties,
            lambda name: bob.service.change_properties(name, schema.PropertiesChange(comment="x")),
        ):
            with pytest.raises(NotReady) as refused:
                await call("family")
            assert refused.value.hint
        wish = schema.GroupConnect(addresses=[nodes["alice"].address])
        shown = await bob.service.connect_group("family", wish)
        assert (shown.state, shown.addresses) == ("joining", [NOWHERE, nodes["alice"].address])
        await until(lambda: bob.links(group), within_s=REDIAL_S)


async def test_a_disconnected_group_stays_so_until_it_is_connected(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        bob = nodes["bob"]
        assert not (await bob.service.disconnect_group(group)).connected
        await bob.stop()
        await nodes.start("bob")
        await trio.sleep(REDIAL_S)
        assert (await bob.service.group(group)).connected is False
        assert bob.links(group) == nodes["alice"].links(group) == {}
        assert (await bob.service.connect_group(group, schema.GroupConnect())).connected
        await until(lambda: bob.links(group), within_s=REDIAL_S)


@pytest.mark.parametrize("call", ["group", "disconnect_group", "delete_group", "properties"])
async def test_an_unknown_group_is_not_found_and_an_ambiguous_one_not_guessed(tmp_path, autojump_clock, call):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        with pytest.raises(NotFound) as unknown:
            await getattr(alice.service, call)("family")
        assert (unknown.value.code, bool(unknown.value.hint)) == ("group-not-found", True)
        names = [await alice.found("family") for _ in range(2)]
        with pytest.raises(Conflict) as ambiguous:
            await getattr(alice.service, call)("family")
        assert ambiguous.value.code == "ambiguous-name"
        assert all(name in ambiguous.value.detail for name in names)
        await getattr(alice.service, call)(names[0][:12])
        assert alice.service.group_name(names[1]) == names[1]


# --- forgetting -------------------------------------------------------------------------------------------


async def test_deleting_a_group_removes_its_files_and_the_others_go_on(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes["alice"], nodes["bob"]
        club = await alice.found("club")
        await alice.issue(club, bob)
        await bob.join(club, alice)
        await until(lambda: bob.links(club), within_s=REDIAL_S)
        gid = (await alice.service.group(group)).gid
        assert gid is not None
        deleted = await alice.service.delete_group(group)
        assert (deleted.group, deleted.deleted) == (group, True)
        assert not [path for path in alice.home.directory.rglob("*") if gid in path.name]
        issued = await alice.renew(club, bob)
        await calm()
        assert bob.grant_id(club) == issued
        assert bob.links(group) == {}
        assert bob.credential(group) is not None
        await alice.stop()
        await nodes.start("alice")
        assert [entry.group_name for entry in alice.registry.entries()] == [club]


async def test_a_group_that_could_not_be_entered_leaves_no_file(tmp_path, autojump_clock, monkeypatch):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        xml = await invited(nodes, group, bob)

        def fail(*_: object) -> None:
            raise StoreFull("no space is left")

        monkeypatch.setattr(bob.registry._catalogue, "put_group", fail)
        for call in (bob.found("club"), bob.accept(xml)):
            with pytest.raises(StoreFull):
                await call
        assert list(bob.home.root_keys.iterdir()) == list(bob.home.groups.iterdir()) == []
        monkeypatch.undo()
        assert (await bob.accept(xml)).state == "open"
        assert await bob.found("club")


# --- properties -------------------------------------------------------------------------------------------


async def test_the_root_changes_what_is_given_and_the_rest_stays(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes["alice"], nodes["bob"]
        before = await alice.service.properties(group)
        changes = [
            schema.PropertiesChange(friendly_name="Us"),
            schema.PropertiesChange(comment="All of us"),
            schema.PropertiesChange(default_life_s=3600),
        ]
        for change in changes:
            await alice.service.change_properties(group, change)
        after = await alice.service.properties(group)
        assert (after.friendly_name, after.comment, after.default_life_s) == ("Us", "All of us", 3600)
        assert (after.group, after.classifier) == (group, "family")
        assert after.modified >= before.modified
        await until(lambda: agreed(group, nodes.all()))
        assert await bob.service.properties(group) == after
        assert (await bob.service.group(group)).friendly_name == "Us"
        (carol,) = await nodes.start("carol")
        issued = (await alice.issue(group, carol)).credential
        assert issued.not_after is not None
        assert (issued.not_after - issued.not_before).total_seconds() == 3600 + 300
        cleared = await alice.service.change_properties(
            group, schema.PropertiesChange(comment="", default_life_s=0)
        )
        assert (cleared.comment, cleared.default_life_s, cleared.friendly_name) == ("", DEFAULT_LIFE_S, "Us")


async def test_of_the_renewal_policy_too_what_is_not_given_stays(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        alice = nodes["alice"]
        shown = await alice.service.properties(group)
        assert (shown.renew_auto, shown.renew_left, shown.renew_valid_s) == (True, 3, 0)
        await alice.service.change_properties(group, schema.PropertiesChange(renew_left=5, comment="us"))
        shown = await alice.service.change_properties(group, schema.PropertiesChange(renew_unseen_s=60))
        assert (shown.renew_left, shown.renew_unseen_s, shown.renew_auto) == (5, 60, True)
        assert shown.comment == "us"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, "invalid-argument"),
        ({"friendly_name": "a\u202eb"}, "invalid-friendly-name"),
        ({"friendly_name": "a" * 256}, "invalid-friendly-name"),
        ({"comment": "a" * 256}, "invalid-properties"),
    ],
    ids=["nothing", "bidi", "long", "comment"],
)
async def test_refused_properties_change_nothing(tmp_path, autojump_clock, change, code):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        assert await unchanged(nodes["alice"], group, **change) == code


async def unchanged(node: Node, group: str, **change: object) -> str:
    """The slug under which a change of properties is refused, with nothing changed."""
    before = node.on_disk()
    with pytest.raises(RuleError) as refused:
        await node.service.change_properties(group, schema.PropertiesChange(**change))  # type: ignore[arg-type]
    assert refused.value.hint
    assert node.on_disk() == before
    return refused.value.code


async def test_who_does_not_hold_the_root_key_changes_no_properties(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes["alice"], nodes["bob"]
        await alice.renew(group, bob, role="admin")
        await calm()
        assert await unchanged(bob, group, comment="mine") == "no-key-access"
        (path,) = alice.home.root_keys.iterdir()
        pem = path.read_bytes()
        path.unlink()
        assert await unchanged(alice, group, comment="mine") == "no-key-access"
        for wrong in (b"", b"no key", named_pem("mallory")):
            path.touch(mode=0o600)
            path.write_bytes(wrong)
            assert await unchanged(alice, group, comment="mine") == "no-key-access"
        path.write_bytes(pem)
        path.chmod(0o644)
        assert await unchanged(alice, group, comment="mine") == "no-key-access"
        path.chmod(0o600)
        changed = await alice.service.change_properties(group, schema.PropertiesChange(comment="ours"))
        assert changed.comment == "ours"


def named_pem(name: str) -> bytes:
    return named(name).crypto.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def test_properties_are_not_signed_by_a_clock_that_lags(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        group = await alice.found()
        await alice.stop()
        right = alice.clock
        alice.clock = Clock(lambda: right.utc_ms() - 301_000)
        await nodes.start("alice")
        assert await unchanged(alice, group, comment="late") == "clock-not-trusted"


async def test_before_the_acts_arrive_nothing_is_said_about_properties(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        await nodes.unplug(nodes["alice"])
        await bob.accept(await invited(nodes, group, bob))
        with pytest.raises(RuleError) as refused:
            await bob.service.properties(group)
        assert (refused.value.code, bool(refused.value.hint)) == ("group-not-ready", True)
        assert await unchanged(bob, group, comment="x") == "no-key-access"
