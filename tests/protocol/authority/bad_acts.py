"""Acts that one rule of admission alone refuses, each made in a group of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from protocol.authority.acts import Act
from protocol.authority.bodies import AnnulBody, InviteBody, Kind, PropertiesBody, RotateRootBody, UnknownBody
from protocol.authority.root import commitment_of
from protocol.authority.root_certificates import GroupFacts, build_root_certificate
from protocol.credentials.certificates import build_idc
from protocol.limits import END_OF_TIME_S
from protocol.peer_time import Window, hlc_at
from tests.support.builders import GRC, NOW, Group
from tests.support.keys import named, peer_name

RECOVERY = "recovery/family"


def rotation(**changed) -> RotateRootBody:
    """The rotation of the family's root to a new operating key."""
    fields: dict[str, Any] = {
        "from_version": 1,
        "operating": named("new root").public.raw,
        "threshold": 1,
        "next": commitment_of([named("next recovery").public], 1),
        "revealed": named(RECOVERY).public.raw,
        "revealed_threshold": 1,
    }
    return RotateRootBody(**(fields | changed))


def rotate(group: Group, body: RotateRootBody, *signers: str, **changed) -> Act:
    return group.act(GRC, Kind.ROTATE_ROOT, body, signers=signers or (RECOVERY,), **changed)


def invite(group: Group, author: str = "alice", **changed) -> Act:
    return group.act(author, Kind.INVITE, InviteBody(role=3, not_after=1), **changed)


def admins(group: Group, count: int) -> str:
    """Chain text of a line of administrators, alice first."""
    return " -> ".join([GRC, "alice:admin", *(f"admin{level}:admin" for level in range(2, count + 1))])


# --- the acts that one rule alone refuses -----------------------------------------------------------------


def second_act_without_the_first(group):
    return invite(group, seq=2, prev=None)


def act_after_another_authors(group):
    group.grant("grc -> alice:admin -> bob:admin")
    before = invite(group)
    return invite(group, "bob", seq=before.place.seq + 1, prev=before.id, hlc=before.place.hlc + 1)


def act_after_one_of_another_chain(group):
    return invite(group, chain=1, seq=2, prev=invite(group).id)


def act_with_a_gap_before_it(group):
    return invite(group, seq=invite(group).place.seq + 2)


def act_with_the_number_of_the_one_before(group):
    invite(group)
    second = invite(group)
    return invite(group, seq=second.place.seq, prev=second.id)


def act_as_old_as_the_one_before(group):
    return invite(group, hlc=invite(group).place.hlc)


def act_under_somebody_elses_grant(group):
    group.grant("grc -> bob:admin")
    return invite(group, cred=group.granted[list(group.granted)[-1]].act.id)


def act_at_a_level_that_was_not_granted(group):
    return invite(group, level=2)


def act_before_its_authors_time(group):
    return invite(group, hlc=hlc_at((group.creator.grant.window.start - 1) * 1000))


def act_after_its_authors_time(group):
    end = NOW.utc_s + 1000
    bob = group.grant("grc -> alice:admin -> bob:admin", window=Window(NOW.utc_s - 300, end)).grant
    assert bob.window.end == end
    return invite(group, "bob", hlc=hlc_at((end + 1) * 1000))


def properties_by_an_administrator(group):
    return group.act("alice", Kind.PROPERTIES, PropertiesBody())


def annulment_by_an_inviting_member(group):
    group.grant("grc -> alice:admin -> ivy:inviting")
    return group.act("ivy", Kind.ANNUL, AnnulBody(act=bytes(32)))


def invitation_by_a_member(group):
    group.grant("grc -> alice:admin -> mo:member")
    return invite(group, "mo")


def unknown_kind_beyond_the_authors_level(group):
    return group.act("alice", 63, UnknownBody())


def root_act_signed_by_nobody_of_the_root(group):
    return group.act(GRC, Kind.PROPERTIES, PropertiesBody(), signers=("alice",))


def root_act_signed_by_a_stranger_besides(group):
    return group.act(GRC, Kind.PROPERTIES, PropertiesBody(), signers=(GRC, "alice"))


def root_act_short_of_the_threshold(group):
    keys = sorted(named(name).public.raw for name in ("op1", "op2"))
    version = rotate(group, rotation(operating=b"".join(keys), threshold=2))
    return group.act(GRC, Kind.PROPERTIES, PropertiesBody(), signers=("op1",), cred=version.id)


def grant_of_ones_own_level(group):
    group.grant("grc -> alice:admin -> bob:admin")
    return group.grant("bob -> carl:admin", level=2).act


def grant_of_a_level_that_has_no_role(group):
    return group.grant("grc -> alice:admin -> bob:member", level=25, roles=(9,)).act


def member_at_an_administrators_level(group):
    return group.grant("grc -> alice:admin -> bob:member", level=2).act


def roles_out_of_order(group):
    return group.grant("grc -> alice:admin -> bob:admin", roles=(3, 1)).act


def role_twice(group):
    return group.grant("grc -> alice:admin -> bob:admin", roles=(1, 1)).act


def grant_that_ends_as_it_starts(group):
    return group.grant("grc -> alice:admin -> bob:admin", window=Window(NOW.utc_s, NOW.utc_s)).act


def grant_that_starts_before_its_issuers(group):
    start = group.creator.grant.window.start
    return group.grant("grc -> alice:admin -> bob:admin", window=Window(start - 1, start + 9)).act


def grant_that_outlives_its_issuers(group):
    group.grant("grc -> alice:admin -> bob:admin", window=Window(NOW.utc_s, NOW.utc_s + 900))
    return group.grant("bob -> carl:member", window=Window(NOW.utc_s, NOW.utc_s + 901)).act


