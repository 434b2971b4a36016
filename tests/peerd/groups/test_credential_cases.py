"""Credentials as a user meets them: wishes become requests, refusals have names, reading shows all of it."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import trio
from cryptography import x509

from peerd.clock import Clock
from peerd.control import schema
from peerd.errors import Conflict, NotFound, PeerdError
from peerd.groups.credential_cases import pid_of
from protocol.credentials.certificates import build_idc
from protocol.credentials.documents import write_identity_document
from protocol.errors import RuleError
from protocol.limits import BACKDATING_S, DEFAULT_LIFE_S, END_OF_TIME_S
from protocol.peer_time import Window
from tests.support.builders import DAY, NOW, Group
from tests.support.cluster import Node, agreed, calm, cluster, grow, until
from tests.support.keys import named, peer_name

REDIAL_S = 100
Wish = Mapping[str, object]


@asynccontextmanager
async def founder(tmp_path) -> AsyncIterator[tuple[Node, str]]:
    """alice, alone in a group of hers."""
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        yield alice, await alice.found()


def document(name: str, classifier: str | None = None) -> str:
    """The identity document of a name, who may call itself otherwise."""
    own = named(name).public.authority
    idc = build_idc(named(name), f"{own}.{classifier or name}", Window(NOW.utc_s - 300, END_OF_TIME_S))
    return write_identity_document(idc)


async def issued(node: Node, group: str, *wishes: Wish) -> Sequence[schema.CredentialIssued]:
    return await node.issue_all(group, [{"store": True, **wish} for wish in wishes])


async def admitted(node: Node, group: str, *names: str, **wish: object) -> list[schema.Credential]:
    """Stored credentials for strangers by their documents."""
    answers = await issued(node, group, *({"document": document(name), **wish} for name in names))
    return [answer.credential for answer in answers]


async def refusal(node: Node, group: str, *wishes: Wish) -> str:
    """The slug under which they are refused: with a reason, a hint, and nothing changed on the disk."""
    before, events = node.on_disk(), node.events()
    with pytest.raises((RuleError, PeerdError)) as refused:
        await issued(node, group, *wishes)
    error = refused.value
    assert isinstance(error, RuleError | PeerdError)
    assert error.detail
    assert error.hint
    await calm()
    assert (node.on_disk(), node.events()) == (before, events)
    return error.code


# --- wishes -----------------------------------------------------------------------------------------------


async def test_a_stranger_is_admitted_by_its_document(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        (bob,) = await admitted(alice, group, "bob")
        now = schema.time_at(alice.clock.moment().utc_s)
        assert (bob.subject, bob.issuer, bob.group) == (str(peer_name("bob")), alice.peer_name, group)
        assert (bob.roles, bob.level, bob.friendly_name) == (["member"], 255, "")
        assert bob.not_after == now + timedelta(seconds=DEFAULT_LIFE_S)
        assert now - timedelta(seconds=BACKDATING_S) <= bob.not_before <= now
        assert (bob.stored, bob.held, bob.live, bob.current) == (True, True, True, True)


@pytest.mark.parametrize("name", ["bob", str(peer_name("bob")), str(peer_name("bob"))[:8]])
async def test_nothing_given_is_a_renewal_by_any_form_of_the_name(tmp_path, autojump_clock, name):
    async with founder(tmp_path) as (alice, group):
        (before,) = await admitted(
            alice, group, "bob", role="inviting_member", friendly_name="Bob", valid_s=5 * DAY
        )
        await trio.sleep(DAY)
        ((after,),) = [[one.credential for one in await issued(alice, group, {"subject": name})]]
        assert (after.subject, after.friendly_name) == (before.subject, "Bob")
        assert (after.roles, after.level) == (before.roles, before.level)
        assert after.not_after is not None
        assert before.not_after is not None
        assert after.not_after - before.not_after == timedelta(days=1)
        assert after.grant_id != before.grant_id


@pytest.mark.parametrize(
    ("info", "changed"),
    [
        ({"friendly_name": "Robert"}, {"friendly_name": "Robert"}),
        ({"friendly_name": ""}, {"friendly_name": ""}),
        ({"role": "admin"}, {"roles": ["admin"], "level": 2}),
        ({"role": "inviting_member"}, {"roles": ["inviting_member"], "level": 254}),
        ({"document": document("bob", "robert")}, {"subject": f"{named('bob').public.authority}.robert"}),
    ],
    ids=["name", "no-name", "admin", "inviting", "classifier"],
)
async def test_what_is_given_changes_and_the_rest_stays(tmp_path, autojump_clock, info, changed):
    async with founder(tmp_path) as (alice, group):
        (before,) = await admitted(alice, group, "bob", friendly_name="Bob")
        wish = info if "document" in info else {"subject": "bob"} | info
        after = (await issued(alice, group, wish))[0].credential
        said = {name: getattr(after, name) for name in ("friendly_name", "roles", "level", "subject")}
        kept = {name: getattr(before, name) for name in said}
        assert said == kept | changed


async def test_a_period_can_be_given_by_its_ends_or_by_its_length(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        now = schema.time_at(alice.clock.moment().utc_s)
        begin, end = now + timedelta(days=1), now + timedelta(days=2, microseconds=999_999)
        ends, length, elsewhere = await issued(
            alice,
            group,
            {"document": document("bob"), "not_before": begin, "not_after": end},
            {"document": document("carol"), "valid_s": DAY},
            {"document": document("dave"), "not_after": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)},
        )
        assert ends.credential.not_before == begin
        assert ends.credential.not_after == now + timedelta(days=2)
        assert ends.credential.current is False
        assert length.credential.not_after == now + timedelta(days=1)
        assert elsewhere.credential.not_after is None


async def test_the_issuer_fields_are_taken_and_ignored(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        await admitted(alice, group, "bob", "carol", friendly_name="B")
        other = {"issuer": str(peer_name("carol")), "issuer_friendly_name": "Somebody else"}
        renewed = (await issued(alice, group, {"subject": "bob"} | other))[0].credential
        assert (renewed.issuer, renewed.friendly_name) == (alice.peer_name, "B")
        assert renewed.issuer_friendly_name != "Somebody else"
        assert await refusal(alice, group, {"subject": str(peer_name("eve"))} | other) == "identity-not-found"


async def test_an_invitation_comes_back_when_it_was_asked_for(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        both, stored = await issued(
            alice,
            group,
            {"document": document("bob"), "invitation": True},
            {"document": document("carol")},
        )
        only = (
            await issued(alice, group, {"document": document("dave"), "invitation": True, "store": False})
        )[0]
        assert (stored.invitation, both.credential.stored, only.credential.stored) == (None, True, False)
        assert (both.credential.held, only.credential.held) == (True, False)
        for one in (both, only):
            assert one.invitation is not None
            told = alice.service.parse_invitation(schema.InvitationParse(invitation=one.invitation))
            assert (told.grant_id, told.subject) == (one.credential.grant_id, one.credential.subject)


async def test_answers_stand_in_the_order_of_the_wishes(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        names = [f"n{number}" for number in range(20)]
        credentials = await admitted(alice, group, *names)
        assert [one.subject for one in credentials] == [str(peer_name(name)) for name in names]
        assert len({one.serial for one in credentials}) == 20


async def test_the_root_issues_when_it_is_asked_to(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        await alice.service.change_properties(group, schema.PropertiesChange(friendly_name="Us"))
        by_root, by_alice = await issued(
            alice,
            group,
            {"document": document("bob"), "as_root": True, "role": "admin"},
            {"document": document("carol"), "role": "admin"},
        )
        assert (by_root.credential.issuer, by_root.credential.issuer_friendly_name) == (group, "Us")
        assert (by_root.credential.level, by_alice.credential.level) == (1, 2)
        renewed = (await issued(alice, group, {"subject": "alice", "as_root": True}))[0].credential
        assert (renewed.level, renewed.issuer, renewed.current) == (1, group, True)


# --- refusals ---------------------------------------------------------------------------------------------

BOB = {"document": document("bob")}

REFUSED = {
    "no subject": ({}, "invalid-argument"),
    "empty subject": ({"subject": ""}, "invalid-argument"),
    "nowhere to go": (BOB | {"store": False}, "invalid-argument"),
    "end and length": (
        BOB | {"valid_s": 60, "not_after": datetime(2030, 1, 1, tzinfo=UTC)},
        "invalid-argument",
    ),
    "nobody": ({"subject": "nobody"}, "identity-not-found"),
    "stranger": ({"subject": str(peer_name("eve"))}, "identity-not-found"),
    "stranger with info": ({"subject": str(peer_name("eve")), "role": "member"}, "invalid-credential-info"),
    "old name": ({"subject": f"{named('dora').public.authority}.theodora"}, "identity-not-found"),
    "document of another": (BOB | {"subject": "carol"}, "key-mismatch"),
    "no document": ({"document": "<IDENTITY/>"}, "invitation-not-trusted"),
    "no XML": ({"document": "\x00"}, "invitation-not-trusted"),
    "role": (BOB | {"role": "king"}, "invalid-role"),
    "no role": (BOB | {"role": ""}, "invalid-role"),
    "friendly name": (BOB | {"friendly_name": "a\u202eb"}, "invalid-friendly-name"),
    "no time": (BOB | {"valid_s": 0}, "invalid-time-period"),
    "before 1970": (BOB | {"not_before": datetime(1, 1, 1, tzinfo=UTC)}, "invalid-time-period"),
    "ended": (BOB | {"not_after": datetime(2020, 1, 1, tzinfo=UTC)}, "invalid-time-period"),
    "ends first": (
        BOB | {"not_before": datetime(2030, 1, 2, tzinfo=UTC), "not_after": datetime(2030, 1, 1, tzinfo=UTC)},
        "invalid-time-period",
    ),
    "for ever and a day": (BOB | {"valid_s": END_OF_TIME_S}, "invalid-time-period"),
    "demotion": ({"subject": "dora", "role": "member"}, "needs-revocation"),
    "shorter": ({"subject": "dora", "valid_s": 60}, "needs-revocation"),
    "herself": ({"subject": "alice"}, "circular-chain"),
}


@pytest.mark.parametrize(("wish", "code"), REFUSED.values(), ids=REFUSED)
async def test_each_refusal_has_its_name_and_changes_nothing(tmp_path, autojump_clock, wish, code):
    async with founder(tmp_path) as (alice, group):
        await admitted(alice, group, "carol")
        await admitted(alice, group, "dora", role="inviting_member")
        assert await refusal(alice, group, wish) == code


async def test_a_name_that_fits_two_members_is_not_guessed(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        await issued(alice, group, *({"document": document(name, "twin")} for name in ("bob", "carol")))
        assert await refusal(alice, group, {"subject": "twin"}) == "ambiguous-name"
        twin = f"{named('bob').public.authority}.twin"
        assert (await issued(alice, group, {"subject": twin}))[0].credential.subject == twin


async def test_a_member_that_was_renamed_is_renewed_under_its_new_name(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        await admitted(alice, group, "bob")
        authority = named("bob").public.authority
        await issued(alice, group, {"document": document("bob", "robert")})
        for name in ("robert", "bob", authority[:8], f"{authority}.robert"):
            renewed = (await issued(alice, group, {"subject": name}))[0].credential
            assert renewed.subject == f"{authority}.robert"
        assert await refusal(alice, group, {"subject": f"{authority}.bob"}) == "identity-not-found"


@pytest.mark.parametrize("role", [None, "inviting_member"])
async def test_what_a_role_may_not_issue_is_not_authorized(tmp_path, autojump_clock, role):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes["alice"], nodes["bob"]
        if role is not None:
            await alice.renew(group, bob, role=role)
            await calm()
            await admitted(bob, group, "carol")
            assert await refusal(bob, group, {"document": document("dora"), "role": role}) == "not-authorized"
        assert await refusal(bob, group, {"document": document("dora"), "role": "admin"}) == "not-authorized"
        assert await refusal(bob, group, {"document": document("dora"), "as_root": True}) == "no-key-access"


async def test_who_holds_no_valid_credential_issues_nothing(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        await nodes["alice"].issue(group, bob, role="admin", valid_s=100)
        await bob.join(group, nodes["alice"])
        await until(lambda: bob.links(group))
        await until(lambda: agreed(group, nodes.all()), within_s=REDIAL_S)
        await admitted(bob, group, "carol", valid_s=60)
        assert (
            await refusal(bob, group, {"document": document("dora")} | {"valid_s": DAY})
            == "invalid-time-period"
        )
        await nodes["alice"].stop()  # whose daemon would renew it by itself
        await trio.sleep(101)
        assert await refusal(bob, group, {"document": document("dora")}) == "not-authorized"


async def test_before_the_acts_arrive_nobody_is_issued_anything(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        await nodes.unplug(nodes["alice"])
        answer = await nodes["alice"].issue(group, bob, role="admin", invitation=True)
        assert answer.invitation is not None
        await bob.accept(answer.invitation)
        assert await refusal(bob, group, BOB) == "group-not-ready"
        assert await refusal(bob, group, BOB | {"as_root": True}) == "no-key-access"


async def test_without_its_key_an_identity_issues_nothing(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        (path,) = alice.home.identities.glob("*.pem")
        pem = path.read_bytes()
        path.unlink()
        assert await refusal(alice, group, BOB) == "no-key-access"
        assert (await issued(alice, group, BOB | {"as_root": True}))[0].credential.issuer == group
        path.touch(mode=0o600)
        path.write_bytes(pem)
        assert (await issued(alice, group, {"subject": "bob", "role": "admin"}))[0].credential.level == 2


async def test_without_the_root_key_nothing_is_issued_as_the_root(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        (path,) = alice.home.root_keys.iterdir()
        path.unlink()
        assert await refusal(alice, group, BOB | {"as_root": True}) == "no-key-access"
        assert (
            await refusal(alice, group, {"document": document("carol")}, BOB | {"as_root": True})
            == "no-key-access"
        )
        assert (await admitted(alice, group, "bob"))[0].issuer == alice.peer_name


async def test_a_clock_that_lags_is_trusted_on_request_only(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        group = await alice.found()
        await trio.sleep(DAY)
        await admitted(alice, group, "carol")
        await alice.stop()
        right = alice.clock
        alice.clock = Clock(lambda: right.utc_ms() - 301_000)
        await nodes.start("alice")
        assert await refusal(alice, group, BOB) == "clock-not-trusted"
        assert (
            await refusal(alice, group, BOB | {"trust_clock": True}, {"subject": "carol"})
            == "clock-not-trusted"
        )
        (bob,) = await admitted(alice, group, "bob", trust_clock=True)
        assert bob.live


async def test_one_bad_wish_refuses_the_whole_batch(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        good = [{"document": document(name)} for name in ("bob", "carol", "dave")]
        for place in range(4):
            wishes = [*good[:place], {"subject": "nobody"}, *good[place:]]
            assert await refusal(alice, group, *wishes) == "identity-not-found"
        assert await refusal(alice, group, *good, {"subject": "alice"}) == "circular-chain"
        assert (
            await refusal(alice, group, *good, {"document": document("eve"), "role": "x"}) == "invalid-role"
        )
        assert await refusal(alice, group, *good, good[0]) == "invalid-argument"
        assert [one.seq for one in await chain(alice, group)] == []
        await issued(alice, group, *good)
        assert [one.seq for one in await chain(alice, group)] == [1, 2, 3]


async def chain(node: Node, group: str) -> list[schema.Act]:
    """The acts of the node's own identity."""
    acts = (await node.service.acts(group, schema.Page())).acts
    return [act for act in acts if act.author == named(node.name).public.pid.hex()]


