"""Admission of records: each rule by name, with versions that it alone refuses; what must not be refused; and
what revocations leave standing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, strategies as st

from protocol.authority.admission import Admitted, Deferred, Invalid
from protocol.authority.view import Hit, View
from protocol.limits import CONTACT_BYTES_MAX, EXPIRING_LIFE_S_MAX
from protocol.peer_time import HLC_MAX, Window, hlc_at
from protocol.records import admission
from protocol.records.admission import RECORD_RULES, Case, Valid, Void, judge
from protocol.records.record import Header
from protocol.records.reserved import CONTACT_TYPE, EMPTY_MANIFEST
from tests.protocol.records.bad_records import BAD, HLC, LATER, alice, dave, erin, until
from tests.support.builders import DAY, GRC, Group
from tests.support.records import Writer, circle, histories, items, new_circle

CASES = [pytest.param(rule, bad, id=bad.__name__) for rule, bads in BAD.items() for bad in bads]


@pytest.fixture
def group():
    return new_circle()


def drop(rule: str, monkeypatch) -> None:
    """Make the mutant of admission that lacks one rule."""
    left = tuple(one for one in RECORD_RULES if one.__name__ != rule)
    assert len(left) == len(RECORD_RULES) - 1
    monkeypatch.setattr(admission, "RECORD_RULES", left)


def accepted(header: Header, group: Group) -> bool:
    return judge(header, group.view) == Valid()


# --- each rule --------------------------------------------------------------------------------------------


def test_every_rule_has_a_version_that_it_refuses():
    assert list(BAD) == [rule.__name__ for rule in RECORD_RULES]


@pytest.mark.parametrize("rule, bad", CASES)
def test_rule_refuses(rule, bad, group):
    assert judge(bad(group), group.view) == Invalid(rule)


@pytest.mark.parametrize("rule, bad", CASES)
def test_only_that_rule_refuses(rule, bad, group, monkeypatch):
    header = bad(group)
    drop(rule, monkeypatch)
    # What was written under no grant at all stands under none either.
    assert judge(header, group.view) in (Valid(), Void("grant_is_void"))


@pytest.fixture(scope="module")
def refused():
    """Every bad version, each with its group."""
    made = []
    for rule, bads in BAD.items():
        for bad in bads:
            group = new_circle()
            made.append((rule, bad(group), group))
    return made


@pytest.mark.parametrize("dropped", list(BAD))
def test_no_other_rule_leans_on_that_rule(dropped, refused, monkeypatch):
    drop(dropped, monkeypatch)
    for rule, header, group in refused:
        assert (judge(header, group.view) == Invalid(rule)) is (rule != dropped)


# --- what must pass ---------------------------------------------------------------------------------------


@given(items())
def test_what_a_member_adds_is_admitted(item):
    assert accepted(item.header, circle())


@given(histories())
def test_what_members_and_administrators_write_is_admitted(versions):
    assert all(accepted(one.header, circle()) for one in versions)


@pytest.mark.parametrize("name", ["alice", "bob", "carol", "dave"])
def test_every_role_writes_its_own_records(name, group):
    writer = Writer.of(group, name)
    first = writer.add(body=b"x")
    second = writer.update(first, body=b"y")
    assert all(accepted(item.header, group) for item in (first, second, writer.delete(second)))


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_administrators_write_everybodys_records(name, group):
    writer, theirs = Writer.of(group, name), Writer.of(group, "alice").add()
    for item in (theirs, dave(group).add(), dave(group).add(life_s=DAY)):
        assert accepted(writer.update(item, body=b"x").header, group)
        assert accepted(writer.delete(item).header, group)


def test_administrator_with_a_role_of_a_newer_release_writes_everybodys_records(group):
    group.grant("grc -> bob:admin", roles=(1, 9))
    assert accepted(Writer.of(group, "bob").update(dave(group).add(), body=b"x").header, group)


@pytest.mark.parametrize("creator", ["dave", "zoe"])
def test_creator_need_not_be_a_member_when_an_administrator_writes(creator, group):
    theirs = Writer(Writer.of(group, "erin").key, b"g" * 32, group.gid)
    assert accepted(alice(group).update(theirs.add(), body=b"x").header, group)


def test_bounds_of_a_life_are_inside(group):
    assert accepted(dave(group).add(life_s=DAY, hlc=HLC, expires=LATER + 1).header, group)
    longest = alice(group).add(life_s=DAY, hlc=HLC, expires=LATER + EXPIRING_LIFE_S_MAX)
    assert accepted(longest.header, group)


def test_bounds_of_a_grant_are_inside(group):
    group.grant("alice -> dave:member", window=Window(LATER, LATER + DAY))
    writer = dave(group)
    for hlc in (hlc_at(LATER * 1000), hlc_at((LATER + DAY) * 1000 + 999) + 0xFFFF):
        assert accepted(writer.add(created=0, hlc=hlc).header, group)
    assert accepted(writer.add(life_s=DAY, hlc=HLC, expires=LATER + DAY).header, group)


def test_durable_record_is_not_bound_by_the_end_of_its_grant(group):
    """Written inside of the window, it lives until it is deleted."""
    assert accepted(until(group, LATER).add(hlc=HLC, created=HLC).header, group)


def test_record_may_be_created_in_the_moment_of_its_writing_and_long_before(group):
    writer = dave(group)
    assert accepted(writer.add(hlc=HLC, created=HLC).header, group)
    assert accepted(writer.add(hlc=HLC, created=0).header, group)


def test_version_number_is_compared_with_nothing(group):
    writer = dave(group)
    first = writer.add(version=2**53)
    assert accepted(first.header, group)
    assert accepted(writer.update(first, version=1).header, group)


def test_contact_is_written_changed_and_deleted_by_its_creator(group):
    writer = dave(group)
    first = writer.add(CONTACT_TYPE, body=b"x" * CONTACT_BYTES_MAX, life_s=DAY)
    items = (first, writer.update(first, body=b"y", life_s=DAY), writer.delete(first))
    assert all(accepted(item.header, group) for item in items)


@pytest.mark.parametrize("record_type", ["peerd.manifest", "peerd.later", "peerd.", "peerd.contact2"])
def test_other_reserved_types_have_no_rules_of_their_own(record_type, group):
    large = dave(group).add(record_type, body=b"x" * (CONTACT_BYTES_MAX + 1))
    assert accepted(large.header, group)
    assert accepted(alice(group).delete(large).header, group)


def test_unknown_fields_and_ext_are_carried(group):
    assert accepted(dave(group).add(ext={"a": 1}, later=[1]).header, group)


LIES = st.fixed_dictionaries(
    {},
    optional={
        "gid": st.just(bytes(32)),
        "record": st.sampled_from([bytes(16), b"\xff" * 16]),
        "type": st.sampled_from(["task", CONTACT_TYPE, "peerd.later"]),
        "creator": st.just(Writer.of(circle(), "erin").pid),
        "cred": st.sampled_from([Writer.of(circle(), "erin").cred, circle().genesis.id, b"x" * 32]),
        "created": st.sampled_from([0, HLC, HLC_MAX]),
        "hlc": st.sampled_from([0, HLC, HLC_MAX]),
        "version": st.integers(1, 2**53),
        "expires": st.none() | st.sampled_from([0, LATER, LATER + 1, LATER + EXPIRING_LIFE_S_MAX + 1]),
        "deleted": st.just(True),
        "attributes": st.just([["a", 1, 0]]),
    },
)


@given(
    LIES,
    st.sampled_from(["dave", "alice"]),
    st.none() | st.just(DAY),
    st.sampled_from([b"", b"x", b"x" * 3000]),
)
def test_any_header_has_one_verdict(lies, author, life_s, body):
    """The first rule that it breaks; if it breaks none, it counts, or waits for its grant."""
    header = Writer.of(circle(), author).add(body=body, life_s=life_s, **lies).header
    view = circle().view
    case = Case(header, view.gid, view.admitted(header.cred))
    broken = [rule.__name__ for rule in RECORD_RULES if rule(case) is not None]
    good = Valid() if case.cred else Deferred((header.cred,))
    assert judge(header, view) == (Invalid(broken[0]) if broken else good)
    assert all(rule(case) in (None, rule.__name__) for rule in RECORD_RULES)


# --- what must wait ---------------------------------------------------------------------------------------


def test_version_waits_for_its_grant(group):
    item = dave(group).add()
    assert judge(item.header, View(group.gid)) == Deferred((item.header.cred,))


@pytest.mark.parametrize("rule, bad", CASES)
def test_what_the_header_alone_shows_does_not_wait(rule, bad, group):
    """A version that can never count is not held, and nothing is asked for on its behalf."""
    about_the_grant = list(BAD)[list(BAD).index("cred_is_grant_to_author") :]
    header = bad(group)
    waits = Deferred((header.cred,))
    assert judge(header, View(group.gid)) == (waits if rule in about_the_grant else Invalid(rule))


def test_root_has_no_grant_and_writes_no_records(group):
    root = Writer(group.key(GRC), group.genesis.id, group.gid)
    assert judge(root.add().header, group.view) == Invalid("cred_is_grant_to_author")


# --- what revocations leave standing ----------------------------------------------------------------------


@dataclass
class Told:
    """A view in which revocations hit every grant."""

    view: View
    hits: tuple[Hit, ...] | None
    gid: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.gid = self.view.gid

    def admitted(self, act_id: bytes) -> Admitted | None:
        return self.view.admitted(act_id)

    def data_hits(self, cred: bytes) -> tuple[Hit, ...] | None:
        return self.hits


DROP = Hit("drop", None, 0, b"a" * 32)
LIST, OTHER_LIST = b"l" * 32, b"o" * 32


def time_hit(hlc: int) -> Hit:
    return Hit("time", None, hlc, b"t" * 32)


def list_hit(manifest: bytes | None = LIST) -> Hit:
    return Hit("manifest", manifest, 0, b"m" * 32)


def under(*hits: Hit, listed: bool | None = None, header: Header | None = None):
    """The verdict on a version of dave's; `listed` tells whether LIST names it, None that LIST is missing."""
    header = header or dave(circle()).add(hlc=HLC).header
    lists = {OTHER_LIST: frozenset({header.id})}
    if listed is not None:
        lists[LIST] = frozenset({header.id} if listed else {b"x" * 32})
    return judge(header, Told(circle().view, hits), lists.get)