def grant_by_the_root_from_before_the_group(group):
    start = group.founding.root.window.start
    return group.grant("grc -> bob:admin", window=Window(start - 1, END_OF_TIME_S)).act


def member_below_the_24th_administrator(group):
    return group.grant(f"{admins(group, 24)} -> last:member").act


def grant_to_oneself(group):
    return group.grant("grc -> alice:admin -> alice:admin").act


def grant_to_ones_issuer(group):
    group.grant("grc -> alice:admin -> bob:admin")
    return group.grant("bob -> alice:admin").act


def grant_to_the_roots_key(group):
    return group.grant("grc -> alice:admin -> grc/family:member").act


def friendly_name_that_cannot_be_shown(group):
    return group.grant("grc -> alice:admin -> bob:member", friendly="bob\u202e").act


def rotation_that_reveals_another_set(group):
    return rotate(group, rotation(revealed=named("eve").public.raw), "eve")


def rotation_with_another_threshold(group):
    return rotate(group, rotation(revealed_threshold=0))


def rotation_from_another_version(group):
    return rotate(group, rotation(from_version=2))


def rotation_under_no_root_version(group):
    return rotate(group, rotation(), cred=group.creator.act.id)


def rotation_signed_by_the_operating_key(group):
    return rotate(group, rotation(), GRC)


def rotation_that_installs_the_recovery_key(group):
    keys = sorted(named(name).public.raw for name in (RECOVERY, "new root"))
    return rotate(group, rotation(operating=b"".join(keys)))


def rotation_that_changes_nothing(group):
    return rotate(group, rotation(operating=group.founding.root.grc.raw))


def certified(group: Group, *ders: bytes) -> Act:
    keys = sorted(named(name).public.raw for name in ("new root", "newer root"))
    return rotate(group, rotation(operating=b"".join(keys), certificates=list(ders)))


def root_certificate(group: Group, name: str = "new root", **changed) -> bytes:
    facts = replace(GroupFacts.of(group.founding.root), **changed)
    return build_root_certificate(facts, named(name))


def rotation_that_certifies_a_stranger(group):
    return certified(group, root_certificate(group, "eve"))


def rotation_that_certifies_a_key_twice(group):
    return certified(group, *[root_certificate(group)] * 2)


def rotation_whose_certificates_are_out_of_order(group):
    names = sorted(("new root", "newer root"), key=lambda name: named(name).public.raw, reverse=True)
    return certified(group, *(root_certificate(group, name) for name in names))


def rotation_with_a_certificate_of_another_group(group):
    return certified(group, root_certificate(group, gid=bytes(32)))


def rotation_with_a_certificate_of_another_name(group):
    return certified(group, root_certificate(group, classifier="friends"))


def rotation_with_a_certificate_of_another_window(group):
    return certified(group, root_certificate(group, created=group.founding.root.created - hlc_at(1000)))


def rotation_with_the_certificate_of_an_identity(group):
    window = group.founding.root.window
    return certified(group, build_idc(named("new root"), str(peer_name("new root")), window))


BAD: dict[str, tuple[Callable[[Group], Act], ...]] = {
    "first_act_has_no_prev": (second_act_without_the_first,),
    "prev_is_same_chain": (act_after_another_authors, act_after_one_of_another_chain),
    "seq_follows_prev": (act_with_a_gap_before_it, act_with_the_number_of_the_one_before),
    "hlc_rises_along_prev": (act_as_old_as_the_one_before,),
    "cred_is_grant_to_author": (act_under_somebody_elses_grant,),
    "cred_gives_the_level": (act_at_a_level_that_was_not_granted,),
    "hlc_inside_cred": (act_before_its_authors_time, act_after_its_authors_time),
    "kind_allowed_for_level": (
        properties_by_an_administrator,
        annulment_by_an_inviting_member,
        invitation_by_a_member,
        unknown_kind_beyond_the_authors_level,
    ),
    "threshold_of_operating_keys": (
        root_act_signed_by_nobody_of_the_root,
        root_act_signed_by_a_stranger_besides,
        root_act_short_of_the_threshold,
    ),
    "grant_level_is_junior": (grant_of_ones_own_level,),
    "grant_roles_fit_level": (member_at_an_administrators_level, roles_out_of_order, role_twice),
    "grant_window_is_a_period": (grant_that_ends_as_it_starts,),
    "grant_window_within_issuers": (
        grant_that_starts_before_its_issuers,
        grant_that_outlives_its_issuers,
        grant_by_the_root_from_before_the_group,
    ),
    "grant_line_has_room": (member_below_the_24th_administrator,),
    "grant_subject_is_not_above": (grant_to_oneself, grant_to_ones_issuer, grant_to_the_roots_key),
    "grant_friendly_name_is_text": (friendly_name_that_cannot_be_shown,),
    "rotation_reveals_the_recovery_set": (
        rotation_that_reveals_another_set,
        rotation_with_another_threshold,
        rotation_from_another_version,
    ),
    "rotation_is_signed_by_recovery_keys": (rotation_signed_by_the_operating_key,),
    "rotation_uses_up_the_recovery_set": (rotation_that_installs_the_recovery_key,),
    "rotation_changes_the_operating_set": (rotation_that_changes_nothing,),
    "rotation_certifies_its_own_keys": (
        rotation_that_certifies_a_stranger,
        rotation_that_certifies_a_key_twice,
        rotation_whose_certificates_are_out_of_order,
        rotation_with_a_certificate_of_another_group,
        rotation_with_a_certificate_of_another_name,
        rotation_with_a_certificate_of_another_window,
        rotation_with_the_certificate_of_an_identity,
    ),
}