# --- looking ----------------------------------------------------------------------------------------------


async def test_credentials_come_page_by_page_by_time_of_issue(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        names = [f"n{number}" for number in range(5)]
        expected = [alice.grant_id(group)]
        for name in names:
            await trio.sleep(1)
            expected += [one.grant_id for one in await admitted(alice, group, name)]
        read, cursor = [], None
        while True:
            query = schema.CredentialsQuery(limit=2, cursor=cursor)
            page = await alice.service.credentials(group, query)
            read += [one.grant_id for one in page.credentials]
            cursor = page.next
            if cursor is None:
                break
            if len(read) == 2:
                await trio.sleep(1)
                expected += [one.grant_id for one in await admitted(alice, group, "late")]
        assert read == expected


async def test_credentials_of_one_subject_are_found_by_any_form_of_its_name(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        (first,) = await admitted(alice, group, "bob")
        await admitted(alice, group, "carol")
        second = (await issued(alice, group, {"subject": "bob", "role": "admin"}))[0].credential
        for subject in ("bob", str(peer_name("bob")), str(peer_name("bob"))[:6]):
            query = schema.CredentialsQuery(subject=subject)
            found = (await alice.service.credentials(group, query)).credentials
            assert [one.grant_id for one in found] == [first.grant_id, second.grant_id]
            assert [one.current for one in found] == [False, True]
        with pytest.raises(NotFound) as refused:
            await alice.service.credentials(group, schema.CredentialsQuery(subject="nobody"))
        assert (refused.value.code, bool(refused.value.hint)) == ("member-not-found", True)


async def test_a_credential_is_found_by_its_id_or_its_beginning(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        credentials = await admitted(alice, group, *(f"n{number}" for number in range(20)))
        by_first: dict[str, list[str]] = {}
        for one in [*credentials, (await alice.service.group(group)).credential]:
            assert one is not None
            by_first.setdefault(one.grant_id[0], []).append(one.grant_id)
            for text in (one.grant_id, one.grant_id[:12], one.grant_id.upper()):
                assert (await alice.service.credential(group, text)).credential.grant_id == one.grant_id
        shared = next(first for first, ids in by_first.items() if len(ids) > 1)
        with pytest.raises(Conflict) as ambiguous:
            await alice.service.credential(group, shared)
        assert (ambiguous.value.code, bool(ambiguous.value.hint)) == ("ambiguous-name", True)
        for missing in ("", "x", "0" * 64, credentials[0].grant_id + "0"):
            with pytest.raises(NotFound) as unknown:
                await alice.service.credential(group, missing)
            assert (unknown.value.code, bool(unknown.value.hint)) == ("credential-not-found", True)


async def test_a_credential_comes_with_its_chain_root_first(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        await nodes["alice"].renew(group, nodes["bob"], role="admin")
        await calm()
        (carol,) = await admitted(nodes["bob"], group, "carol")
        found = await nodes["bob"].service.credential(group, carol.grant_id)
        chain = [x509.load_pem_x509_certificate(pem.encode()) for pem in found.chain]
        names = [certificate.subject.rfc4514_string() for certificate in chain]
        authorities = [named(name).public.authority for name in ("alice", "bob", "carol")]
        assert names == [f"CN={one}" for one in (group.partition(".")[0], *authorities)]
        for above, below in pairwise(chain):
            below.verify_directly_issued_by(above)


async def test_a_chain_that_is_not_all_here_is_not_shown_in_part(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        wish = {"document": document("bob"), "store": False, "invitation": True}
        answer = (await issued(alice, group, wish))[0]
        assert (await alice.service.credential(group, answer.credential.grant_id)).chain == []


def test_a_member_goes_by_all_its_names_and_two_are_not_confused():
    group = Group()
    group.grant("grc -> alice:admin -> bob:member")
    authority = named("bob").public.authority
    group.grant("grc -> alice:admin -> bob:member", name=f"{authority}.robert")
    group.grant("grc -> alice:admin -> carol:member", name=f"{named('carol').public.authority}.bob")
    pid = named("bob").public.pid
    for text in ("robert", authority[:8], f"{authority}.bob", f"{authority}.robert"):
        assert pid_of(group.view, text) == pid
    with pytest.raises(Conflict):
        pid_of(group.view, "bob")
    with pytest.raises(NotFound):
        pid_of(group.view, "dave")


# --- invitations ------------------------------------------------------------------------------------------


async def test_an_invitation_says_all_of_its_credential(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        await alice.service.change_properties(group, schema.PropertiesChange(friendly_name="Us"))
        wish = {"document": document("bob"), "invitation": True, "friendly_name": "Bob", "role": "admin"}
        answer = (await issued(alice, group, wish))[0]
        assert answer.invitation is not None
        told = alice.service.parse_invitation(schema.InvitationParse(invitation=answer.invitation))
        shown = answer.credential
        for name in ("group", "subject", "friendly_name", "issuer", "roles", "level", "not_before"):
            assert getattr(told, name) == getattr(shown, name)
        assert (told.not_after, told.serial, told.grant_id) == (shown.not_after, shown.serial, shown.grant_id)
        assert (told.gid, told.group_friendly_name) == ((await alice.service.group(group)).gid, "Us")
        assert (told.addresses, told.own) == ([alice.address], False)


async def test_an_invitation_by_the_root_for_an_identity_of_ours_says_so(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        answer = (await issued(alice, group, {"subject": "alice", "as_root": True, "invitation": True}))[0]
        assert answer.invitation is not None
        told = alice.service.parse_invitation(schema.InvitationParse(invitation=answer.invitation))
        assert (told.issuer, told.own, told.not_after) == (group, True, None)


async def test_an_invitation_names_only_what_can_be_dialled(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice = nodes["alice"]
        opened = alice.opened(group)
        assert opened is not None
        (link,) = opened.machine.links
        link.listens = ("no address", "10.0.0.77:1")
        link.address = None
        wish = {"document": document("carol"), "invitation": True}
        xml = (await issued(alice, group, wish))[0].invitation
        assert xml is not None
        told = alice.service.parse_invitation(schema.InvitationParse(invitation=xml))
        assert told.addresses[0] == alice.address
        assert all(re.fullmatch(r"10\.0\.0\.\d+:\d+", address) for address in told.addresses)


async def test_a_changed_invitation_is_not_looked_into(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        wish = {"document": document("bob"), "invitation": True}
        xml = (await issued(alice, group, wish))[0].invitation
        assert xml is not None
        texts = re.findall(r">([A-Za-z0-9+/=\s]{100,})<", xml)
        assert len(texts) == 2  # the certificates, and the evidence
        for text in texts:
            raw = bytearray(base64.b64decode(text))
            raw[len(raw) // 2] ^= 1
            changed = xml.replace(text, base64.b64encode(raw).decode())
            assert changed != xml
            with pytest.raises(RuleError) as refused:
                alice.service.parse_invitation(schema.InvitationParse(invitation=changed))
            assert refused.value.code == "invitation-not-trusted"