def test_version_under_a_void_grant_is_void():
    header = dave(circle()).add().header
    assert judge(header, Told(circle().view, None)) == Void("grant_is_void")


def test_version_that_no_revocation_hits_is_valid():
    assert under() == Valid()


def test_drop_lets_nothing_stand():
    assert under(DROP) == Void("dropped_by_the_revocation")


@pytest.mark.parametrize("difference, stands", [(-1, False), (0, True), (1, True)])
def test_time_lets_stand_what_was_written_until_then(difference, stands):
    verdict = Valid() if stands else Void("written_after_the_revocation")
    assert under(time_hit(HLC + difference)) == verdict


def test_manifest_lets_stand_what_it_lists():
    assert under(list_hit(), listed=True) == Valid()
    assert under(list_hit(), listed=False) == Void("not_in_the_manifest")
    assert under(list_hit(OTHER_LIST)) == Valid()


def test_version_is_void_until_the_manifest_is_here():
    assert under(list_hit()) == Void("manifest_is_missing", LIST)
    header = dave(circle()).add().header
    assert judge(header, Told(circle().view, (list_hit(),))) == Void("manifest_is_missing", LIST)


def test_revocation_without_a_list_lets_nothing_stand():
    assert under(list_hit(None)) == Void("dropped_by_the_revocation")


