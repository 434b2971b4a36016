"""Versions that one rule of admission alone refuses, each made in a group of its own (`new_circle`)."""

from __future__ import annotations

from collections.abc import Callable

from protocol.authority.bodies import InviteBody, Kind
from protocol.limits import CONTACT_BYTES_MAX, EXPIRING_LIFE_S_MAX
from protocol.peer_time import Window, hlc_at
from protocol.records.record import Header, body_hash_of, new_record_id
from protocol.records.reserved import CONTACT_TYPE, MANIFEST_TYPE
from tests.support.builders import DAY, NOW, Group
from tests.support.records import Writer, random8

LATER = NOW.utc_s + 3600
HLC = hlc_at(LATER * 1000 + 999) + 7  # inside of that second
ONE = [["a", 1, 0]]


def dave(group: Group) -> Writer:
    return Writer.of(group, "dave")


def erin(group: Group) -> Writer:
    return Writer.of(group, "erin")


def alice(group: Group) -> Writer:
    return Writer.of(group, "alice")


def until(group: Group, end: int) -> Writer:
    """Dave under a grant that ends at a second."""
    group.grant("alice -> dave:member", window=Window(NOW.utc_s, end))
    return dave(group)


def contact(writer: Writer, **changed):
    return writer.add(CONTACT_TYPE, life_s=DAY, **changed)


# --- the versions that one rule alone refuses -------------------------------------------------------------


def record_of_another_group(group):
    other = bytes(32)
    writer = dave(group)
    return writer.add(gid=other, record=new_record_id(other, writer.pid, True, random8("x"))).header


def id_of_another_creator(group):
    return dave(group).add(record=erin(group).record_id()).header


def id_of_another_group(group):
    writer = dave(group)
    return writer.add(record=new_record_id(bytes(32), writer.pid, True, random8("x"))).header


def administrators_record_with_an_id_of_another_creator(group):
    return alice(group).add(record=dave(group).record_id()).header


def version_of_another_creators_record_as_ones_own(group):
    theirs = erin(group).add()
    return dave(group).update(theirs, creator=dave(group).pid).header


def written_before_it_was_created(group):
    return dave(group).add(hlc=HLC, created=HLC + 1).header


def durable_record_that_expires(group):
    return dave(group).add(expires=LATER).header


def expiring_record_without_an_end(group):
    return dave(group).add(life_s=DAY, expires=None).header


def deletion_of_an_expiring_record_without_an_end(group):
    writer = dave(group)
    return writer.delete(writer.add(life_s=DAY), expires=None).header


def record_that_ends_in_the_second_of_its_writing(group):
    return dave(group).add(life_s=DAY, hlc=HLC, expires=LATER).header


def record_that_ends_before_its_writing(group):
    return dave(group).add(life_s=DAY, hlc=HLC, expires=0).header


def record_with_too_long_a_life(group):
    return alice(group).add(life_s=DAY, hlc=HLC, expires=LATER + EXPIRING_LIFE_S_MAX + 1).header


def deletion_with_a_body(group):
    writer = dave(group)
    return writer.delete(writer.add(), body=body_hash_of(b"x"), size=1).header


def deletion_with_attributes(group):
    writer = dave(group)
    return writer.delete(writer.add(), attributes=ONE).header


def contact_of_somebody_else(group):
    return alice(group).update(contact(dave(group)), life_s=DAY).header


def deletion_of_somebody_elses_contact(group):
    return alice(group).delete(contact(dave(group))).header


def durable_contact(group):
    return dave(group).add(CONTACT_TYPE).header


def large_contact(group):
    return contact(dave(group), body=b"x" * (CONTACT_BYTES_MAX + 1)).header


def version_under_somebody_elses_grant(group):
    return dave(group).add(cred=erin(group).cred).header


def version_under_an_act_that_grants_nothing(group):
    act = group.act("alice", Kind.INVITE, InviteBody(role=3, not_after=1))
    return dave(group).add(cred=act.id).header


def version_under_the_root(group):
    return alice(group).add(cred=group.genesis.id).header


def version_before_its_grant_begins(group):
    group.grant("alice -> dave:member", window=Window(LATER + 1, LATER + DAY))
    return dave(group).add(created=0, hlc=HLC).header


def version_after_its_grant_ended(group):
    return until(group, LATER - 1).add(created=0, hlc=HLC).header


def record_that_outlives_its_grant(group):
    return until(group, LATER + DAY).add(life_s=DAY, hlc=HLC, expires=LATER + DAY + 1).header


def deletion_that_outlives_its_grant(group):
    first = dave(group).add(life_s=10 * DAY)
    return until(group, LATER + DAY).delete(first, hlc=HLC).header


def members_change_of_anothers_record(group):
    return erin(group).update(dave(group).add(), body=b"x").header


def members_deletion_of_anothers_record(group):
    return erin(group).delete(dave(group).add()).header


def members_deletion_of_an_administrators_record(group):
    return erin(group).delete(alice(group).add()).header


def inviting_members_change_of_anothers_record(group):
    return Writer.of(group, "carol").update(dave(group).add(), body=b"x").header


def change_of_anothers_record_under_a_role_of_a_newer_release(group):
    group.grant("alice -> erin:member", roles=(3, 9))
    return erin(group).update(dave(group).add(), body=b"x").header


def members_change_of_anothers_manifest(group):
    return erin(group).update(dave(group).add(MANIFEST_TYPE, body=bytes(32)), body=b"\1" * 32).header


Bad = Callable[[Group], Header]

BAD: dict[str, tuple[Bad, ...]] = {
    "record_is_of_the_group": (record_of_another_group,),
    "id_is_bound_to_creator": (
        id_of_another_creator,
        id_of_another_group,
        administrators_record_with_an_id_of_another_creator,
        version_of_another_creators_record_as_ones_own,
    ),
    "created_before_written": (written_before_it_was_created,),
    "expiring_class_expires": (
        durable_record_that_expires,
        expiring_record_without_an_end,
        deletion_of_an_expiring_record_without_an_end,
    ),
    "expires_after_written": (
        record_that_ends_in_the_second_of_its_writing,
        record_that_ends_before_its_writing,
    ),
    "expires_within_the_longest_life": (record_with_too_long_a_life,),
    "deleted_has_no_body": (deletion_with_a_body,),
    "deleted_has_no_attributes": (deletion_with_attributes,),
    "contact_is_its_creators": (contact_of_somebody_else, deletion_of_somebody_elses_contact),
    "contact_is_expiring": (durable_contact,),
    "contact_is_small": (large_contact,),
    "cred_is_grant_to_author": (
        version_under_somebody_elses_grant,
        version_under_an_act_that_grants_nothing,
        version_under_the_root,
    ),
    "hlc_inside_cred": (version_before_its_grant_begins, version_after_its_grant_ended),
    "expires_within_cred": (record_that_outlives_its_grant, deletion_that_outlives_its_grant),
    "others_records_need_an_administrator": (
        members_change_of_anothers_record,
        members_deletion_of_anothers_record,
        members_deletion_of_an_administrators_record,
        inviting_members_change_of_anothers_record,
        change_of_anothers_record_under_a_role_of_a_newer_release,
        members_change_of_anothers_manifest,
    ),
}
