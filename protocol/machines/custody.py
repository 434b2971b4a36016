"""Custody: acts of the group's root that do not come from this daemon's own chain of the root.

They are prepared as drafts (authority/root_acts.py). Where all keys are here, a rotation is prepared, signed
and taken in by one command; otherwise a draft is carried from key to key and brought back, and what it holds
is looked at once more: the group may have gone on since.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from protocol.authority.acts import Act
from protocol.authority.admission import Deferred, Invalid, admit
from protocol.authority.bodies import GrantBody, Kind
from protocol.authority.elements import Element
from protocol.authority.grants import read_untrusted_grant
from protocol.authority.issuers import check_ready
from protocol.authority.root_acts import prepare
from protocol.authority.root_documents import not_acceptable
from protocol.authority.root_drafts import sign_draft
from protocol.authority.view import View
from protocol.errors import RuleError
from protocol.ids import CHAIN_BYTES, split_ids
from protocol.limits import HLC_AHEAD_MS_MAX, LEVEL_ROOT
from protocol.machines.events import ImportRootActs, Output, RootActsImported, Rotated, RotateRoot
from protocol.machines.sets import Sets
from protocol.peer_time import Moment
from protocol.records.record_set import GroupSet


class Custody:
    """Carries out the commands that concern the root's keys."""

    def __init__(self, sets: Sets, rng: random.Random) -> None:
        """`rng` draws chains."""
        self._sets = sets
        self._rng = rng

    def rotate(self, command: RotateRoot, now: Moment, store: GroupSet, outputs: list[Output]) -> Rotated:
        """Put another root in place. Raises: RuleError, with nothing changed."""
        act = sign_rotation(command, self._sets.view, now, self._rng)
        changed = self._take((act,), now, store, outputs)
        version = self._version_of(act)
        assert version is not None
        return Rotated(version, act.id, self._fallen(changed))

    def take_in(
        self, command: ImportRootActs, now: Moment, store: GroupSet, outputs: list[Output]
    ) -> RootActsImported:
        """Take in what keys that lie elsewhere have signed. Raises: RuleError, with nothing changed."""
        view = self._sets.view
        acts = acts_to_import(command.elements, view, now)
        fresh = any(view.admitted(act.id) is None for act in acts)
        changed = self._take(command.elements, now, store, outputs)
        versions = [self._version_of(act) for act in acts]
        rotated = next((one for one in versions if one is not None), None)
        return RootActsImported(tuple(act.id for act in acts), fresh, changed, rotated)

    def _take(
        self, elements: Sequence[Element], now: Moment, store: GroupSet, outputs: list[Output]
    ) -> tuple[bytes, ...]:
        """Put them into AUTH; the grants whose standing they change."""
        intake = self._sets.members.take(elements, None, now, store)
        assert intake.refused is None, intake
        assert not intake.wanted, intake
        return self._sets.absorb(intake, None, now, store, outputs)

    def _version_of(self, act: Act) -> int | None:
        """The number of the version that a rotation installs, if it is followed."""
        admitted = self._sets.view.admitted(act.id)
        root = None if admitted is None else admitted.root
        return root.version if root is not None and act.id in self._sets.view.rotations else None

    def _fallen(self, changed: Iterable[bytes]) -> tuple[bytes, ...]:
        return tuple(act_id for act_id in changed if not self._sets.view.is_effective(act_id))


def sign_rotation(command: RotateRoot, view: View, now: Moment, rng: random.Random) -> Act:
    """Prepare and sign a rotation in one go. Raises: RuleError, with nothing changed."""
    pids = [key.public.pid for key in command.signers]
    chain = rng.randbytes(CHAIN_BYTES)
    draft = prepare(view, command.wish, pids, chain, now, trust_clock=command.trust_clock)
    for key in command.signers:
        draft = sign_draft(draft, key)
    (act,) = (element for element in draft.elements() if isinstance(element, Act))
    return act


def acts_to_import(elements: Iterable[Element], view: View, now: Moment) -> list[Act]:
    """The acts of a signed draft that has been brought here, those too that are here already.

    Raises: RuleError for one that would not be taken in, or would have no effect.
    """
    check_ready(view)
    acts = [element for element in elements if isinstance(element, Act)]
    for act in acts:
        if view.admitted(act.id) is None:
            _check_admission(act, view, now)
            _check_effect(act, view, now)
    return acts


def _check_admission(act: Act, view: View, now: Moment) -> None:
    if act.place.gid != view.gid:
        raise RuleError(
            "wrong-group",
            "this was prepared for another group",
            hint="peerd group list shows which there are",
        )
    verdict = admit(act, view)
    if isinstance(verdict, Deferred):
        raise RuleError(
            "group-not-ready",
            "this node does not know the root that this was prepared under",
            hint="wait until this node has synchronized: peerd status",
        )
    if isinstance(verdict, Invalid) or act.place.level != LEVEL_ROOT:
        raise not_acceptable(f"no node would take such an act: {verdict}")
    ahead_ms = act.hlc_ms - now.utc_ms
    if ahead_ms > HLC_AHEAD_MS_MAX:
        raise RuleError(
            "clock-not-trusted",
            f"this was prepared on a machine whose clock is {ahead_ms // 1000} seconds ahead of this one's",
            hint="set the clocks, and prepare it again",
        )


def _check_effect(act: Act, view: View, now: Moment) -> None:
    if act.kind == Kind.ROTATE_ROOT:
        if not view.would_count(act):
            raise _replaced("and this rotation would not win over the one that replaced it")
    elif act.place.cred != view.rotations[-1]:
        raise _replaced("so what was signed under it counts no more")
    if act.kind == Kind.PROPERTIES and act.place.hlc <= view.properties_hlc:
        raise _no_effect("the group's properties have been changed since this was prepared")
    if isinstance(act.body, GrantBody):
        if view.hits_on(read_untrusted_grant(act), split_ids(act.body.despite)):
            raise _no_effect("the subject has been removed since this was prepared")
        if act.body.end <= now.utc_s:
            raise _no_effect("the credential has ended since it was prepared")


def _replaced(detail: str) -> RuleError:
    return RuleError(
        "root-changed",
        f"the group's root has been replaced since this was prepared, {detail}",
        hint="prepare it again: peerd root prepare --help",
    )


def _no_effect(detail: str) -> RuleError:
    return RuleError("no-effect", detail, hint="prepare it again: peerd root prepare --help")