def test_list_of_nothing_needs_no_body():
    assert under(list_hit(EMPTY_MANIFEST)) == Void("not_in_the_manifest")


@pytest.mark.parametrize("rule", ["", "Time", "later", "manifests"])
def test_rule_of_a_newer_release_lets_nothing_stand(rule):
    hit = Hit(rule, LIST, HLC_MAX, b"n" * 32)
    assert under(hit, listed=True) == Void("dropped_by_the_revocation")


HITS = st.sampled_from(
    [
        DROP,
        time_hit(HLC - 1),
        time_hit(HLC),
        time_hit(HLC + 1),
        list_hit(),
        list_hit(OTHER_LIST),
        list_hit(None),
    ]
)


@given(st.lists(HITS, max_size=4), st.sampled_from([None, False, True]), st.data())
def test_each_revocation_must_let_it_stand_in_any_order(hits, listed, data):
    verdict = under(*hits, listed=listed)
    each = [under(hit, listed=listed) for hit in hits]
    assert (verdict == Valid()) is all(one == Valid() for one in each)
    assert verdict in [Valid(), *each]
    again = under(*data.draw(st.permutations(hits)), listed=listed)
    assert type(again) is type(verdict)
    # What waits for a list could still come to stand; what something else refuses could not.
    waits = Void("manifest_is_missing", LIST)
    assert (verdict == waits) is (waits in each and all(one in (Valid(), waits) for one in each))
    assert (again == waits) is (verdict == waits)


def test_refusal_that_no_list_could_mend_is_told_first():
    for hits in ((DROP, list_hit()), (list_hit(), DROP)):
        assert under(*hits) == Void("dropped_by_the_revocation")


def test_invalid_version_is_invalid_whatever_revocations_say(group):
    for rule, bads in BAD.items():
        header = bads[0](new_circle())
        assert judge(header, Told(group.view, None)) in (Invalid(rule), Deferred((header.cred,)))


def test_effective_grant_of_the_view_is_no_void_one(group):
    assert group.view.data_hits(dave(group).cred) == ()
    assert group.view.data_hits(b"x" * 32) is None
    assert judge(erin(group).add().header, group.view) == Valid()
